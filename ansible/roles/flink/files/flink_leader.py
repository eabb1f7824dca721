#!/usr/bin/python3
"""Prints the REST address of the JobManager that leads.

With high availability, ZooKeeper knows; without, the only JobManager stands in the configuration.

With --resign it ends the lead of this host's JobManager, whose process is gone. Else no other leads before
ZooKeeper has missed that process for the whole of its session.

With --watch it looks after this host's JobManager for ever, and kills it when another leads in its place: a
process that was frozen meanwhile would go on as leader for moments. TaskManagers do not ask who tells them to
leave their leader, so it would part them from the new one, and all jobs would start once more.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kazoo.client import KazooClient

CONFIG = Path(os.environ.get("FLINK_CONF_DIR", "/etc/flink")) / "config.yaml"
UNIT = "flink-jobmanager.service"
QUORUM = "high-availability.zookeeper.quorum"
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


@contextmanager
def zookeeper(quorum: str) -> Iterator[KazooClient]:
    """Connect to ZooKeeper.

    Raises:
        NoLeaderError: it does not answer.

    """
    from kazoo.client import KazooClient  # noqa: PLC0415 - only with high availability
    from kazoo.exceptions import KazooException  # noqa: PLC0415
    from kazoo.handlers.threading import KazooTimeoutError  # noqa: PLC0415

    client = KazooClient(hosts=quorum, timeout=ZOOKEEPER_TIMEOUT_S)
    try:
        client.start(timeout=ZOOKEEPER_TIMEOUT_S)
        yield client
    except (KazooException, KazooTimeoutError) as error:
        raise NoLeaderError(f"ZooKeeper ({quorum}) does not tell who leads: {error!r}") from error
    finally:
        client.stop()
        client.close()


def read_leader(client: KazooClient, root: str) -> tuple[str | None, int]:
    """Give the address that the leader keeps in ZooKeeper for as long as it leads, and its session."""
    from kazoo.exceptions import NoNodeError  # noqa: PLC0415

    try:
        content, node = client.get(f"{root}/rest_server/connection_info")
    except NoNodeError:
        return None, 0
    return address_in(content), node.ephemeralOwner


def root_in_zookeeper(config: str) -> str:
    """Give the node that Flink keeps its leader below, of the text of config.yaml."""
    root = option(config, "high-availability.zookeeper.path.root") or "/flink"
    return f"{root}{option(config, 'high-availability.cluster-id') or '/default'}/leader"


def find_leader(config: str) -> str:
    """Give the URL of the leader's REST interface, of the text of config.yaml.

    Raises:
        NoLeaderError: there is none.

    """
    quorum = option(config, QUORUM)
    if quorum:
        with zookeeper(quorum) as client:
            leader, _ = read_leader(client, root_in_zookeeper(config))
        if leader is None:
            raise NoLeaderError("no JobManager leads; see journalctl -u flink-jobmanager on each host")
        return leader
    return own_address(config)


def own_address(config: str) -> str:
    """Give the URL of the REST interface of this host's JobManager, or of the only one.

    Raises:
        NoLeaderError: the configuration does not name it.

    """
    address, port = option(config, "rest.address"), option(config, "rest.port")
    if not address or not port:
        raise NoLeaderError(f"{CONFIG} names no rest.address and rest.port")
    return f"http://{address}:{port}"


def resign(config: str) -> None:
    """End the lead of this host's JobManager in ZooKeeper, if it has it, so that another leads.

    Only for a process that is gone: one that lives goes on as leader for some seconds.

    Raises:
        NoLeaderError: ZooKeeper does not answer.

    """
    quorum = option(config, QUORUM)
    if not quorum:
        return
    root = root_in_zookeeper(config)
    with zookeeper(quorum) as client:
        leader, session = read_leader(client, root)
        if leader != own_address(config):
            return
        for name in client.get_children(f"{root}/latch"):
            candidate = f"{root}/latch/{name}"
            node = client.exists(candidate)
            if node and node.ephemeralOwner == session:
                client.delete(candidate)
                print(f"{leader} leads no more")


def running_pid() -> int:
    """Give the process of this host's JobManager, 0 if it does not run or is about to stop."""
    asked = ["systemctl", "show", "--property=ActiveState,MainPID", UNIT]
    told = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True).stdout  # noqa: S603
    properties = dict(line.split("=", 1) for line in told.splitlines())
    return int(properties["MainPID"]) if properties["ActiveState"] == "active" else 0


def watch(config: str) -> None:
    """Kill this host's JobManager whenever another leads in its place; never returns.

    Raises:
        NoLeaderError: ZooKeeper does not answer at the begin; later it is waited for.

    """
    from kazoo.retry import KazooRetry  # noqa: PLC0415

    own, root = own_address(config), root_in_zookeeper(config)
    # who led before the connection was lost must be known after it
    ask = KazooRetry(max_tries=-1, max_delay=1)
    session = pid = 0
    with zookeeper(option(config, QUORUM) or "") as client:
        while True:
            leader, leads = ask(read_leader, client, root)
            if leader == own and leads != session:
                session, pid = leads, running_pid()
            elif leader not in (own, None) and pid:
                if pid == running_pid():
                    os.kill(pid, signal.SIGKILL)
                    print(
                        f"killed {pid}, which had led and does not know that {leader} leads now", flush=True
                    )
                session = pid = 0
            time.sleep(1)


def main() -> None:
    """Ask once, or until a JobManager leads or time is up."""
    parser = argparse.ArgumentParser(prog="flink-leader", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="how long to wait for one")
    parser.add_argument(
        "--resign", action="store_true", help="end the lead of this host, whose process is gone"
    )
    parser.add_argument(
        "--watch", action="store_true", help="kill this host's process when another leads instead"
    )
    arguments = parser.parse_args()
    # the client tells each try to connect
    logging.disable()
    if arguments.resign or arguments.watch:
        try:
            (watch if arguments.watch else resign)(CONFIG.read_text())
        except NoLeaderError as error:
            sys.exit(str(error))
        return
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
