"""What holds for the cluster as a whole: controllers vote, brokers have the records."""

import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from kafka_quorum import STATUS, read_quorum
from testinfra.host import Host

testinfra_hosts = ["ansible://kafka-controller-1"]
ROOT = Path(__file__).parents[3]
CONVERGE = ROOT / "molecule/kafka_controller/converge.yml"
REMOVE = ROOT / "ansible/playbooks/remove.yml"
PORTS = {"kafka": 9092, "kafka_controller": 9093}


def started(hosts: dict[str, Host]) -> dict[str, str]:
    command = "systemctl show kafka --property=ActiveEnterTimestampMonotonic --value"
    return {name: host.check_output(command) for name, host in hosts.items()}


def test_controllers_vote_and_brokers_do_not(host: Host) -> None:
    quorum = read_quorum(host.check_output(STATUS))
    assert (sorted(quorum.voters), sorted(quorum.observers)) == ([3, 4, 5], [1, 2])
    assert quorum.leader in {3, 4, 5}


def test_records_lie_on_brokers_only(host: Host) -> None:
    described = host.check_output("kafka-topics --describe --topic transactions")
    assert "PartitionCount: 8\tReplicationFactor: 2" in described
    assert {*re.findall(r"Replicas: ([\d,]+)", described)} == {"1,2", "2,1"}


def test_a_topic_takes_records_while_a_controller_is_down(
    host: Host, controllers: dict[str, Host], brokers: dict[str, Host]
) -> None:
    """The one that leads: another takes over."""
    leader = controllers[f"kafka-controller-{read_quorum(host.check_output(STATUS)).leader}"]
    leader.check_output("systemctl kill --signal=KILL kafka && systemctl stop kafka")
    try:
        host.check_output("kafka-topics --create --topic molecule --partitions 2")
        host.check_output("seq 1 100 | kafka-console-producer --topic molecule --request-required-acks all")
        read = (
            "kafka-console-consumer --topic molecule --from-beginning --max-messages 100 --timeout-ms 60000"
        )
        received = brokers["kafka-controller-2"].check_output(read).split()
        assert sorted(map(int, received)) == list(range(1, 101))
        other = next(each for name, each in controllers.items() if each is not leader)
        restart = other.run("kafka-restart --wait 0")
        assert restart.rc == 1
        assert "cannot spare this controller" in restart.stderr
        health = host.run("kafka-health")
        assert health.rc == 1
        assert "does not answer" in health.stdout
    finally:
        leader.check_output("systemctl start kafka")
        host.run("kafka-topics --delete --topic molecule")
    leader.check_output("kafka-health --wait 120")
    host.check_output("kafka-health --wait 120")


def test_another_configuration_restarts_one_host_at_a_time_controllers_first(
    brokers: dict[str, Host],
    controllers: dict[str, Host],
    apply: Callable[..., Any],
    outages: Callable[..., AbstractContextManager[list[set[str]]]],
    nothing_is_lost: Callable[[], AbstractContextManager[None]],
) -> None:
    before = started(brokers | controllers)
    ports = {
        str(host.ansible.get_variables()["ansible_host"]): PORTS[group]
        for group, hosts in (("kafka", brokers), ("kafka_controller", controllers))
        for host in hosts.values()
    }
    changed = json.dumps({"kafka_properties": {"log.cleaner.backoff.ms": 16000}})
    with nothing_is_lost(), outages(ports) as seen:
        told = apply(CONVERGE, "--extra-vars", changed).stdout
    assert max(map(len, seen)) == 1, seen
    assert {address for down in seen for address in down} == set(ports)
    after = started(brokers | controllers)
    assert [name for name in after if after[name] == before[name]] == []
    restarts = told.partition("TASK [kafka : Restart the broker once the cluster can spare it")[2]
    order = re.findall(r"^changed: \[kafka-controller-(\d)\]", restarts.partition("TASK [")[0], re.MULTILINE)
    assert order == ["3", "4", "5", "1", "2"]


def test_a_change_of_voters_is_refused(
    brokers: dict[str, Host], controllers: dict[str, Host], apply: Callable[..., Any]
) -> None:
    before = started(brokers | controllers)
    # as where the group has no host
    combined = json.dumps({"kafka_controller_nodes": {}})
    refused = apply(CONVERGE, "--limit", "kafka", "--extra-vars", combined, fails=True).stdout
    assert "of a cluster with controllers of its own, but now its first brokers would vote" in " ".join(
        refused.split()
    )
    assert started(brokers | controllers) == before


def test_a_controller_is_not_removed(apply: Callable[..., Any]) -> None:
    removed = apply(REMOVE, "--extra-vars", "remove_host=kafka-controller-3", fails=True)
    assert "Kafka's controllers are those with which it was founded" in " ".join(removed.stdout.split())
