"""The table of openings in network.yml; what hosts really offer is held against it by scenario cluster."""

from pathlib import Path
from typing import Any

import yaml

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
