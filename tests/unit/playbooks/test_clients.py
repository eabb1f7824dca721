"""The control node's commands can ask each node of MinIO, whichever is gone."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flink_jobs.store.settings import load_settings

CLIENTS = Path(__file__).parents[3] / "ansible/playbooks/clients.yml"
GROUPS = {
    "kafka": ["node1", "node2"],
    "minio": ["node1", "node2", "node4"],
    "flink_jobmanager": ["node1"],
    "flink_taskmanager": ["node2"],
    "training": ["node4"],
}
URLS = {n: f"http://192.0.2.{n}:9000" for n in (1, 2, 4)}


class FormerS3(msgspec.Struct, frozen=True):
    """What the release before knew of MinIO."""

    endpoint_url: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"


class FormerSettings(msgspec.Struct, frozen=True):
    """The part of the settings of then that tells of MinIO."""

    s3: FormerS3


@pytest.fixture
def written(
    run_playbook: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> Callable[..., Any]:
    """Let clients.yml write the settings; give the file's path."""

    def write(*arguments: str) -> Path:
        variables = {"deployment_dir": str(tmp_path), "terraform_root": "terraform/lab"}
        ran = run_playbook(CLIENTS, GROUPS, "--extra-vars", json.dumps(variables), *arguments)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return tmp_path / "settings.json"

    return write


@pytest.mark.parametrize(
    ("limit", "order", "console"), [("all:localhost", [1, 2, 4], 1), ("all:localhost:!node1", [2, 4, 1], 2)]
)
def test_all_nodes_of_minio_are_named_those_that_are_up_first(
    written: Callable[..., Path], limit: str, order: list[int], console: int
) -> None:
    file = written("--limit", limit)
    s3 = load_settings(file).s3
    assert s3.endpoint_urls == tuple(URLS[n] for n in order)
    assert s3.access_key == "training"
    # the commands of an earlier version, which know one node only
    former = msgspec.json.decode(file.read_bytes(), type=FormerSettings).s3
    assert former == FormerS3(URLS[order[0]], s3.access_key, s3.secret_key)
    assert f"http://192.0.2.{console}:9001" in (file.parent / "where-to-look.txt").read_text()
