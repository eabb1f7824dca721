"""The table of openings in network.yml, held against what `ss` tells on the hosts of a deployment."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

LISTENING = "ss --no-header --listening --tcp --numeric"
ESTABLISHED = "ss --no-header --tcp --numeric state established"
GROUP_VARS = Path(__file__).parents[2] / "ansible/inventory/group_vars/all"
# openings whose service listens on all addresses of its host
EVERYWHERE = ("minio", "minio_console")
# who leads in ZooKeeper listens; with controllers of their own no broker does, else the first ones
NOT_ON_EACH = ("zookeeper_quorum", "kafka_controller")


class Seen(NamedTuple):
    """A host: its address and groups, and what the two commands print there."""

    address: str
    groups: set[str]
    listening: str
    established: str


def table() -> dict[str, tuple[dict[str, Any], range]]:
    """Each opening and its ports, by name; all but SSH's."""
    network = yaml.safe_load((GROUP_VARS / "network.yml").read_text())
    return {
        name: (opening, range(network["ports"][name], network["ports"][name] + opening.get("count", 1)))
        for name, opening in network["openings"].items()
        if name != "ssh"
    }


def plain(place: str) -> str:
    """An address as it is written elsewhere: Java writes IPv4 addresses as IPv6 does."""
    return re.sub(r"^\[::ffff:(.*)\]", r"\1", place)


def reached(listening: str) -> set[str]:
    """What other hosts reach over TCP, as ADDRESS:PORT or *:PORT.

    SSH is left out, and so is systemd's resolver: role base silences it, but not all scenarios apply base.
    """
    places = {plain(line.split()[3]) for line in listening.splitlines()}
    return {place for place in places if not re.match(r"127\.|\[::1\]|.*:(22|5355)$", place)}


def ports_amiss(hosts: dict[str, Seen]) -> Iterator[str]:
    """Say which ports listen that are not in the table, and which in the table do not listen."""
    openings, offered = table(), dict[str, int]()
    for host, seen in hosts.items():
        others = reached(seen.listening)
        for name, (opening, ports) in openings.items():
            if not seen.groups & set(opening["to"]):
                continue
            address = "*" if name in EVERYWHERE else seen.address
            found = others & {f"{address}:{port}" for port in ports}
            # a TaskManager listens on one port of each range
            if len(found) > 1 or (not found and name not in NOT_ON_EACH):
                yield f"{host}: {len(found)} ports of {name} listen"
            offered[name] = offered.get(name, 0) + len(found)
            others -= found
        yield from (f"{host}: {place} listens" for place in sorted(others))
    yield from (f"{name} listens nowhere" for name in NOT_ON_EACH if offered.get(name) == 0)


def callers_amiss(hosts: dict[str, Seen]) -> Iterator[str]:
    """Say which connections there are that the table does not allow."""
    openings, addresses = table(), {seen.address for seen in hosts.values()}
    callers = {
        name: {seen.address for seen in hosts.values() if seen.groups & set(opening["from"])}
        for name, (opening, _) in openings.items()
    }
    # whoever began them, there are always some between the hosts of MinIO, and all of these are among them
    read = False
    for host, seen in hosts.items():
        for line in seen.established.splitlines():
            local, peer = map(plain, line.split()[2:4])
            port, caller = int(local.rpartition(":")[2]), peer.rpartition(":")[0]
            for name, (opening, ports) in openings.items():
                if port in ports:
                    read |= name == "minio"
                    # an address of no host is the control node's; a host's connections to itself count too
                    operators = "operators" in opening["from"] and caller not in addresses
                    if caller not in callers[name] and not operators:
                        yield f"{host}: {caller} at {name}"
    if not read:
        yield "no connection between hosts of MinIO was seen"
