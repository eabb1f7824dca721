"""Brokers that lost their disks come back one at a time."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROLE = Path(__file__).parents[3] / "ansible/roles/kafka"
Run = Callable[..., subprocess.CompletedProcess[str]]
StandIn = Callable[[str, str], None]
PLAY = f"""
- hosts: kafka
  gather_facts: false
  vars_files: [{ROLE}/vars/main.yml]
  vars:
    kafka_node_id: "{{{{ node_index }}}}"
    kafka_nodes: {{1: 192.0.2.1, 2: 192.0.2.2, 3: 192.0.2.3, 4: 192.0.2.4}}
    kafka_port: 9092
  tasks:
    - ansible.builtin.set_fact: {{kafka_identity: {{content: ""}}}}
      when: inventory_hostname not in empty
    - ansible.builtin.set_fact: {{kafka_identity: {{failed: true}}}}
      when: inventory_hostname in empty
    - ansible.builtin.import_tasks: {ROLE}/tasks/lost_disks.yml
"""
HEAD = "ID         HOST       PORT       RACK       STATE      ENDPOINT_TYPE"


@pytest.fixture
def refused(run_playbook: Run, stand_in: StandIn, tmp_path: Path) -> Callable[..., str | None]:
    """Tell the brokers that the cluster knows and who has no data; give why a run is refused, if it is."""

    def run(known: dict[int, str], empty: list[str], *arguments: str) -> str | None:
        lines = [f"{n}  192.0.2.{n} 9092  null  {state}   broker" for n, state in known.items()]
        told = "\n".join([HEAD, *lines]) if known else ""
        stand_in("kafka-cluster", f"echo '{told}'; [ -n '{told}' ] || {{ echo 'timed out' >&2; exit 1; }}")
        (tmp_path / "play.yml").write_text(PLAY)
        groups = {"kafka": [f"node{n}" for n in range(1, 5)]}
        ran = run_playbook(
            tmp_path / "play.yml", groups, "--extra-vars", json.dumps({"empty": empty}), *arguments
        )
        assert "rror while" not in ran.stdout + ran.stderr, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr if ran.returncode else None

    return run


SERVING = dict.fromkeys(range(1, 5), "unfenced")


def test_what_lost_no_disk_is_let_through(refused: Callable[..., str | None]) -> None:
    assert refused(SERVING, []) is None
    # a cluster that is to be founded, and one that grows by two brokers
    assert refused({}, ["node1", "node2", "node3", "node4"]) is None
    assert refused({1: "unfenced", 2: "fenced"}, ["node3", "node4"]) is None


def test_a_broker_that_lost_its_disk_comes_back(refused: Callable[..., str | None]) -> None:
    assert refused(SERVING | {2: "fenced", 3: "fenced"}, ["node2"]) is None


def test_of_two_that_lost_their_disks_one_waits(refused: Callable[..., str | None]) -> None:
    why = refused(SERVING | {2: "fenced", 4: "fenced"}, ["node2", "node4"])
    assert why is not None
    assert "node2, node4 have lost their data" in why
    assert "--limit 'all:localhost:!node4'" in why
    assert refused(SERVING | {2: "fenced", 4: "fenced"}, ["node2", "node4"], "--limit", "all:!node4") is None


def test_without_an_answer_nobody_is_taken_for_new(refused: Callable[..., str | None]) -> None:
    why = refused({}, ["node2"])
    assert why is not None
    assert "no broker tells whether it is new: timed out" in " ".join(why.split())
