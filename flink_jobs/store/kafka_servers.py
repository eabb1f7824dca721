"""Which of Kafka's servers a client should begin with."""

import socket
from concurrent.futures import ThreadPoolExecutor
from itertools import compress

from flink_jobs.store.settings import Kafka

CONNECT_TIMEOUT_S = 2.0


def answering_servers(kafka: Kafka) -> list[str]:
    """Leave out servers that take no connection, unless none of them does.

    The Kafka client picks a server at random and waits for it until its time is up: one dead host would keep
    it from all others.
    """
    servers = [server.strip() for server in kafka.bootstrap_servers.split(",")]
    with ThreadPoolExecutor(len(servers)) as pool:
        return list(compress(servers, pool.map(_answers, servers))) or servers


def _answers(server: str) -> bool:
    host, _, port = server.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT_S).close()
    except (OSError, ValueError):
        return False
    return True
