"""Which hosts and components a run with --limit or --tags is about."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
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


def plays() -> Iterator[tuple[str, dict[str, Any]]]:
    """Give each play of each playbook, and what it is called in a message."""
    for file in sorted((ANSIBLE / "playbooks").glob("*.yml")):
        for play in yaml.safe_load(file.read_text()):
            if "hosts" in play:
                yield f"{file.name}: {play['name']}", play


def test_no_play_is_bound_to_the_first_host_of_a_group() -> None:
    """That host may be the one that is gone."""
    hosts = [f"{name}: {play['hosts']}" for name, play in plays()]
    assert hosts
    assert [each for each in hosts if re.search(r"\[\d|\bfirst\b", each)] == []


def test_a_lost_host_ends_the_run_wherever_errors_are_fatal() -> None:
    """Without max_fail_percentage, Ansible goes on with the next play, on hosts that the last had not."""
    fatal = {name: play for name, play in plays() if play.get("any_errors_fatal") or play.get("run_once")}
    assert {"kafka.yml: Kafka", "restart.yml: Coordination"} <= fatal.keys()
    assert [name for name, play in fatal.items() if play.get("max_fail_percentage") != 0] == []
    # with serial, a host that is lost would count twice, and so not as all of its batch
    assert [name for name, play in fatal.items() if "serial" in play] == []
    # what changes services, and runs before something else does
    changing = {name.partition(":")[0] for name, play in plays() if play.get("any_errors_fatal")}
    assert {"base.yml", "flink.yml", "kafka.yml", "minio.yml", "zookeeper.yml"} <= changing


LOST = """
- name: First
  hosts: kafka
  gather_facts: false
  {keywords}
  tasks:
    - name: Work
      {task}
- name: Second
  hosts: flink_jobmanager:minio
  gather_facts: false
  tasks:
    - name: Go on
      ansible.builtin.ping:
"""


@pytest.mark.parametrize(
    ("keywords", "limit", "goes_on"),
    [
        (["any_errors_fatal: true", "max_fail_percentage: 0"], "all", False),
        (["any_errors_fatal: true", "max_fail_percentage: 0"], "!node1", True),
        (["run_once: true", "max_fail_percentage: 0"], "all", False),
        (["serial: 1"], "all", False),
        # why there is more than this
        (["any_errors_fatal: true"], "all", True),
    ],
)
def test_ansible_goes_by_these_keywords(
    run_playbook: Run, tmp_path: Path, keywords: list[str], limit: str, *, goes_on: bool
) -> None:
    address = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars/node1.yml").write_text(json.dumps(address))
    (tmp_path / "play.yml").write_text(LOST.format(keywords="\n  ".join(keywords), task="ping:"))
    ran = run_playbook(tmp_path / "play.yml", GROUPS, "--limit", limit)
    assert ("TASK [Go on]" in ran.stdout) == goes_on, ran.stdout
    assert (ran.returncode == 0) == (limit != "all"), ran.stdout


EXPLAINED = """{fatal}
      block:
        - ansible.builtin.assert:
            that: inventory_hostname != 'node2'
      rescue:
        - name: Read the journal
          ansible.builtin.command: echo its last words
          changed_when: false
        - name: Say why
          ansible.builtin.fail:
            msg: explained"""


@pytest.mark.parametrize(
    ("fatal", "explained"), [("any_errors_fatal: false", True), ("any_errors_fatal: true", False)]
)
def test_what_fails_is_fatal_once_it_is_explained(
    run_playbook: Run, tmp_path: Path, fatal: str, *, explained: bool
) -> None:
    keywords = "any_errors_fatal: true\n  max_fail_percentage: 0"
    task = EXPLAINED.format(fatal=fatal)
    (tmp_path / "play.yml").write_text(LOST.format(keywords=keywords, task=task))
    ran = run_playbook(tmp_path / "play.yml", GROUPS)
    assert ("explained" in ran.stdout) == explained, ran.stdout
    assert "TASK [Go on]" not in ran.stdout
    assert ran.returncode != 0


def rescued(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Give the blocks among tasks that have a rescue."""
    for task in tasks:
        for part in ("block", "rescue", "always"):
            yield from rescued(task.get(part, []))
        if "rescue" in task:
            yield task


def every_task(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Give tasks, and those within their blocks."""
    for task in tasks:
        yield task
        for part in ("block", "rescue", "always"):
            yield from every_task(task.get(part, []))


def test_roles_explain_failures_before_they_end_the_run() -> None:
    """With max_fail_percentage, what is fatal at once ends a rescue after its first task."""
    blocks = {
        f"{file.relative_to(ANSIBLE)}: {block['name']}": block
        for file in sorted(ANSIBLE.glob("roles/*/tasks/*.yml"))
        for block in rescued(yaml.safe_load(file.read_text()) or [])
    }
    only_told = [
        name
        for name, block in blocks.items()
        if len(block["rescue"]) == 1 and "ansible.builtin.fail" in block["rescue"][0]
    ]
    assert 0 < len(only_told) < len(blocks)
    fatal = [name for name, block in blocks.items() if block.get("any_errors_fatal") is not False]
    assert [name for name in fatal if name not in only_told] == []
    # else the hosts whose turn comes later in the same role would go on
    for file in {name.partition(":")[0] for name in blocks if name not in fatal}:
        folder = (ANSIBLE / file).parent
        texts = (ANSIBLE / file, folder / "explain.yml")
        tasks = [
            task for text in texts if text.exists() for task in every_task(yaml.safe_load(text.read_text()))
        ]
        fails = [task for task in tasks if "ansible.builtin.fail" in task]
        assert fails, file
        assert all(task.get("any_errors_fatal") is True for task in fails), file
