"""The table of faults for a lab."""

from random import Random
from typing import Any

import harm
import pytest
from catalogue import AFTER, FROZEN, HOST, LEADER, PROCESS, Aimed, catalogue
from containers import HERE, PRODUCER
from moments import MOMENTS
from order import plan

HOSTS: dict[str, dict[str, Any]] = {
    "node1": {"node_index": 1, "groups": ["kafka", "minio", "zookeeper", "flink_jobmanager"]},
    "node2": {"node_index": 2, "groups": ["kafka", "minio", "zookeeper", "flink_taskmanager"]},
    "node3": {"node_index": 3, "groups": ["kafka", "minio", "zookeeper", "flink_taskmanager"]},
    "node4": {"node_index": 4, "groups": ["minio", "flink_jobmanager", "training"]},
}


class Lab:
    hosts = HOSTS

    @staticmethod
    def leader() -> str:
        return "node4"

    @staticmethod
    def controller() -> str:
        return "node2"


TABLE = catalogue(HOSTS)


def aimed(name: str, seed: int = 0) -> Aimed:
    return TABLE[name].aim(Lab(), Random(seed))  # noqa: S311 - to be repeated


def test_the_table_has_each_service_of_each_host() -> None:
    for word in ("kill", "stop", "freeze"):
        for host in ("node1", "node2", "node3"):
            assert {f"{word}-kafka-{host}", f"{word}-zookeeper-{host}"} <= TABLE.keys()
        assert f"{word}-kafka-node4" not in TABLE
        for host in HOSTS:
            assert {f"{word}-minio-{host}", f"{word}-haproxy-{host}", f"power-{host}"} <= TABLE.keys()
        assert {f"{word}-taskmanager-node2", f"{word}-taskmanager-node3"} <= TABLE.keys()
        assert {
            f"{word}-jobmanager-leader",
            f"{word}-jobmanager-standby",
            f"{word}-controller",
        } <= TABLE.keys()
    assert len(plan({name: each.kind for name, each in TABLE.items()}, list(MOMENTS), 1)) >= 40


@pytest.mark.parametrize(
    ("name", "command"),
    [("power", "incus stop --force"), ("shut-down", "incus stop --timeout"), ("pause", "incus pause")],
)
def test_a_whole_host_is_stopped_in_three_ways_and_started_again(name: str, command: str) -> None:
    found = aimed(f"{name}-node2").harm
    assert found.breaks[0].command.startswith(command)
    assert found.breaks[0].command.endswith(" node2")
    assert found.mends[0].command.startswith("incus start node2")


def test_limits_are_those_that_were_promised() -> None:
    assert (PROCESS, FROZEN, LEADER, HOST, AFTER) == (20, 35, 30, 60, 120)
    limits = {
        "kill-kafka-node1": (20, False),
        "freeze-minio-node1": (35, False),
        "freeze-jobmanager-leader": (30, False),
        "kill-jobmanager-standby": (20, False),
        "power-node3": (60, False),
        "cut-inward-node3": (60, False),
        "leader-cut-from-zookeeper": (30, False),
        "zookeeper-quorum": (120, True),
        "all-hosts": (120, True),
    }
    assert {name: (TABLE[name].limit_s, TABLE[name].after_repair) for name in limits} == limits


def test_who_leads_is_found_when_the_fault_is_injected() -> None:
    assert aimed("kill-jobmanager-leader").aim == "flink-jobmanager of node4"
    assert aimed("freeze-jobmanager-standby").aim == "flink-jobmanager of node1"
    assert aimed("stop-controller").aim == "kafka of node2"


def test_a_majority_of_zookeeper_and_two_nodes_of_minio_are_lost() -> None:
    assert len({step.where for step in aimed("zookeeper-quorum").harm.breaks}) == 2
    chosen = {tuple(step.where for step in aimed("two-minio-nodes", seed).harm.breaks) for seed in range(20)}
    assert {len(set(each)) for each in chosen} == {2}
    assert len(chosen) > 1


def test_the_last_broker_is_killed_when_all_others_have_stopped() -> None:
    *others, last = aimed("last-broker").harm.breaks
    assert sorted(step.where for step in (*others, last)) == ["node1", "node2", "node3"]
    assert {step.command for step in others} == {"systemctl stop kafka"}
    # else systemd would start it again
    assert last.command == "systemctl kill --signal=KILL kafka; systemctl stop kafka"


@pytest.mark.parametrize("name", sorted(TABLE))
def test_each_fault_is_mended_where_it_was_injected(name: str) -> None:
    found = aimed(name).harm
    assert found.breaks
    assert {step.where for step in found.breaks} <= {step.where for step in found.mends}
    known = {*HOSTS, HERE, PRODUCER}
    assert {step.where for step in (*found.breaks, *found.undone, *found.prepares)} <= known


def test_a_host_is_cut_off_both_ways_or_one() -> None:
    rules = {
        name: aimed(f"{name}-node1").harm.breaks[0].command for name in ("cut", "cut-inward", "cut-outward")
    }
    assert ["input" in rule for rule in rules.values()] == [True, True, False]
    assert ["output" in rule for rule in rules.values()] == [True, False, True]
    (step,) = aimed("leader-cut-from-zookeeper").harm.breaks
    assert step.where == "node4"
    assert "tcp dport 2181 drop" in step.command
    assert "tcp sport 2181 drop" in step.command


def test_hosts_lose_their_power_last_and_get_it_first() -> None:
    off, killed = harm.powered_off("node1"), harm.killed("node1", "kafka")
    for pair in ([off, killed], [killed, off]):
        both = harm.together(pair)
        assert [step.where for step in both.breaks] == ["node1", HERE]
        assert [step.where for step in both.mends] == [HERE, "node1"]
