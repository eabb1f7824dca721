"""The table of openings in network.yml, and how it is held against what hosts really offer."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from openings import Seen, callers_amiss, ports_amiss

GROUP_VARS = Path(__file__).parents[3] / "ansible/inventory/group_vars/all"


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((GROUP_VARS / name).read_text())
    return loaded


NETWORK = load("network.yml")
OPENINGS = NETWORK["openings"]


# other hosts do not reach them
ON_LOOPBACK = {"minio_proxy"}


def test_each_port_has_an_opening() -> None:
    assert OPENINGS.keys() == NETWORK["ports"].keys() - ON_LOOPBACK


def test_groups_are_those_of_the_inventory() -> None:
    groups = set(load("sizing.yml")["memory_weights"])
    for name, opening in OPENINGS.items():
        assert opening["to"], name
        assert set(opening["to"]) <= groups or opening["to"] == ["all"], name
        assert set(opening["from"]) <= groups | {"operators"}, name


def test_controllers_of_their_own_are_reached_by_brokers_and_each_other_and_by_nobody_else() -> None:
    kafka = {"kafka", "kafka_controller"}
    offered = {name for name, opening in OPENINGS.items() if "kafka_controller" in opening["to"]}
    assert offered == {"kafka_controller"}
    assert set(OPENINGS["kafka_controller"]["from"]) == set(OPENINGS["kafka_controller"]["to"]) == kafka
    # with the command line tools
    reached = {name for name, opening in OPENINGS.items() if "kafka_controller" in opening["from"]}
    assert reached == {"kafka", "kafka_controller"}


def test_no_port_is_in_two_openings() -> None:
    ranges = [
        range(number, number + OPENINGS.get(name, {}).get("count", 1))
        for name, number in NETWORK["ports"].items()
    ]
    ports = [port for numbers in ranges for port in numbers]
    assert len(ports) == len(set(ports))


def test_each_taskmanager_that_has_a_port_has_all_of_them() -> None:
    defaults = yaml.safe_load((GROUP_VARS.parents[2] / "roles/flink/defaults/main.yml").read_text())
    counts = {name: opening["count"] for name, opening in OPENINGS.items() if "count" in opening}
    rpc = counts.pop("flink_taskmanager_rpc_first")
    assert set(counts.values()) == {rpc // defaults["flink_taskmanager_rpc_ports"]}


# as Java and Go write them
LISTENING = {
    "node1": ["[::ffff:10.0.0.1]:2181", "[::ffff:10.0.0.1]:3888", "[::ffff:10.0.0.1]:2888"],
    "node2": ["[::ffff:10.0.0.2]:2181", "[::ffff:10.0.0.2]:3888", "*:9000", "*:9001", "127.0.0.1:9010"],
    "node3": [f"[::ffff:10.0.0.3]:{port}" for port in (6140, 6150, 6204)],
    "node4": ["10.0.0.4:9093", "0.0.0.0:22", "127.0.0.53%lo:53"],
}
GROUPS = {
    "node1": {"zookeeper"},
    "node2": {"zookeeper", "minio"},
    "node3": {"flink_taskmanager"},
    "node4": {"kafka_controller"},
}


def seen(
    listening: dict[str, list[str]], *connections: tuple[str, str], at: str = "node2"
) -> dict[str, Seen]:
    """Four hosts, with connections on one of them."""
    # of MinIO to itself: there is always one
    told = "".join(
        f"0 0 {local} {peer}\n"
        for local, peer in [("[::ffff:10.0.0.2]:9000", "10.0.0.2:43210"), *connections]
    )
    return {
        name: Seen(
            f"10.0.0.{name[4:]}",
            GROUPS[name],
            "".join(f"LISTEN 0 50 {place} *:*\n" for place in listening[name]),
            told if name == at else "",
        )
        for name in GROUPS
    }


@pytest.mark.parametrize(
    ("host", "less", "more", "amiss"),
    [
        ("node1", [], [], []),
        ("node2", [], ["10.0.0.2:5005"], ["node2: 10.0.0.2:5005 listens"]),
        # a port of another group's
        ("node1", [], ["*:9000"], ["node1: *:9000 listens"]),
        (
            "node2",
            ["*:9000"],
            ["10.0.0.2:9000"],
            ["node2: 0 ports of minio listen", "node2: 10.0.0.2:9000 listens"],
        ),
        ("node3", [], ["10.0.0.3:6205"], ["node3: 2 ports of flink_taskmanager_rpc_first listen"]),
        ("node1", ["[::ffff:10.0.0.1]:2888"], [], ["zookeeper_quorum listens nowhere"]),
    ],
)
def test_a_port_that_should_not_listen_or_does_not_is_told(
    host: str, less: list[str], more: list[str], amiss: list[str]
) -> None:
    places = [place for place in LISTENING[host] if place not in less] + more
    assert [*ports_amiss(seen(LISTENING | {host: places}))] == amiss


@pytest.mark.parametrize(
    ("local", "peer", "amiss"),
    [
        ("10.0.0.2:9000", "[::ffff:10.0.0.3]:43210", []),
        # the control node
        ("10.0.0.2:9000", "10.0.0.254:43210", []),
        ("10.0.0.2:2181", "10.0.0.254:43210", ["node2: 10.0.0.254 at zookeeper"]),
        ("10.0.0.2:2888", "10.0.0.3:43210", ["node2: 10.0.0.3 at zookeeper_quorum"]),
        # it began this one
        ("10.0.0.2:43210", "10.0.0.3:6204", []),
    ],
)
def test_a_connection_that_the_table_does_not_allow_is_told(local: str, peer: str, amiss: list[str]) -> None:
    assert [*callers_amiss(seen(LISTENING, (local, peer)))] == amiss


def test_where_no_connection_was_read_that_is_told() -> None:
    assert [*callers_amiss(seen(LISTENING, at="none"))] == ["no connection between hosts of MinIO was seen"]
