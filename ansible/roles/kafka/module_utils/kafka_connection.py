"""A connection to the brokers, even if one of them is gone."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from itertools import compress

CONNECT_TIMEOUT_S = 2.0


def answering(servers: list[str]) -> list[str]:
    """Leave out servers, as host:port, that take no connection, unless none of them does.

    The Kafka client picks one at random and waits for it until its time is up.
    """
    with ThreadPoolExecutor(len(servers) or 1) as pool:
        return list(compress(servers, pool.map(_answers, servers))) or servers


def _answers(server: str) -> bool:
    host, _, port = server.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT_S).close()
    except (OSError, ValueError):
        return False
    return True
