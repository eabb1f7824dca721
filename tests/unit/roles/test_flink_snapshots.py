"""Which snapshots of a job are found, wherever they lie, and of which form their state is."""

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_modules import load
from s3_server import s3_server

from flink_jobs.store.object_store import s3_client

ROLE = Path(__file__).parents[3] / "ansible/roles/flink_job"
SNAPSHOTS = {
    "count/0123/chk-7": 1,
    "count/savepoint-00000a-0123456789ab": 1,
    "count.form2/4567/chk-8": 2,
    "count.form12/89ab/chk-9": 12,
}
# of other jobs, or incomplete
OTHERS = ("counter/0123/chk-7", "count.backup/0123/chk-7", "a/count/0123/chk-7")


@pytest.fixture
def snapshots() -> Any:  # noqa: ANN401 - a module
    load("ansible.module_utils.flink_cluster", ROLE / "module_utils/flink_cluster.py")
    return load("ansible.module_utils.flink_snapshots", ROLE / "module_utils/flink_snapshots.py")


def test_in_files(snapshots: Any, tmp_path: Path) -> None:  # noqa: ANN401 - as above
    for place in (*SNAPSHOTS, *OTHERS):
        metadata = tmp_path / place / "_metadata"
        metadata.parent.mkdir(parents=True)
        metadata.touch()
        os.utime(metadata, (5, 5))
    (tmp_path / "count/0123/shared").mkdir()
    found = snapshots.list_snapshots(f"file:{tmp_path}/", "count", {}, {})
    assert sorted(found) == sorted(
        (5.0, f"file://{tmp_path}/{place}", form) for place, form in SNAPSHOTS.items()
    )


@pytest.mark.parametrize("prefix", ["", "/checkpoints"])
def test_on_s3(snapshots: Any, prefix: str) -> None:  # noqa: ANN401 - as above
    with s3_server() as settings:
        client = s3_client(settings.s3)
        client.create_bucket(Bucket="flink")
        for place in (*SNAPSHOTS, *OTHERS):
            for name in ("_metadata", "part"):
                client.put_object(Bucket="flink", Key=f"{prefix}/{place}/{name}".lstrip("/"), Body=b"")
        found = snapshots.list_snapshots(
            f"s3://flink{prefix}",
            "count",
            {"s3.endpoint": settings.s3.endpoint_url},
            {"AWS_ACCESS_KEY_ID": settings.s3.access_key, "AWS_SECRET_ACCESS_KEY": settings.s3.secret_key},
        )
    assert {(path, form) for _, path, form in found} == {
        (f"s3://flink{prefix}/{place}", form) for place, form in SNAPSHOTS.items()
    }
