"""A producer loses nothing while configuration and version change and partitions move."""

import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

testinfra_hosts = ["ansible://kafka-1"]
ROOT = Path(__file__).parents[3]
REBALANCE = ROOT / "ansible/playbooks/rebalance.yml"
PORT = 9092
Produced = Callable[[], AbstractContextManager[None]]


def addresses_of(nodes: dict[str, Host]) -> list[str]:
    return [str(host.ansible.get_variables()["ansible_host"]) for host in nodes.values()]


def started(nodes: dict[str, Host]) -> dict[str, str]:
    """When each broker was started."""
    command = "systemctl show kafka --property=ActiveEnterTimestampMonotonic --value"
    return {name: host.check_output(command) for name, host in nodes.items()}


# scenario upgrade does it with an older Kafka
@pytest.mark.slow
def test_another_configuration_and_version_restart_one_broker_at_a_time(
    nodes: dict[str, Host],
    apply: Callable[..., Any],
    outages: Callable[..., AbstractContextManager[list[set[str]]]],
    nothing_is_lost: Produced,
    next_release: Callable[[str], dict[str, str]],
) -> None:
    addresses = addresses_of(nodes)
    before = started(nodes)
    releases = {name: host.file("/opt/kafka").linked_to for name, host in nodes.items()}
    release = next_release("kafka")
    changed = release | {"kafka_properties": {"log.cleaner.backoff.ms": 16000}}
    with nothing_is_lost(), outages(dict.fromkeys(addresses, PORT)) as seen:
        apply(ROOT / "molecule/kafka/converge.yml", "--extra-vars", json.dumps(changed))
    assert max(map(len, seen)) == 1, seen
    assert {address for down in seen for address in down} == set(addresses)
    after = started(nodes)
    for name, host in nodes.items():
        assert after[name] != before[name]
        assert "log.cleaner.backoff.ms=16000" in host.file("/etc/kafka/broker.properties").content_string
        assert re.match(rf"/opt/kafka-{release['kafka_version']}-", host.file("/opt/kafka").linked_to)
        assert host.file("/opt/kafka/NEXT").is_file
        jars = f"-cp {host.file('/opt/kafka').linked_to}/libs/"
        assert jars in host.process.get(user="kafka", comm="java").args
        assert host.file("/opt/kafka.previous").linked_to == releases[name]


def test_the_next_run_completes_one_that_broke_off(
    nodes: dict[str, Host],
    apply: Callable[..., Any],
    breaks: Callable[[int, int], list[int]],
    up_to_date: Callable[..., bool],
) -> None:
    # on each: configuration, the question what to restart, and the restart
    for changes in breaks(9, 1):
        changed = json.dumps({"kafka_properties": {"log.cleaner.backoff.ms": 17000 + changes}})
        apply(ROOT / "molecule/kafka/converge.yml", "--extra-vars", changed, break_off_after=changes)
        apply(ROOT / "molecule/kafka/converge.yml", "--extra-vars", changed)
        for name, host in nodes.items():
            assert up_to_date(host, "kafka.service", "/etc/kafka/*", "/opt/kafka"), name


def test_a_broker_without_partitions_gets_its_share(
    host: Host, apply: Callable[..., Any], nothing_is_lost: Produced
) -> None:
    def kept() -> dict[str, int]:
        """Replicas by broker."""
        described = host.check_output("kafka-topics --describe --topic molecule-pairs")
        replicas = re.findall(r"Replicas: (\d),(\d)\tIsr: \d,\d", described)
        assert len(replicas) == 6, described
        return {broker: sum(broker in pair for pair in replicas) for broker in ("1", "2", "3")}

    host.check_output(
        "kafka-topics --create --topic molecule-pairs --replica-assignment 1:2,1:2,1:2,1:2,2:1,2:1"
    )
    try:
        told = apply(REBALANCE, "--check", "--diff").stdout
        assert re.search(r"\+molecule-pairs-\d: .*3", told)
        assert kept() == {"1": 6, "2": 6, "3": 0}
        with nothing_is_lost():
            apply(REBALANCE)
        assert kept() == {"1": 4, "2": 4, "3": 4}
        assert "changed=0" in apply(REBALANCE).stdout
        config = host.check_output(
            "kafka-configs --describe --entity-type topics --entity-name molecule-pairs"
        )
        assert "throttled" not in config
    finally:
        host.check_output("kafka-topics --delete --topic molecule-pairs")


def test_a_broker_whose_replicas_fit_nowhere_else_is_not_emptied(apply: Callable[..., Any]) -> None:
    refused = apply(REBALANCE, "--extra-vars", "rebalance_without=kafka-3", fails=True)
    assert "has 3 replicas, which 2 brokers cannot keep" in refused.stdout
