"""What remove.yml refuses before it changes anything."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

REMOVE = Path(__file__).parents[3] / "ansible/playbooks/remove.yml"
GROUPS = {
    "kafka": ["node1", "node2", "node3", "node5"],
    "minio": ["node1", "node2", "node3", "node4"],
    "zookeeper": ["node9", "node10", "node11"],
    "flink_jobmanager": ["node7"],
    "flink_taskmanager": ["node2", "node6"],
    "training": ["node8"],
    "kafka_controller": ["node13", "node14", "node15"],
}
VOTERS = 'CurrentVoters:          [{"id": 1, "directoryId": "x"}, {"id": 2}, {"id": 5}]'


@pytest.fixture(autouse=True)
def quorum(stand_in: Callable[[str, str], None]) -> None:
    stand_in("kafka-metadata-quorum", f"echo 'LeaderId:  1'; echo '{VOTERS}'")


@pytest.mark.parametrize(
    ("host", "groups", "because"),
    [
        (None, {}, "name one with -e remove_host=node5"),
        ("node12", {}, "name one with -e remove_host=node5"),
        ("node4", {}, "a pool of MinIO cannot shrink"),
        ("node9", {}, "the members of ZooKeeper are those with which it was founded"),
        ("node14", {}, "Kafka's controllers are those with which it was founded"),
        ("node7", {}, "jobs need one JobManager"),
        ("node8", {}, "models are trained there"),
        ("node5,node6", {"flink_taskmanager": ["node5", "node6"]}, "jobs need one TaskManager"),
        ("node6,node5", {}, "broker 5 votes on Kafka's metadata"),
        ("node3", {"kafka": ["node1", "node2", "node3"], "minio": []}, "which 2 brokers cannot keep"),
    ],
)
def test_a_host_that_cannot_go_is_refused(
    run_playbook: Callable[..., subprocess.CompletedProcess[str]],
    host: str | None,
    groups: dict[str, list[str]],
    because: str,
) -> None:
    named = ["--extra-vars", f"remove_host={host}"] if host else []
    ran = run_playbook(REMOVE, GROUPS | groups, *named)
    assert ran.returncode != 0
    told = " ".join((ran.stdout + ran.stderr).split())
    assert re.search(rf"stays, and nothing was changed: .{{0,70}}{re.escape(because)}", told), told
    assert re.findall(r"^PLAY \[(.*)\]", ran.stdout, re.MULTILINE) == ["Can these hosts go?"]
