#!/usr/bin/env python3
"""Report obstacles to containers on this machine, before anything is changed.

Arguments: least number of subordinate ids for root, then NETWORK=SUBNET of each planned bridge. It
prints one problem a line, and runs before any package is installed.
"""

import ipaddress
import re
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

Routes = list[tuple[str, ipaddress.IPv4Network]]


def read_routes(table: str) -> Routes:
    """Return interface and network of each route in the text of /proc/net/route, but for the default."""

    def address(number: str) -> str:
        return socket.inet_ntoa(struct.pack("<L", int(number, 16)))

    rows = [line.split() for line in table.splitlines()[1:]]
    routes = [(row[0], ipaddress.IPv4Network(f"{address(row[1])}/{address(row[7])}")) for row in rows]
    return [(interface, network) for interface, network in routes if network.prefixlen > 0]


def network_problems(name: str, subnet: str, routes: Routes, *, foreign: bool) -> Iterator[str]:
    """Yield conflicts with the bridge's name or subnet; `foreign`: no lab made the interface `name`."""
    remedy = "Give it others in ansible/inventory/group_vars/all/network.yml."
    if foreign:
        yield f"There is an interface {name} already, and no lab made it. {remedy}"
    for interface, network in routes:
        if interface != name and network.overlaps(ipaddress.IPv4Network(subnet)):
            yield f"{subnet}, for the bridge {name}, is in use: {interface} leads to {network}. {remedy}"


def id_problems(file: str, content: str, needed: int) -> Iterator[str]:
    """Yield a problem if root has ranges in the text of /etc/subuid or /etc/subgid, but too small ones."""
    counts = [int(line.split(":")[2]) for line in content.splitlines() if line.startswith("root:")]
    if counts and max(counts) < needed:
        yield (
            f"{file} gives root {max(counts)} ids, for other containers; this project takes {needed}. "
            "Widen the range, or make it root:1000000:1000000000 if nothing uses it."
        )


def firewall_problems(name: str, iptables: str, nftables: str) -> Iterator[str]:
    """Yield a problem if the firewall drops the bridge's packets, by `iptables -S` and `nft list ruleset`."""
    tables = re.split(r"^(?=table )", nftables, flags=re.MULTILINE)
    drops = [table for table in tables if re.search(r"hook forward [^;]*; policy drop;", table)]
    if "-P FORWARD DROP" in iptables:
        drops.append(iptables)
    passes = re.compile(rf'(-i|iifname) "?{re.escape(name)}"? .*(ACCEPT|accept)')
    if not all(passes.search(rules) for rules in drops):
        chain = "DOCKER-USER" if any("DOCKER-USER" in rules for rules in drops) else "FORWARD"
        remedy = "; ".join(f"iptables -I {chain} {way} {name} -j ACCEPT" for way in ("-i", "-o"))
        yield (
            "The firewall drops what is forwarded (Docker sets that policy); "
            f"hosts on {name} would reach no mirror. Let them through: {remedy}."
        )


def output_of(*command: str) -> str:
    """Return a command's output; nothing if it is missing or fails."""
    if not shutil.which(command[0]):
        return ""
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout  # noqa: S603 - own arguments


def is_foreign(name: str) -> bool:
    """Tell whether the interface exists and no lab made it: False as well if Incus does not answer."""
    if not Path("/sys/class/net", name).exists():
        return False
    answers = not shutil.which("incus") or output_of("incus", "network", "list", "--format=csv") != ""
    return answers and output_of("incus", "network", "get", name, "user.fraud_owner").strip() == ""


def main() -> None:
    """Print the problems."""
    needed, networks = int(sys.argv[1]), dict(argument.split("=") for argument in sys.argv[2:])
    routes = read_routes(Path("/proc/net/route").read_text())
    iptables, nftables = output_of("iptables", "-S"), output_of("nft", "list", "ruleset")
    problems: list[str] = []
    for file in (Path("/etc/subuid"), Path("/etc/subgid")):
        problems += id_problems(str(file), file.read_text() if file.exists() else "", needed)
    for name, subnet in networks.items():
        problems += network_problems(name, subnet, routes, foreign=is_foreign(name))
        problems += firewall_problems(name, iptables, nftables)
    print("\n".join(problems))


if __name__ == "__main__":
    main()
