"""Where Flink's checkpoints and savepoints lie."""

from __future__ import annotations

import glob
import re
from pathlib import Path
from typing import NamedTuple

from ansible.module_utils.flink_cluster import JobError


def read_environment(path: str | None) -> dict[str, str]:
    """Read NAME=value lines."""
    if not path or not Path(path).exists():
        return {}
    lines = (line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


class Snapshot(NamedTuple):
    """A checkpoint or savepoint.

    Attributes:
        completed_s: when, in s since 1970.
        path: its folder.
        form: number of the form in which the job kept its state.

    """

    completed_s: float
    path: str
    form: int


def snapshot_folder(base: str, name: str, form: int) -> str:
    """Give a job's folder for snapshots of its state in one form; its name tells which."""
    return f"{base.rstrip('/')}/{name}{f'.form{form}' if form > 1 else ''}"


def in_own_folder(path: str, base: str, name: str) -> bool:
    """Tell whether a snapshot lies in a job's folder under `base`, for state of any form."""
    base = re.escape(f"{base.rstrip('/')}/")
    return bool(re.match(f"{base}{_any_form(name)}/", path))


def _any_form(name: str) -> str:
    """Give a pattern of the names of a job's folders; its group is the number of the form."""
    return rf"{re.escape(name)}(?:\.form(\d+))?"


def list_snapshots(
    base: str, name: str, configuration: dict[str, str], environment: dict[str, str]
) -> list[Snapshot]:
    """Give the snapshots of a job, of any form; each is complete once its _metadata is there.

    Args:
        base: of the folders of all jobs; a file: or s3: URI, or an absolute path.
        name: the job's.
        configuration: Flink's, for the object store's endpoint.
        environment: the object store's credentials, by the names that AWS clients know.

    Raises:
        JobError: the object store refuses or cannot be reached.

    """
    own = re.compile(f"{_any_form(name)}/.+/_metadata")

    def found(root: str, place: str, completed_s: float) -> list[Snapshot]:
        match = own.fullmatch(place)
        path = f"{root}/{place.removesuffix('/_metadata')}"
        return [Snapshot(completed_s, path, int(match[1] or 1))] if match else []

    if base.startswith(("file:", "/")):
        root = Path("/" + base.removeprefix("file:").strip("/"))
        return [
            snapshot
            for path in root.glob(f"{glob.escape(name)}*/**/_metadata")
            for snapshot in found(root.as_uri(), str(path.relative_to(root)), path.stat().st_mtime)
        ]
    import boto3  # noqa: PLC0415 - only where snapshots lie on S3

    bucket, _, prefix = base.partition("://")[2].partition("/")
    root_key = f"{prefix.strip('/')}/" if prefix else ""
    endpoint = configuration.get("s3.endpoint")
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=configuration.get("s3.endpoint.region", "us-east-1"),
        aws_access_key_id=environment.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=environment.get("AWS_SECRET_ACCESS_KEY"),
    )
    try:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{root_key}{name}")
        return [
            snapshot
            for page in pages
            for item in page.get("Contents", [])
            for snapshot in found(
                base.rstrip("/"), item["Key"].removeprefix(root_key), item["LastModified"].timestamp()
            )
        ]
    except Exception as error:
        raise JobError(
            f"The snapshots of {name} under {base} could not be listed at {endpoint}: {error}"
        ) from error
