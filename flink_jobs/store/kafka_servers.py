"""How a client begins with Kafka's servers, and asks while one of them is away."""

import socket
import struct
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import compress
from typing import Any, TypeVar

from kafka.errors import RetriableError

from flink_jobs.store.settings import Kafka

ANSWER_TIMEOUT_S = 2.0
BOOTSTRAP_TIMEOUT_MS = 10_000
# A host that vanishes closes no connection, so clients wait for it. 15 s, not 30 as by default: others lead
# once its broker's session (9 s) is over.
REQUEST_TIMEOUT_MS = 15_000
# A client that connects to such a host does not ask who leads until it gives up: after 2 s, then 4, not 10
# and 30 as by default. This is for TCP alone, where a busy broker's kernel answers.
CONNECT_TIMEOUT_MS = 2_000
CONNECT_TIMEOUT_MAX_MS = 4_000
# kafka-python does not look for a new leader by itself where it asks for a topic's first and last offsets.
CONSUMER_METADATA_AGE_MS = 3_000
# a leader is elected meanwhile, or a broker starts
LEADER_TIMEOUT_S = 60.0
_RETRY_S = 1.0
Answer = TypeVar("Answer")
# Kafka's request ApiVersions, version 0, by no named client: https://kafka.apache.org/protocol
_API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 0, -1)


def answering_servers(kafka: Kafka) -> list[str]:
    """Leave out servers that do not answer, unless none of them does.

    The Kafka client picks a server at random and waits for it until its time is up: one dead host, or a
    broker that takes connections and is frozen, would keep it from all others.
    """
    servers = [server.strip() for server in kafka.bootstrap_servers.split(",")]
    with ThreadPoolExecutor(len(servers)) as pool:
        return list(compress(servers, pool.map(_answers, servers))) or servers


def client_options(kafka: Kafka) -> dict[str, Any]:
    """Options of each of kafka-python's clients: where it begins, and how long it waits for a broker."""
    return {
        "bootstrap_servers": answering_servers(kafka),
        "bootstrap_timeout_ms": BOOTSTRAP_TIMEOUT_MS,
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        "allow_auto_create_topics": False,
        # metrics cost a sixth of a producer's time, and nobody reads them
        "metrics_enabled": False,
    }


def consumer_options(kafka: Kafka) -> dict[str, Any]:
    """Options of each consumer."""
    return client_options(kafka) | {"metadata_max_age_ms": CONSUMER_METADATA_AGE_MS}


def answered(ask: Callable[[], Answer], timeout_s: float = LEADER_TIMEOUT_S) -> Answer:
    """Ask, and again for `timeout_s` while a broker is away or busy, or a partition has no leader.

    Raises:
        KafkaError: that of the last time, or one that waiting does not mend.

    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            return ask()
        except RetriableError:
            if time.monotonic() >= deadline_s:
                raise
        time.sleep(_RETRY_S)


def _answers(server: str) -> bool:
    host, _, port = server.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), ANSWER_TIMEOUT_S) as connection:
            connection.sendall(_API_VERSIONS)
            return bool(connection.recv(1))
    except (OSError, ValueError):
        return False
