"""What remove.yml refuses before it changes anything."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ANSIBLE = Path(__file__).parents[3] / "ansible"
REMOVE = ANSIBLE / "playbooks/remove.yml"
Run = Callable[..., subprocess.CompletedProcess[str]]
StandIn = Callable[[str, str], None]
GROUPS = {
    "kafka": ["node1", "node2", "node3", "node5"],
    "minio": ["node1", "node2", "node3", "node4"],
    "zookeeper": ["node9", "node10", "node11"],
    "flink_jobmanager": ["node7"],
    "flink_taskmanager": ["node2", "node6"],
    "training": ["node8"],
    "kafka_controller": ["node13", "node14", "node15"],
}
CHECKS = ["Can these hosts go?", "Were all hosts that are about to be stopped checked?"]
VOTERS = 'CurrentVoters:          [{"id": 1, "directoryId": "x"}, {"id": 2}, {"id": 5}]'


@pytest.fixture(autouse=True)
def services(stand_in: StandIn, tmp_path: Path) -> Path:
    """What systemctl is asked on all hosts; each service runs."""
    stand_in("kafka-metadata-quorum", f"echo 'LeaderId:  1'; echo '{VOTERS}'")
    stand_in("kafka-cluster", "echo ID HOST")
    stand_in(
        "systemctl", f'echo "$*" >> {tmp_path}/systemctl; printf "LoadState=loaded\nActiveState=active\n"'
    )
    return tmp_path / "systemctl"


@pytest.fixture
def moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The jobs that role flink_job was asked for, on which host."""
    note = f"echo {{{{ inventory_hostname }}}} {{{{ flink_job_name }}}} >> {tmp_path}/moved"
    for file, task in {
        "flink_job/tasks/main.yml": {"ansible.builtin.shell": note},
        "python_app/tasks/finish.yml": {"ansible.builtin.meta": "noop"},
    }.items():
        role = tmp_path / "roles" / file
        role.parent.mkdir(parents=True)
        role.write_text(json.dumps([task]))
    monkeypatch.setenv("ANSIBLE_ROLES_PATH", f"{tmp_path}/roles:{ANSIBLE}/roles")
    return tmp_path / "moved"


def plays(ran: subprocess.CompletedProcess[str]) -> list[str]:
    return re.findall(r"^PLAY \[(.*)\]", ran.stdout, re.MULTILINE)


def told(ran: subprocess.CompletedProcess[str]) -> str:
    return " ".join((ran.stdout + ran.stderr).split())


@pytest.mark.parametrize(
    ("host", "groups", "because"),
    [
        (None, {}, "name one with -e remove_host=node5"),
        ("node12", {}, "name one with -e remove_host=node5"),
        ("kafka", {}, "name one with -e remove_host=node5"),
        ("all", {}, "name one with -e remove_host=node5"),
        ("*", {}, "name one with -e remove_host=node5"),
        ("~node.+", {}, "name one with -e remove_host=node5"),
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
    run_playbook: Run, services: Path, host: str | None, groups: dict[str, list[str]], because: str
) -> None:
    named = ["--extra-vars", f"remove_host={host}"] if host else []
    ran = run_playbook(REMOVE, GROUPS | groups, *named)
    assert ran.returncode != 0
    refused = rf"stays, and nothing was changed: .{{0,70}}{re.escape(because)}"
    assert re.search(refused, told(ran)), told(ran)
    assert plays(ran) == CHECKS[:1]
    assert not services.exists()


@pytest.mark.parametrize(
    ("limit", "because"),
    [
        ("node6", "leaves out all brokers"),
        ("node6,node1", "leaves out all JobManagers' hosts"),
        ("node1,node7", "leaves out node6, whose services would go on"),
    ],
)
def test_a_run_without_the_hosts_that_it_needs_is_refused(
    run_playbook: Run, services: Path, limit: str, because: str
) -> None:
    ran = run_playbook(REMOVE, GROUPS, "--extra-vars", "remove_host=node6", "--limit", limit)
    assert ran.returncode != 0, told(ran)
    assert because in told(ran)
    typed = "Run it without --limit: ansible-playbook playbooks/remove.yml -e remove_host=node6"
    assert typed in told(ran)
    assert plays(ran) == CHECKS[:1]
    assert not services.exists()


def test_a_host_that_was_not_checked_is_not_stopped(run_playbook: Run, services: Path) -> None:
    started = ["--start-at-task", "Refuse others"]
    ran = run_playbook(REMOVE, GROUPS, "--extra-vars", "remove_host=node6", *started)
    assert ran.returncode != 0, told(ran)
    assert "this run has not checked whether node6 can go" in told(ran)
    assert plays(ran)[-1] == CHECKS[1]
    assert not services.exists()


@pytest.mark.parametrize(("down", "last"), [("node1", CHECKS[0]), ("node6", "Stop the JobManagers")])
def test_a_host_that_is_down_without_anybody_saying_so_ends_the_run(  # noqa: PLR0913, PLR0917 - cases and fixtures
    run_playbook: Run, services: Path, moved: Path, tmp_path: Path, down: str, last: str
) -> None:
    address = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    (tmp_path / "host_vars").mkdir()
    (tmp_path / f"host_vars/{down}.yml").write_text(json.dumps(address))
    ran = run_playbook(REMOVE, GROUPS, "--extra-vars", "remove_host=node6")
    assert ran.returncode != 0, told(ran)
    assert plays(ran)[-1] == last
    assert not services.exists()
    assert not moved.exists()


@pytest.mark.parametrize("limit", ["all", "!node6"])
def test_a_host_that_was_checked_goes_or_is_gone(
    run_playbook: Run, services: Path, moved: Path, limit: str
) -> None:
    ran = run_playbook(REMOVE, GROUPS, "--extra-vars", "remove_host=node6", "--limit", limit)
    assert ran.returncode == 0, told(ran)
    assert set(moved.read_text().splitlines()) == {"node7 ml_inference_job", "node7 kafka_to_minio_job"}
    asked = services.read_text().splitlines() if services.exists() else []
    stopped = [each for each in asked if each.startswith("stop")]
    assert stopped == (["stop flink-taskmanager@1.service", "stop haproxy.service"] if limit == "all" else [])
