"""Brokers that lost their disks come back one at a time, and a cluster keeps its kind of controllers."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROLE = Path(__file__).parents[3] / "ansible/roles/kafka"
PLAYBOOKS = ROLE.parents[1] / "playbooks"
Run = Callable[..., subprocess.CompletedProcess[str]]
StandIn = Callable[[str, str], None]
PLAY = f"""
- hosts: kafka
  gather_facts: false
  vars_files: [{ROLE}/vars/main.yml]
  vars:
    kafka_node_id: "{{{{ node_index }}}}"
    kafka_nodes: {{1: 192.0.2.1, 2: 192.0.2.2, 3: 192.0.2.3, 4: 192.0.2.4}}
    kafka_controller_nodes: {{}}
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


CLUSTER_ID = "AAAAAAAAAAAAAAAAAAAAAA"
PREFLIGHT = """
- hosts: kafka_controller:kafka
  gather_facts: false
  any_errors_fatal: true
  vars:
    kafka_version: 4.3.1
    kafka_cluster_id: {cluster_id}
    kafka_node_id: "{{{{ node_index }}}}"
    kafka_memory_mb: 512
    kafka_nodes: {brokers}
    kafka_controller_nodes: {controllers}
  tasks:
    - ansible.builtin.import_role: {{name: kafka, tasks_from: preflight.yml}}
"""
BOTH = "broker,controller"


class Cluster:
    """Hosts of Kafka on this machine, each with a folder of its own."""

    def __init__(self, run_playbook: Run, root: Path) -> None:
        self.run_playbook, self.root = run_playbook, root

    def has(self, roles: dict[int, str]) -> None:
        """Give hosts the data and the configuration of a cluster."""
        quorum = ",".join(f"192.0.2.{n}:9093" for n, role in roles.items() if "controller" in role)
        for number, role in roles.items():
            for path, text in {
                "data/meta.properties": f"#\ncluster.id={CLUSTER_ID}\nnode.id={number}\n",
                "etc/broker.properties": (
                    f"controller.quorum.bootstrap.servers={quorum}\nlog.dirs=/x\nprocess.roles={role}\n"
                ),
            }.items():
                file = self.root / f"node{number}" / path
                file.parent.mkdir(parents=True)
                file.write_text(text)

    def refusal(
        self,
        brokers: list[int],
        controllers: list[int],
        limit: str = "all",
        **variables: Any,  # noqa: ANN401 - JSON
    ) -> str:
        """Give what the preflight says on these hosts, nothing if it lets through."""
        nodes = {
            "brokers": {number: f"192.0.2.{number}" for number in brokers},
            "controllers": {number: f"192.0.2.{number}" for number in controllers},
        }
        (self.root / "play.yml").write_text(PREFLIGHT.format(cluster_id=CLUSTER_ID, **nodes))
        groups = {
            "kafka": [f"node{number}" for number in brokers],
            "kafka_controller": [f"node{number}" for number in controllers],
        }
        host = "{{ playbook_dir }}/{{ inventory_hostname }}"
        folders = {
            "kafka_conf_dir": f"{host}/etc",
            "kafka_data_dir": f"{host}/data",
            "kafka_home": f"{host}/none",
        }
        given = ["--extra-vars", json.dumps(folders | variables), "--limit", limit]
        ran = self.run_playbook(self.root / "play.yml", groups, *given)
        said = " ".join((ran.stdout + ran.stderr).split())
        assert "rror while" not in said, said
        assert ran.returncode == 0 or "Assertion failed" in said or "msg:" in said, said
        return said if ran.returncode else ""


@pytest.fixture
def cluster(run_playbook: Run, tmp_path: Path) -> Cluster:
    return Cluster(run_playbook, tmp_path)


COMBINED = {1: BOTH, 2: BOTH, 3: BOTH, 4: "broker"}
DEDICATED = {1: "broker", 2: "broker", 5: "controller", 6: "controller", 7: "controller"}


@pytest.mark.parametrize("roles", [COMBINED, DEDICATED])
def test_a_new_cluster_and_one_that_is_as_it_was_are_let_through(
    cluster: Cluster, roles: dict[int, str]
) -> None:
    brokers = [number for number, role in roles.items() if "broker" in role]
    controllers = [number for number, role in roles.items() if role == "controller"]
    assert cluster.refusal(brokers, controllers, kafka_replication_factor=2) == ""
    cluster.has(roles)
    assert cluster.refusal(brokers, controllers, kafka_replication_factor=2) == ""


# on one host alone, which sees no other's configuration
@pytest.mark.parametrize("host", ["node1", "node4"])
def test_brokers_that_vote_get_no_controllers_of_their_own(cluster: Cluster, host: str) -> None:
    cluster.has(COMBINED)
    said = cluster.refusal([1, 2, 3, 4], [5, 6, 7], host)
    assert "of a cluster whose first brokers vote, but now it would have controllers of its own" in said
    assert "That is chosen when a cluster is founded. Nothing was changed. Leave the group empty." in said


# a broker that does not vote knows the former controllers, which are brokers now
@pytest.mark.parametrize(
    ("brokers", "host"),
    [
        ([1, 2, 3], "node2"),
        ([1, 2, 5], "node5"),
        ([1, 2, 5], "node1"),
        ([1, 2, 3, 5, 6, 7], "node1"),
        ([1, 2, 5, 6, 7], "node1"),
    ],
)
def test_controllers_of_their_own_are_not_given_up(cluster: Cluster, brokers: list[int], host: str) -> None:
    cluster.has(DEDICATED)
    said = cluster.refusal(brokers, [], host)
    assert "of a cluster with controllers of its own, but now its first brokers would vote" in said
    assert "Nothing was changed. Give the group its hosts again." in said


def test_more_of_the_brokers_may_vote(cluster: Cluster) -> None:
    cluster.has({1: BOTH, 2: "broker", 3: "broker"})
    assert cluster.refusal([1, 2, 3], [], "node2") == ""


def test_a_cluster_that_is_founded_anew_has_the_choice(cluster: Cluster) -> None:
    cluster.has({1: BOTH, 2: "broker"})
    for file in cluster.root.glob("node*/data/meta.properties"):
        file.unlink()
    assert cluster.refusal([1, 2], [5], kafka_replication_factor=2) == ""


def test_a_broker_with_records_becomes_no_controller(cluster: Cluster) -> None:
    cluster.has(DEDICATED)
    said = cluster.refusal([1], [2, 6, 7], "node2", kafka_replication_factor=1)
    assert "node2 is a broker and has records, but is not in kafka_nodes any more" in said
    assert "Take the broker off it first (playbooks/remove.yml)" in said


@pytest.mark.parametrize(
    ("before", "brokers", "controllers", "told"),
    [
        (
            COMBINED,
            [2, 3, 4, 1],
            [],
            "node1 votes on the metadata, but is not among the first 3 of kafka_nodes",
        ),
        # its kind is told by the controllers that stay
        (DEDICATED, [1, 2, 5], [6, 7, 8], "among the first 3 of kafka_controller_nodes any more: 6, 7, 8."),
    ],
)
def test_a_voter_stays_one(
    cluster: Cluster, before: dict[int, str], brokers: list[int], controllers: list[int], told: str
) -> None:
    cluster.has(before)
    assert told in cluster.refusal(brokers, controllers, "node1" if before is COMBINED else "node1,node5")


@pytest.mark.parametrize(
    ("controllers", "variables", "told"),
    [
        ([1], {}, "Node 1 is both in kafka_nodes and in kafka_controller_nodes. Take it out of one"),
        (
            [5, 6],
            {},
            "There are 2 nodes in kafka_controller_nodes, but an odd number votes, 3 at most. Give it 1",
        ),
        ([5, 6, 7], {"kafka_controllers_max": 1}, "an odd number votes, 1 at most. Give it 1, or raise"),
        ([5, 6, 7], {"kafka_memory_mb": 300}, "is too little for a controller; 400 and 192 are the least"),
        (
            [5],
            {"kafka_node_id": 9},
            "is not in kafka_nodes: {1: '192.0.2.1'}, nor in kafka_controller_nodes: {5:",
        ),
        # a run without the others would found a cluster of its own
        ([5, 6, 7], {}, "has no data directory yet. Run this without --limit"),
    ],
)
def test_what_cannot_work_is_refused(
    cluster: Cluster, controllers: list[int], variables: dict[str, Any], told: str
) -> None:
    host = f"node{controllers[0]}"
    assert told in cluster.refusal([1], controllers, host, kafka_replication_factor=1, **variables)


VOTERS = 'CurrentVoters: [{"id": 5, "directoryId": "x"}, {"id": 6}, {"id": 7}, {"id": 8}, {"id": 9}]'


def test_controllers_that_lost_their_disks_come_back_one_at_a_time(
    cluster: Cluster, stand_in: StandIn
) -> None:
    controllers = [5, 6, 7, 8, 9]
    stand_in("kafka-cluster", f"echo '{HEAD}'; echo '1  192.0.2.1 9092 null unfenced broker'")
    stand_in("kafka-metadata-quorum", f"echo '{VOTERS}'; echo 'CurrentObservers: [{{\"id\": 1}}]'")
    cluster.has({1: "broker"} | dict.fromkeys(controllers, "controller"))
    for number in (6, 8):
        (cluster.root / f"node{number}/data/meta.properties").unlink()
    five = {"kafka_controllers_max": 5, "kafka_replication_factor": 1}
    assert "node6, node8 have lost their data" in cluster.refusal(
        [1], controllers, "node1,node6,node8", **five
    )
    assert cluster.refusal([1], controllers, "node1,node6", **five) == ""
    # less than a majority, or no answer
    stand_in("kafka-metadata-quorum", "echo 'timed out' >&2; exit 1")
    said = cluster.refusal([1], controllers, "node1,node6", **five)
    assert "node6 has no data, and no broker tells whether it is new: timed out" in said


def test_controllers_of_their_own_come_before_brokers(run_playbook: Run, tmp_path: Path) -> None:
    """In each play, and so in its tasks that take one host at a time: they get another version first."""
    plays = {
        name: [
            play["hosts"]
            for play in yaml.safe_load((PLAYBOOKS / f"{name}.yml").read_text())
            if "kafka" in re.split("[:!]", play.get("hosts", ""))
        ]
        for name in ("kafka", "upgrade_kafka", "restart", "health")
    }
    assert {name: len(found) for name, found in plays.items()} == dict.fromkeys(plays, 1)
    told = {"ansible.builtin.debug": {"msg": "order: {{ ansible_play_hosts_all | join(' ') }}."}}
    play = {"gather_facts": False, "tasks": [told | {"run_once": True}]}
    (tmp_path / "play.yml").write_text(
        yaml.safe_dump([{"hosts": found[0]} | play for found in plays.values()])
    )
    groups = {"kafka": ["node1", "node2"], "kafka_controller": ["node3", "node4"]}
    ran = run_playbook(tmp_path / "play.yml", groups | {"flink_jobmanager": ["node1"]})
    assert re.findall(r"order: ([\w ]+)\.", ran.stdout) == ["node3 node4 node1 node2"] * 4, ran.stdout


@pytest.mark.parametrize(
    ("controllers", "told"),
    [
        ([], None),
        (["node4", "node5", "node6"], None),
        (["node4", "node5"], "Group kafka_controller has 2 hosts (node4, node5), but their majority decides"),
        (["node3", "node4", "node5"], "node3: in group kafka and in group kafka_controller"),
    ],
)
def test_an_inventory_with_wrong_controllers_is_refused(
    run_playbook: Run, controllers: list[str], told: str | None
) -> None:
    groups = {
        "kafka": ["node1", "node2", "node3"],
        "kafka_controller": controllers,
        "minio": ["node1", "node2", "node3", "node4"],
        "zookeeper": ["node1"],
        "flink_jobmanager": ["node1"],
        "flink_taskmanager": ["node2"],
        "training": ["node4"],
    }
    # what comes before moves secrets; what comes after is about the hosts
    first = ["--limit", "localhost,node1", "--start-at-task", "Check how many hosts a group has"]
    ran = run_playbook(PLAYBOOKS / "validate.yml", groups, *first)
    said = " ".join((ran.stdout + ran.stderr).split())
    assert ("PLAY [The hosts]" in said) is (told is None), said
    assert told is None or told in said, said
