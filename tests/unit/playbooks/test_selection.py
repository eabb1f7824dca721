"""Which hosts and components a run with --limit or --tags is about."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ANSIBLE = Path(__file__).parents[3] / "ansible"
Run = Callable[..., subprocess.CompletedProcess[str]]
GROUPS = {
    "kafka": ["node1", "node2", "node3"],
    "minio": ["node1", "node2", "node3", "node4"],
    "flink_jobmanager": ["node1"],
    "flink_taskmanager": ["node2", "node3"],
    "training": ["node4"],
    "clients": ["node5"],
}
PLAY = """
- hosts: node5
  gather_facts: false
  tasks:
    - ansible.builtin.debug:
        msg: "{{ {'taskmanagers': taskmanagers_total | int, 'left_out': hosts_left_out | sort,
                  'jobmanager': jobmanager_awaited} | to_json }}"
"""


def told(ran: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What PLAY printed, on one line or several."""
    found: dict[str, Any] = json.loads(
        " ".join(re.findall(r"msg: '(.*?)'", ran.stdout, re.DOTALL)[0].split())
    )
    return found


@pytest.mark.parametrize(
    ("limit", "taskmanagers", "left_out"),
    [
        ("all", 2, []),
        # the other hosts still count, though the run is on these alone
        ("node5,node2", 2, []),
        ("all:localhost:!node3", 1, ["node3"]),
        ("!node1", 2, ["node1"]),
        ("!kafka:!training", 0, ["node1", "node2", "node3", "node4"]),
    ],
)
def test_the_others_do_without_hosts_that_the_limit_takes_out(
    run_playbook: Run, tmp_path: Path, limit: str, taskmanagers: int, left_out: list[str]
) -> None:
    (tmp_path / "play.yml").write_text(PLAY)
    ran = run_playbook(tmp_path / "play.yml", GROUPS, "--limit", limit)
    found = told(ran)
    assert found == {
        "taskmanagers": taskmanagers,
        "left_out": left_out,
        "jobmanager": "node1" not in left_out,
    }


def test_taskmanagers_of_a_host_are_counted_however_their_number_is_given(
    run_playbook: Run, tmp_path: Path
) -> None:
    (tmp_path / "play.yml").write_text(PLAY.replace("hosts_left_out | sort", "taskmanager_instances"))
    ran = run_playbook(tmp_path / "play.yml", GROUPS, "--extra-vars", "flink_taskmanagers_per_host=2")
    found = told(ran)
    assert (found["taskmanagers"], found["left_out"]) == (4, [1, 2])


def test_a_tag_chooses_one_component(run_playbook: Run) -> None:
    listed = run_playbook(ANSIBLE / "site.yml", GROUPS, "--list-tasks").stdout
    tasks = re.findall(r"^ {6}(.*)\tTAGS: \[(.*)\]", listed, flags=re.MULTILINE)
    tags = {tags for name, tags in tasks if "Validating arguments against arg spec" not in name}
    assert tags == {
        "always",
        "artifacts",
        "base",
        "minio",
        "kafka",
        "zookeeper",
        "flink",
        "training",
        # what stops changed jobs never comes without what starts them
        "flink, jobs",
        "clients",
    }
    kafka = {name.partition(" : ")[0] for name, tags in tasks if tags == "kafka"}
    assert {"java", "kafka"} <= kafka <= {"java", "kafka", "release", "service_inputs"}


def test_no_play_is_bound_to_the_first_host_of_a_group() -> None:
    """That host may be the one that is gone."""
    hosts = [
        f"{file.name}: {play['hosts']}"
        for file in sorted((ANSIBLE / "playbooks").glob("*.yml"))
        for play in yaml.safe_load(file.read_text())
        if "hosts" in play
    ]
    assert hosts
    assert [each for each in hosts if re.search(r"\[\d|\bfirst\b", each)] == []
