#!/usr/bin/python
"""Ansible module: delete a job's checkpoints and savepoints that no job needs any more."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.flink_cluster import Cluster, JobError
from ansible.module_utils.flink_retention import Unit, find_unneeded, list_units
from ansible.module_utils.flink_snapshots import read_environment, snapshot_folder

DOCUMENTATION = r"""
module: flink_prune
short_description: Delete a job's snapshots that no job needs any more
description:
  - Flink deletes old checkpoints of a running job, but neither those of a job that has ended nor savepoints.
  - Snapshots stay that a job in progress uses, the newest ones, and all to whose files one of these refers.
  - Runs on a host that reaches the JobManager; for snapshots on S3, its interpreter needs boto3.
options:
  name:
    description: The job's name, and that of the folders of its snapshots.
    type: str
    required: true
  keep:
    description: How many of the newest snapshots stay, to go back to.
    type: int
    default: 3
  state_format:
    description: Number of the form in which the job keeps its state; those of lower ones are looked at too.
    type: int
    default: 1
  settled_s:
    description: Snapshots that changed in the last so many seconds stay.
    type: int
    default: 3600
  rest_urls:
    description: URLs of the REST interfaces of the JobManagers, each of which answers for the one that leads.
    type: list
    elements: str
    required: true
  environment_file:
    description: File of NAME=value lines with the credentials for snapshots on S3.
    type: path
attributes:
  check_mode:
    support: full
"""

EXAMPLES = r"""
- name: Keep the last three snapshots
  flink_prune:
    name: word_count
    rest_urls: [http://192.0.2.1:8081]
"""

RETURN = r"""
deleted:
  description: Folders that were deleted, or would be.
  returned: success
  type: list
  elements: str
"""


ATTEMPTS = 10


class Files:
    """Snapshots in the file system; folders are file: URIs or absolute paths."""

    @staticmethod
    def _path(folder: str) -> Path:
        return Path("/" + folder.removeprefix("file:").lstrip("/"))

    def list_files(self, folder: str) -> list[tuple[str, float]]:
        """Give (path below the folder, time of change) of each file."""
        root = self._path(folder)
        found = [path for path in root.rglob("*") if path.is_file()]
        return [(str(path.relative_to(root)), path.stat().st_mtime) for path in found]

    def read(self, folder: str, path: str) -> bytes:
        """Give a file's content."""
        return (self._path(folder) / path).read_bytes()

    def delete(self, folder: str, name: str) -> None:
        """Delete all that is under a name."""
        shutil.rmtree(self._path(folder) / name)


class Objects:
    """Snapshots on S3; folders are s3: URIs."""

    def __init__(self, configuration: dict[str, str], environment: dict[str, str]) -> None:
        import boto3  # noqa: PLC0415 - only where snapshots lie on S3

        self.client = boto3.client(
            "s3",
            endpoint_url=configuration.get("s3.endpoint"),
            region_name=configuration.get("s3.endpoint.region", "us-east-1"),
            aws_access_key_id=environment.get("AWS_ACCESS_KEY_ID"),
            aws_secret_access_key=environment.get("AWS_SECRET_ACCESS_KEY"),
        )

    @staticmethod
    def _place(folder: str, path: str = "") -> tuple[str, str]:
        bucket, _, prefix = folder.partition("://")[2].partition("/")
        return bucket, f"{prefix.rstrip('/')}/{path}"

    def list_files(self, folder: str) -> list[tuple[str, float]]:
        """Give (path below the folder, time of change) of each object."""
        bucket, prefix = self._place(folder)
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        objects = [item for page in pages for item in page.get("Contents", [])]
        return [(item["Key"].removeprefix(prefix), item["LastModified"].timestamp()) for item in objects]

    def read(self, folder: str, path: str) -> bytes:
        """Give an object's content."""
        bucket, key = self._place(folder, path)
        try:
            content: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        except self.client.exceptions.NoSuchKey as error:
            raise FileNotFoundError(f"{folder}/{path}") from error
        return content

    def delete(self, folder: str, name: str) -> None:
        """Delete all that is under a name."""
        for path, _ in self.list_files(f"{folder.rstrip('/')}/{name}"):
            bucket, key = self._place(folder, f"{name}/{path}")
            self.client.delete_object(Bucket=bucket, Key=key)


def uses(cluster: Cluster, name: str) -> list[str]:
    """Give ids of the jobs of that name that have not ended, and the snapshots that they began with."""
    places: list[str] = []
    for job_id in cluster.active_jobs(name):
        restored = cluster.request(f"/jobs/{job_id}/checkpoints").get("latest", {}).get("restored") or {}
        places += [job_id, restored.get("external_path") or ""]
    return places


def prune(module: AnsibleModule) -> list[str]:
    """Delete snapshots that are not needed, and name them."""
    parameters: dict[str, Any] = module.params
    name = parameters["name"]
    cluster = Cluster(*parameters["rest_urls"])
    configuration = cluster.configuration()
    options = ("execution.checkpointing.dir", "execution.checkpointing.savepoint-dir")
    folders = [
        snapshot_folder(configuration[option], name, form)
        for option in options
        if option in configuration
        for form in range(1, parameters["state_format"] + 1)
    ]
    on_files = all(folder.startswith(("file:", "/")) for folder in folders)
    environment = read_environment(parameters["environment_file"])
    store = Files() if on_files else Objects(configuration, environment)

    def read(unit: Unit, path: str) -> bytes:
        return store.read(unit.folder, path)

    for attempt in range(ATTEMPTS):
        try:
            # A job that starts after this uses younger snapshots, or begins with one of the newest.
            units = list_units(store, folders)
            settled_before_s = time.time() - parameters["settled_s"]
            unneeded = find_unneeded(units, uses(cluster, name), parameters["keep"], settled_before_s, read)
            break
        except FileNotFoundError as error:
            # A newer checkpoint has replaced a listed one: list again, to know which files it needs.
            if attempt == ATTEMPTS - 1:
                raise JobError(f"Checkpoints of {name} come faster than they are read: {error}") from error
    for unit in unneeded:
        if not module.check_mode:
            store.delete(unit.folder, unit.name)
    return [f"{unit.folder}/{unit.name}" for unit in unneeded]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "keep": {"type": "int", "default": 3},
            "state_format": {"type": "int", "default": 1},
            "settled_s": {"type": "int", "default": 3600},
            "rest_urls": {"type": "list", "elements": "str", "required": True},
            "environment_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    try:
        deleted = prune(module)
    except JobError as error:
        module.fail_json(msg=str(error))
    except Exception as error:  # noqa: BLE001 - boto3 makes its exceptions at run time
        module.fail_json(msg=f"Snapshots of {module.params['name']} could not be looked at: {error}")
    module.exit_json(changed=bool(deleted), deleted=deleted)


if __name__ == "__main__":
    main()
