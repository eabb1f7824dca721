"""Kafka is upgraded for real, and a broker is removed. The tests build on each other, in this order."""

import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import yaml
from testinfra.host import Host

testinfra_hosts = ["ansible://upgrade-1"]
ROOT = Path(__file__).parents[3]
PLAYBOOKS = ROOT / "ansible/playbooks"
OLDER_FILE = ROOT / "molecule/upgrade/older.yml"
OLDER = yaml.safe_load(OLDER_FILE.read_text())["kafka_version"]
TODAY = yaml.safe_load((ROOT / "ansible/inventory/group_vars/all/versions.yml").read_text())["kafka_version"]
PORT = 9092
Apply = Callable[..., Any]
Produced = Callable[[], AbstractContextManager[None]]


@pytest.fixture(scope="session")
def nodes(hosts_of: Callable[[str], dict[str, Host]]) -> dict[str, Host]:
    return hosts_of("kafka")


def versions(nodes: dict[str, Host]) -> set[str]:
    """Versions that the brokers run, not those that are installed."""
    started = [host.process.get(user="kafka", comm="java").args for host in nodes.values()]
    return {re.findall(r" -cp /opt/kafka-([0-9.]+)-", arguments)[0] for arguments in started}


def starts(nodes: dict[str, Host]) -> dict[str, str]:
    command = "systemctl show kafka --property=ActiveEnterTimestampMonotonic --value"
    return {name: host.check_output(command) for name, host in nodes.items()}


def level(host: Host) -> str:
    described = host.check_output("kafka-features describe")
    return str(re.findall(r"metadata\.version\s.*FinalizedVersionLevel: ([0-9.]+)-", described)[0])


def test_brokers_get_the_new_version_one_at_a_time_and_may_go_back(
    host: Host,
    nodes: dict[str, Host],
    apply: Apply,
    outages: Callable[..., AbstractContextManager[list[set[str]]]],
    nothing_is_lost: Produced,
) -> None:
    assert versions(nodes) == {OLDER}
    addresses = [str(node.ansible.get_variables()["ansible_host"]) for node in nodes.values()]
    with nothing_is_lost(), outages(dict.fromkeys(addresses, PORT)) as seen:
        apply(PLAYBOOKS / "kafka.yml")
        assert versions(nodes) == {TODAY}
        assert OLDER.startswith(level(host))
        apply(PLAYBOOKS / "kafka.yml", "--extra-vars", f"@{OLDER_FILE}")
        assert versions(nodes) == {OLDER}
    assert max(map(len, seen)) == 1, seen


def test_the_feature_level_follows_once_all_brokers_are_new(
    host: Host, nodes: dict[str, Host], apply: Apply, nothing_is_lost: Produced
) -> None:
    with nothing_is_lost():
        apply(PLAYBOOKS / "upgrade_kafka.yml")
    assert versions(nodes) == {TODAY}
    assert TODAY.startswith(level(host))
    assert not OLDER.startswith(level(host))
    again = apply(PLAYBOOKS / "upgrade_kafka.yml").stdout
    assert re.findall(r"changed=(\d+)", again) == ["0"] * len(nodes)


def test_a_version_that_cannot_read_the_metadata_is_refused_before_anything_stops(
    host: Host, nodes: dict[str, Host], apply: Apply
) -> None:
    before = starts(nodes), host.file("/opt/kafka").linked_to
    refused = apply(PLAYBOOKS / "kafka.yml", "--extra-vars", f"@{OLDER_FILE}", fails=True)
    assert f"Kafka {OLDER} cannot read the metadata" in refused.stdout
    assert (starts(nodes), host.file("/opt/kafka").linked_to) == before


def test_a_broker_is_emptied_and_unregistered(
    host: Host, nodes: dict[str, Host], apply: Apply, nothing_is_lost: Produced
) -> None:
    def brokers() -> tuple[set[str], set[str]]:
        """Those that keep replicas, and those that are registered."""
        described = host.check_output("kafka-topics --describe")
        keeping = {
            broker for ids in re.findall(r"Replicas: ([\d,]+)", described) for broker in ids.split(",")
        }
        listed = host.check_output("kafka-cluster list-endpoints --include-fenced-brokers")
        return keeping, set(re.findall(r"^(\d+)\s", listed, re.MULTILINE))

    everybody = {"1", "2", "3", "4"}
    assert brokers() == (everybody, everybody)
    refused = apply(PLAYBOOKS / "remove.yml", "--extra-vars", "remove_host=upgrade-3", fails=True)
    assert "votes on Kafka's metadata" in refused.stdout
    assert brokers() == (everybody, everybody)

    leaving = json.dumps({"remove_host": "upgrade-4"})
    with nothing_is_lost():
        apply(PLAYBOOKS / "remove.yml", "--extra-vars", leaving)
    assert brokers() == ({"1", "2", "3"}, {"1", "2", "3"})
    assert not nodes["upgrade-4"].service("kafka").is_running
    assert not nodes["upgrade-4"].service("kafka").is_enabled
    assert host.check_output("kafka-health --wait 60") == "healthy"
    again = apply(PLAYBOOKS / "remove.yml", "--extra-vars", leaving).stdout
    assert set(re.findall(r"changed=(\d+)", again)) == {"0"}
