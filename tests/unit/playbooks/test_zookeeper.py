"""What role zookeeper refuses before it changes anything, and in which order it restarts members."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
StandIn = Callable[[str, str], None]
THREE = {1: "192.0.2.1", 2: "192.0.2.2", 3: "192.0.2.3"}
PLAY = """
- hosts: zookeeper
  gather_facts: false
  any_errors_fatal: true
  vars:
    zookeeper_node_id: "{{{{ node_index }}}}"
    zookeeper_memory_mb: 256
    zookeeper_nodes: {nodes}
  tasks:
    - ansible.builtin.import_role: {{name: zookeeper, tasks_from: {tasks}}}
"""


class Ensemble:
    """Members on this machine, each with a folder of its own."""

    def __init__(self, run_playbook: Run, root: Path) -> None:
        self.run_playbook, self.root = run_playbook, root

    def has(self, number: int, epoch: str, nodes: dict[int, str]) -> None:
        """Give a member the data and the configuration of an ensemble."""
        for path, text in {
            "data/version-2/acceptedEpoch": epoch,
            "etc/zoo.cfg": "\n".join(
                f"server.{each}={address}:2888:3888;{address}:2181" for each, address in nodes.items()
            ),
        }.items():
            file = self.root / f"node{number}" / path
            file.parent.mkdir(parents=True)
            file.write_text(text)

    def run(
        self,
        tasks: str,
        nodes: dict[int, str],
        *arguments: str,
        **variables: Any,  # noqa: ANN401 - JSON
    ) -> subprocess.CompletedProcess[str]:
        (self.root / "play.yml").write_text(PLAY.format(nodes=nodes, tasks=tasks))
        groups = {
            "zookeeper": [f"node{number}" for number in nodes],
            "flink_jobmanager": ["node1"],
            "flink_taskmanager": ["node1"],
        }
        host = "{{ playbook_dir }}/{{ inventory_hostname }}"
        folders = {"zookeeper_conf_dir": f"{host}/etc", "zookeeper_data_dir": f"{host}/data"}
        given = ["--extra-vars", json.dumps(folders | variables)]
        return self.run_playbook(self.root / "play.yml", groups, *given, *arguments)

    def refusal(self, nodes: dict[int, str], *arguments: str, **variables: Any) -> str:  # noqa: ANN401 - JSON
        """Give what the preflight says, nothing if it lets through."""
        ran = self.run("preflight.yml", nodes, *arguments, **variables)
        said = " ".join((ran.stdout + ran.stderr).split())
        assert ran.returncode == 0 or "Assertion failed" in said or "msg:" in said, said
        return said if ran.returncode else ""


@pytest.fixture
def ensemble(run_playbook: Run, tmp_path: Path) -> Ensemble:
    return Ensemble(run_playbook, tmp_path)


def test_a_new_ensemble_and_one_that_is_as_it_was_are_let_through(ensemble: Ensemble) -> None:
    assert ensemble.refusal(THREE) == ""
    for number in THREE:
        ensemble.has(number, "4", THREE)
    assert ensemble.refusal(THREE) == ""


def test_a_member_that_lost_its_data_may_fetch_it_from_a_majority(ensemble: Ensemble) -> None:
    ensemble.has(1, "4", THREE)
    ensemble.has(3, "4", THREE)
    assert ensemble.refusal(THREE) == ""


@pytest.mark.parametrize(("before", "after"), [({1: "192.0.2.1"}, THREE), (THREE, {1: "192.0.2.1"})])
def test_other_members_are_refused_with_the_way_to_them(
    ensemble: Ensemble, before: dict[int, str], after: dict[int, str]
) -> None:
    for number in before:
        ensemble.has(number, "1", before)
    said = ensemble.refusal(after)
    wanted = ", ".join(map(str, after))
    assert (
        f"founded with the members {', '.join(map(str, before))}, and cannot become one of {wanted} in"
        in said
    )
    assert "ansible-playbook playbooks/zookeeper_anew.yml" in said
    assert "then site.yml" in said


def test_data_of_less_than_a_majority_is_not_voted_away(ensemble: Ensemble) -> None:
    ensemble.has(2, "4", THREE)
    said = ensemble.refusal(THREE)
    assert "Of 3 members of the ensemble, node2 alone has data, and it takes 2 to decide" in said
    assert "Nothing was changed" in said


def test_a_member_that_never_had_a_leader_is_no_ensemble_yet(ensemble: Ensemble) -> None:
    """A first run that broke off after one member was started."""
    ensemble.has(1, "0", THREE)
    assert ensemble.refusal(THREE) == ""


def test_a_new_member_is_not_set_up_without_the_others(ensemble: Ensemble) -> None:
    ensemble.has(1, "4", THREE)
    assert "Run this once without --limit" in ensemble.refusal(THREE, "--limit", "node2")
    assert ensemble.refusal(THREE, "--limit", "node1") == ""


@pytest.mark.parametrize(
    ("nodes", "variables", "told"),
    [
        ({1: "192.0.2.1", 2: "192.0.2.2"}, {}, "2 members survive no more losses than one member less"),
        (THREE, {"zookeeper_memory_mb": 120}, "120 MB with 60 MB of heap is too little"),
    ],
)
def test_what_cannot_work_is_refused(
    ensemble: Ensemble, nodes: dict[int, str], variables: dict[str, Any], told: str
) -> None:
    assert told in ensemble.refusal(nodes, **variables)


def test_the_leader_is_restarted_last(ensemble: Ensemble, stand_in: StandIn, tmp_path: Path) -> None:
    # the first that is asked leads
    stand_in(
        "zookeeper-restart",
        f"""echo "$1" >> {tmp_path}/calls
            if [ "$1" = --unless-leader ] && [ "$(wc -l < {tmp_path}/calls)" = 1 ]; then echo leads; fi""",
    )
    ran = ensemble.run("roll.yml", THREE)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (tmp_path / "calls").read_text().split("\n") == ["--unless-leader"] * 3 + ["", ""]
    assert ran.stdout.count("changed=1") == 3
