"""Where Flink's checkpoints and savepoints lie."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.flink_cluster import JobError


def read_environment(path: str | None) -> dict[str, str]:
    """Read NAME=value lines."""
    if not path or not Path(path).exists():
        return {}
    lines = (line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def list_snapshots(
    folder: str, configuration: dict[str, str], environment: dict[str, str]
) -> list[tuple[float, str]]:
    """Give (time, path) of each snapshot under a folder; it is complete once its _metadata is there.

    Args:
        folder: a file: or s3: URI, or an absolute path.
        configuration: Flink's, for the object store's endpoint.
        environment: the object store's credentials, by the names that AWS clients know.

    Raises:
        JobError: the object store refuses or cannot be reached.

    """
    if folder.startswith(("file:", "/")):
        found = Path("/" + folder.removeprefix("file:").lstrip("/")).rglob("_metadata")
        return [(path.stat().st_mtime, path.parent.as_uri()) for path in found]
    import boto3  # noqa: PLC0415 - only where snapshots lie on S3

    bucket, _, prefix = folder.partition("://")[2].partition("/")
    endpoint = configuration.get("s3.endpoint")
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=configuration.get("s3.endpoint.region", "us-east-1"),
        aws_access_key_id=environment.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=environment.get("AWS_SECRET_ACCESS_KEY"),
    )
    try:
        pages = client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=f"{prefix.rstrip('/')}/"
        )
        return [
            (item["LastModified"].timestamp(), f"s3://{bucket}/{item['Key'].removesuffix('/_metadata')}")
            for page in pages
            for item in page.get("Contents", [])
            if item["Key"].endswith("/_metadata")
        ]
    except Exception as error:
        raise JobError(f"The snapshots under {folder} could not be listed at {endpoint}: {error}") from error
