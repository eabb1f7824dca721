import socket

import pytest

from clients.kafka_clients import make_consumer, make_producer
from flink_jobs.store.settings import Kafka

NOBODY = "127.0.0.1:1"


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


def test_servers_that_take_no_connection_are_left_out(given: list[list[str]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        answering = f"127.0.0.1:{server.getsockname()[1]}"
        settings = Kafka(bootstrap_servers=f"{NOBODY}, {answering},no-port,[::1]:1")
        make_producer(settings, 1)
        make_consumer(settings)
    assert given == [[answering], [answering]]


def test_where_no_server_answers_all_are_tried(given: list[list[str]]) -> None:
    make_consumer(Kafka(bootstrap_servers=f"{NOBODY},127.0.0.1:2"))
    assert given == [[NOBODY, "127.0.0.1:2"]]
