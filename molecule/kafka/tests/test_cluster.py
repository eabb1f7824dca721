"""What holds for the cluster as a whole; one host is asked, and others where that matters."""

import re
from collections.abc import Generator

import pytest
from kafka_quorum import STATUS, read_quorum
from testinfra.host import Host

testinfra_hosts = ["ansible://kafka-1"]


def test_quorum_has_three_voters_and_one_leader(host: Host) -> None:
    quorum = read_quorum(host.check_output(STATUS))
    assert sorted(quorum.voters) == [1, 2, 3]
    assert quorum.leader in {1, 2, 3}
    replication = host.check_output("kafka-metadata-quorum describe --replication")
    assert replication.count("Leader") == 1
    assert replication.count("Follower") == 2


def test_topics_are_as_described(host: Host) -> None:
    described = host.check_output("kafka-topics --describe --topic transactions")
    assert "PartitionCount: 8\tReplicationFactor: 3" in described
    assert "retention.ms=604800000" in described
    # a number that follows from the brokers' disks
    assert re.search(r"retention\.bytes=\d{6,}", described)
    assert "min.insync.replicas=2" in described
    listed = set(host.check_output("kafka-topics --list").split())
    assert listed >= {"fraud_alerts", "predictions", "transactions", "transactions_dlq"}


def test_topics_are_not_made_by_accident(host: Host) -> None:
    sent = host.run(
        "echo x | timeout 20 kafka-console-producer --topic no-such-topic --request-timeout-ms 3000"
    )
    assert "no-such-topic" in sent.stderr
    assert "no-such-topic" not in host.check_output("kafka-topics --list")


@pytest.mark.parametrize(
    "command",
    [
        "kafka-acls --list",
        "kafka-broker-api-versions",
        "kafka-cluster cluster-id",
        "kafka-configs --describe --entity-type brokers --entity-name 1",
        "kafka-consumer-groups --list",
        "kafka-features describe",
        "kafka-get-offsets --topic transactions",
        "kafka-log-dirs --describe --topic-list transactions",
        "kafka-storage info --config /etc/kafka/broker.properties",
        "kafka-transactions list",
        "kafka-topics --version",
    ],
)
def test_tools_know_the_cluster(host: Host, command: str) -> None:
    host.run_expect([0], command)


def test_a_tool_asks_the_server_that_it_is_given(host: Host, address: str) -> None:
    listing = "timeout 20 kafka-topics --list --bootstrap-server"
    assert "transactions" in host.check_output(f"{listing} {address}:9092")
    assert host.run(f"{listing} 127.0.0.1:1").rc != 0


def test_health_is_reported(host: Host) -> None:
    assert host.check_output("kafka-health --wait 60") == "healthy"


@pytest.fixture
def topic(host: Host) -> Generator[str]:
    host.check_output("kafka-topics --create --topic molecule --partitions 3")
    yield "molecule"
    host.check_output("kafka-topics --delete --topic molecule")


def send(host: Host, topic: str, first: int, last: int) -> None:
    """Send numbers, each its own key, so that every partition gets some."""
    host.check_output(
        f"for n in $(seq {first} {last}); do echo $n:$n; done | kafka-console-producer --topic {topic}"
        " --request-required-acks all --reader-property parse.key=true --reader-property key.separator=:"
    )


def received(host: Host, topic: str, count: int) -> list[int]:
    lines = host.check_output(
        f"kafka-console-consumer --topic {topic} --from-beginning --max-messages {count} --timeout-ms 60000"
    )
    return sorted(int(line) for line in lines.split())


def test_records_survive_the_loss_of_a_broker(host: Host, nodes: dict[str, Host], topic: str) -> None:
    assert "ReplicationFactor: 3" in host.check_output(f"kafka-topics --describe --topic {topic}")
    send(host, topic, 1, 100)
    assert received(nodes["kafka-2"], topic, 100) == list(range(1, 101))

    nodes["kafka-3"].check_output("systemctl kill --signal=KILL kafka && systemctl stop kafka")
    try:
        send(host, topic, 101, 200)
        assert received(nodes["kafka-2"], topic, 200) == list(range(1, 201))
        health = host.run("kafka-health")
        assert health.rc == 1
        assert topic in health.stdout
    finally:
        nodes["kafka-3"].check_output("systemctl start kafka")
    nodes["kafka-3"].check_output("kafka-health --wait 120")
    assert received(nodes["kafka-3"], topic, 200) == list(range(1, 201))


def test_a_broker_that_just_died_is_reported(host: Host, nodes: dict[str, Host]) -> None:
    """And no other one is restarted, though the dead one's replicas are in sync until its session ends."""
    nodes["kafka-3"].check_output("kafka-health --wait 120")
    nodes["kafka-3"].check_output("systemctl kill --signal=KILL kafka && systemctl stop kafka")
    try:
        health = host.run("kafka-health")
        assert health.rc == 1
        assert "does not answer" in health.stdout
        restart = host.run("kafka-restart --wait 0")
        assert restart.rc == 1
        assert "cannot spare" in restart.stderr
    finally:
        nodes["kafka-3"].check_output("systemctl start kafka")
    nodes["kafka-3"].check_output("kafka-health --wait 120")


def test_a_broker_that_cannot_be_spared_is_not_restarted(host: Host, nodes: dict[str, Host]) -> None:
    started = "systemctl show kafka --property=ActiveEnterTimestampMonotonic"
    before = host.check_output(started)
    nodes["kafka-3"].check_output("systemctl stop kafka")
    try:
        restart = host.run("kafka-restart --wait 5")
        assert restart.rc == 1
        assert "cannot spare" in restart.stderr
        assert host.check_output(started) == before
    finally:
        nodes["kafka-3"].check_output("kafka-restart")
