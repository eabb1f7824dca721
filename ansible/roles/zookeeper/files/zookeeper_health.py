#!/usr/bin/python3
"""Says whether the ensemble is whole: every member serves, one leads, and all others follow it in sync.

Each member is asked at its own address, by the four-letter word mntr: the process that runs there now
answers, and the leader says how many followers are in sync.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CONFIG = Path(os.environ.get("ZOOKEEPER_CONF_DIR", "/etc/zookeeper")) / "zoo.cfg"
SERVER = re.compile(r"^server\.(\d+)=.*;(.+):(\d+)$", re.MULTILINE)
TIMEOUT_S = 3
SERVES = ("leader", "follower")


@dataclass
class Member:
    """What a member says: leader or follower, and if it leads, how many are in sync; or what it lacks."""

    state: str = ""
    synced: int = 0
    lacks: str = ""


def read_servers(config: str) -> dict[int, tuple[str, int]]:
    """Give where each member listens to clients, by its id, of the text of zoo.cfg."""
    return {int(number): (address, int(port)) for number, address, port in SERVER.findall(config)}


def ask(address: str, port: int) -> Member:
    """Ask a member for its state."""
    try:
        with socket.create_connection((address, port), TIMEOUT_S) as connection:
            connection.sendall(b"mntr")
            with connection.makefile(encoding="utf-8") as answer:
                said = answer.read()
    except OSError as error:
        return Member(lacks=f"does not answer on {address}:{port}: {error}")
    values = dict(line.split("\t", 1) for line in said.splitlines() if "\t" in line)
    state = values.get("zk_server_state", "")
    if state not in SERVES:
        return Member(lacks=f"does not serve: {state or said.strip() or 'no answer'}")
    return Member(state, int(values.get("zk_synced_followers", 0)))


def leaders(members: dict[int, Member]) -> list[int]:
    """Give the ids of those that lead; right after an election it may be two for a moment."""
    return [number for number, member in members.items() if member.state == "leader"]


def absences(members: dict[int, Member], numbers: Iterable[int]) -> Iterator[str]:
    """Say which of these members do not serve."""
    for number in numbers:
        if members[number].lacks:
            yield f"member {number} {members[number].lacks}"


def discord(members: dict[int, Member]) -> Iterator[str]:
    """Say if it is not one that leads, or one of those that follow is not in sync."""
    found = leaders(members)
    if len(found) != 1:
        yield f"{' and '.join(f'member {each}' for each in found) or 'no member'} leads"
        return
    following = sum(member.state == "follower" for member in members.values())
    if members[found[0]].synced < following:
        yield f"{members[found[0]].synced} of {following} followers are in sync"


def problems(members: dict[int, Member]) -> list[str]:
    """Say what keeps the ensemble from being whole."""
    return [*absences(members, members), *discord(members)]


def problems_without(members: dict[int, Member], number: int) -> list[str]:
    """Say what keeps the others from deciding without this member. One by itself has no others."""
    if len(members) == 1:
        return []
    others = [each for each in members if each != number]
    missing = list(absences(members, others))
    majority = len(members) // 2 + 1
    serving = len(others) - len(missing)
    few = [f"{serving} others serve, and {majority} of {len(members)} decide"] if serving < majority else []
    return [*(missing if few else []), *few, *discord(members)]


def main() -> None:
    """Probe once, or until all is well or time is up."""
    parser = argparse.ArgumentParser(prog="zookeeper-health", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="how long to wait for it")
    question = parser.add_mutually_exclusive_group()
    question.add_argument("--member", type=int, metavar="ID", help="whether this one leads or follows")
    question.add_argument(
        "--without", type=int, metavar="ID", help="whether the others can do without this one"
    )
    question.add_argument("--leader", action="store_true", help="print the id of the one that leads")
    arguments = parser.parse_args()
    servers = read_servers(CONFIG.read_text())
    if {arguments.member, arguments.without} - servers.keys() - {None}:
        parser.error(f"the members are {', '.join(map(str, servers))}")
    asked = {arguments.member: servers[arguments.member]} if arguments.member else servers

    deadline = time.monotonic() + arguments.wait
    while True:
        members = {number: ask(*place) for number, place in asked.items()}
        if arguments.without:
            found = problems_without(members, arguments.without)
        elif arguments.member:
            found = list(absences(members, members))
        elif arguments.leader:
            found = [] if len(leaders(members)) == 1 else list(discord(members))
        else:
            found = problems(members)
        if not found:
            print(leaders(members)[0] if arguments.leader else "healthy")
            return
        if time.monotonic() >= deadline:
            print(*found, sep="\n")
            sys.exit(1)
        time.sleep(0.5)


if __name__ == "__main__":
    main()
