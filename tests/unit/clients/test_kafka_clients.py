import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Thread

import pytest
from kafka.errors import KafkaConnectionError, KafkaTimeoutError, TopicAuthorizationFailedError
from passing_time import PassingTime

from clients.kafka_clients import make_consumer, make_producer, partitions_of
from clients.process import ClientError
from flink_jobs.store import kafka_servers
from flink_jobs.store.kafka_servers import (
    CONSUMER_METADATA_AGE_MS,
    LEADER_TIMEOUT_S,
    REQUEST_TIMEOUT_MS,
    answered,
)
from flink_jobs.store.settings import Kafka

NOBODY = "127.0.0.1:1"
# ApiVersions, version 0, without a client's name
ASKED = bytes.fromhex("0000000a 0012 0000 00000000 ffff")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> PassingTime:
    clock = PassingTime()
    monkeypatch.setattr(kafka_servers, "time", clock)
    return clock


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The servers that the Kafka client is given; it picks one at random, and keeps to it."""
    servers: list[list[str]] = []
    for name in ("KafkaProducer", "KafkaConsumer"):
        monkeypatch.setattr(
            f"clients.kafka_clients.{name}",
            lambda bootstrap_servers, **_properties: servers.append(bootstrap_servers),
        )
    return servers


@contextmanager
def broker(times: int) -> Iterator[str]:
    """A server that answers as many clients as ApiVersions would, and takes connections of more."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            for _ in range(times):
                connection, _ = server.accept()
                with connection:
                    assert connection.recv(100) == ASKED
                    connection.sendall(bytes(8))

        thread = Thread(target=answer)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def test_servers_that_do_not_answer_are_left_out(
    given: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_servers, "ANSWER_TIMEOUT_S", 0.5)
    with ExitStack() as stack:
        answering, frozen = (stack.enter_context(broker(times)) for times in (2, 0))
        settings = Kafka(bootstrap_servers=f"{NOBODY}, {answering},{frozen},no-port,[::1]:1")
        make_producer(settings, 1)
        make_consumer(settings)
    assert given == [[answering], [answering]]


def test_where_no_server_answers_all_are_tried(given: list[list[str]]) -> None:
    make_consumer(Kafka(bootstrap_servers=f"{NOBODY},127.0.0.1:2"))
    assert given == [[NOBODY, "127.0.0.1:2"]]


@pytest.mark.parametrize(("wait_s", "tries"), [(0.0, 1), (3.0, 3)])
def test_a_consumer_waits_as_long_as_it_is_told_for_a_broker(
    monkeypatch: pytest.MonkeyPatch, clock: PassingTime, wait_s: float, tries: int
) -> None:
    """A host that is cut off reaches no broker for a while."""
    left = [KafkaTimeoutError("Unable to bootstrap")] * 2
    tried = []

    def consumer(**_properties: object) -> str:
        tried.append(clock.now_s)
        if left:
            raise left.pop()
        return "a consumer"

    monkeypatch.setattr("clients.kafka_clients.KafkaConsumer", consumer)
    settings = Kafka(bootstrap_servers=NOBODY)
    if wait_s:
        assert make_consumer(settings, wait_s) == "a consumer"
    else:
        with pytest.raises(ClientError, match="cannot reach Kafka"):
            make_consumer(settings)
    assert len(tried) == tries


def test_kafka_is_asked_again_while_a_broker_is_away(clock: PassingTime) -> None:
    left = [KafkaConnectionError("ECONNREFUSED")] * 3

    def ask() -> int:
        if left:
            raise left.pop()
        return 7

    assert answered(ask) == 7
    assert clock.now_s == pytest.approx(3)
    with pytest.raises(ZeroDivisionError):
        answered(lambda: 1 // 0)


def test_a_kafka_that_stays_away_is_told_in_time(clock: PassingTime) -> None:
    def ask() -> int:
        raise KafkaConnectionError("ECONNREFUSED")

    with pytest.raises(KafkaConnectionError, match="ECONNREFUSED"):
        answered(ask)
    assert clock.now_s == pytest.approx(LEADER_TIMEOUT_S, abs=2)


def test_what_waiting_does_not_mend_is_told_at_once(clock: PassingTime) -> None:
    def ask() -> int:
        raise TopicAuthorizationFailedError("transactions")

    with pytest.raises(TopicAuthorizationFailedError):
        answered(ask)
    assert not clock.now_s


def test_partitions_are_told_after_a_broker_went_away(clock: PassingTime) -> None:
    class Consumer:
        left = 1

        def partitions_for_topic(self, _topic: str) -> set[int]:
            if self.left:
                self.left -= 1
                raise KafkaConnectionError("ECONNREFUSED")
            return {1, 0}

    found = partitions_of(Consumer(), Kafka(bootstrap_servers=NOBODY), ["transactions"])
    assert [(each.topic, each.partition) for each in found] == [("transactions", 0), ("transactions", 1)]
    assert clock.now_s


def test_no_client_waits_long_for_a_broker_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, dict[str, object]] = {}
    for name in ("KafkaProducer", "KafkaConsumer"):
        monkeypatch.setattr(
            f"clients.kafka_clients.{name}", lambda name=name, **properties: given.update({name: properties})
        )
    make_producer(Kafka(bootstrap_servers=NOBODY), 1)
    make_consumer(Kafka(bootstrap_servers=NOBODY))
    assert {each["request_timeout_ms"] for each in given.values()} == {REQUEST_TIMEOUT_MS}
    # it looks for new leaders by itself
    assert given["KafkaConsumer"]["metadata_max_age_ms"] == CONSUMER_METADATA_AGE_MS
