#!/usr/bin/python3
"""Says whether this host's HAProxy runs with its configuration, and which servers it sees down.

The process tells the digest of the configuration that it has read, which a reload changes as well as a start.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import socket
import sys
import time
from pathlib import Path

CONFIG = Path(os.environ.get("HAPROXY_CONFIG", "/etc/haproxy/haproxy.cfg"))
STATS = os.environ.get("HAPROXY_STATS", "/run/haproxy/stats.sock")
DESCRIPTION = re.compile(r"^\s*description:? (\S+)$", re.MULTILINE)
TIMEOUT_S = 5


def ask(command: str) -> str:
    """Give the answer of the process that runs now."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.connect(STATS)
        connection.sendall(f"{command}\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def configuration_problems() -> list[str]:
    """Say if the process has read another configuration than the one that is there."""
    same = DESCRIPTION.findall(CONFIG.read_text()) == DESCRIPTION.findall(ask("show info"))
    return [] if same else [f"HAProxy has not read {CONFIG} as it is now"]


def server_problems() -> list[str]:
    """Say which servers do not answer, and why."""
    rows = csv.DictReader(ask("show stat").removeprefix("# ").splitlines())
    # each server comes twice, the second time without checks
    checked = [row for row in rows if row["svname"] not in {"FRONTEND", "BACKEND"} and row["check_status"]]
    return [
        f"HAProxy sees {row['svname']} down: {row['check_desc']} {row['last_chk']}".strip()
        for row in checked
        # until the first check, a server counts as up
        if not row["status"].startswith("UP") or row["check_status"].endswith("INI")
    ]


def main() -> None:
    """Probe once, or until all is well or time is up."""
    parser = argparse.ArgumentParser(prog="haproxy-health", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="how long to wait for it")
    parser.add_argument("--configuration", action="store_true", help="ask for the configuration only")
    arguments = parser.parse_args()
    deadline = time.monotonic() + arguments.wait
    while True:
        try:
            found = configuration_problems() or ([] if arguments.configuration else server_problems())
        except OSError as error:
            found = [f"HAProxy does not answer: {error}"]
        if not found:
            print("healthy")
            return
        if time.monotonic() >= deadline:
            print(*found, sep="\n")
            sys.exit(1)
        time.sleep(0.2)


if __name__ == "__main__":
    main()
