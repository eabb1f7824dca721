#!/usr/bin/python3
"""Prints the REST address of the JobManager that leads.

With high availability, ZooKeeper knows; without, the only JobManager stands in the configuration.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
import time
from pathlib import Path

CONFIG = Path(os.environ.get("FLINK_CONF_DIR", "/etc/flink")) / "config.yaml"
ZOOKEEPER_TIMEOUT_S = 5


class NoLeaderError(Exception):
    """No JobManager leads, or nobody tells which."""


def option(config: str, name: str) -> str | None:
    """Give an option's value, of the text of config.yaml."""
    found = re.search(rf"^{re.escape(name)}: ['\"]?([^\s'\"]+)", config, re.MULTILINE)
    return found[1] if found else None


def address_in(content: bytes) -> str | None:
    """Give the address in what a leader tells: Java's serialized text, followed by an id."""
    found = re.search(rb"https?://[^\s/:]+:\d+", content)
    return found[0].decode() if found else None


def ask_zookeeper(quorum: str, node: str) -> str:
    """Read the address that the leader keeps in ZooKeeper for as long as it leads.

    Raises:
        NoLeaderError: says whether ZooKeeper or a leader is missing.

    """
    from kazoo.client import KazooClient  # noqa: PLC0415 - only with high availability
    from kazoo.exceptions import KazooException, NoNodeError  # noqa: PLC0415
    from kazoo.handlers.threading import KazooTimeoutError  # noqa: PLC0415

    client = KazooClient(hosts=quorum, timeout=ZOOKEEPER_TIMEOUT_S)
    try:
        client.start(timeout=ZOOKEEPER_TIMEOUT_S)
        address = address_in(client.get(node)[0])
    except NoNodeError:
        address = None
    except (KazooException, KazooTimeoutError) as error:
        raise NoLeaderError(f"ZooKeeper ({quorum}) does not tell who leads: {error!r}") from error
    finally:
        client.stop()
        client.close()
    if address is None:
        raise NoLeaderError("no JobManager leads; see journalctl -u flink-jobmanager on each of their hosts")
    return address


def find_leader(config: str) -> str:
    """Give the URL of the leader's REST interface, of the text of config.yaml.

    Raises:
        NoLeaderError: there is none.

    """
    quorum = option(config, "high-availability.zookeeper.quorum")
    if quorum:
        root = option(config, "high-availability.zookeeper.path.root") or "/flink"
        cluster = option(config, "high-availability.cluster-id") or "/default"
        return ask_zookeeper(quorum, f"{root}{cluster}/leader/rest_server/connection_info")
    address, port = option(config, "rest.address"), option(config, "rest.port")
    if not address or not port:
        raise NoLeaderError(f"{CONFIG} names no rest.address and rest.port")
    return f"http://{address}:{port}"


def main() -> None:
    """Ask once, or until a JobManager leads or time is up."""
    parser = argparse.ArgumentParser(prog="flink-leader", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="how long to wait for one")
    arguments = parser.parse_args()
    # the client tells each try to connect
    logging.disable()
    deadline = time.monotonic() + arguments.wait
    while True:
        try:
            leader = find_leader(CONFIG.read_text())
        except NoLeaderError as error:
            if time.monotonic() >= deadline:
                sys.exit(str(error))
        else:
            print(leader)
            return
        time.sleep(1)


if __name__ == "__main__":
    main()
