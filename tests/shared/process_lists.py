"""Looks for secrets on command lines, which every user of a machine can read."""

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

# Reads a line with the secrets, looks until its input ends, then prints how often it looked and what it saw.
_WATCHER = """
import json, os, select, sys
secrets = json.loads(sys.stdin.readline())
print("ready", flush=True)
looks, seen, known = 0, set(), {}
while True:
    before, known = known, {}
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/cmdline", "rb") as file:
                known[process] = file.read()
        except OSError:
            continue
        # most processes are services, whose command lines are those of the last look
        if known[process] == before.get(process):
            continue
        line = known[process].replace(b"\\0", b" ").decode(errors="replace")
        for name, secret in secrets.items():
            if secret in line:
                for each, hidden in secrets.items():
                    line = line.replace(hidden, f"<{each}>")
                seen.add(f"{name}: {line[:400]}")
    looks += 1
    if select.select([sys.stdin], [], [], 0.03)[0]:
        break
print(json.dumps([looks, sorted(seen)]), flush=True)
"""


def read_secrets(folder: Path) -> dict[str, str]:
    """Read a deployment's secrets by name, one file each; the cluster's id lies there too, but is none."""
    files = (file for file in sorted(folder.iterdir()) if file.name != "kafka_cluster_id")
    return {file.name: file.read_text().strip() for file in files}


@contextmanager
def no_secret_on_a_command_line(
    secrets: dict[str, str], hosts: dict[str, Sequence[str]]
) -> Iterator[dict[str, int]]:
    """Look here and on hosts, again and again, for as long as the block takes; fail if a secret was seen.

    Args:
        secrets: by name.
        hosts: by name, the command that runs another one on the host, such as ssh. A host that is not
            reached, now or later, is left out.

    Yields:
        How often each place was looked at, once the block has ended.

    """
    assert secrets
    assert all(len(secret) > 8 for secret in secrets.values()), "a secret is no longer than other words"
    here = {"the control node": [sys.executable, "-c", _WATCHER]}
    there = {name: [*reach, shlex.join(["sudo", "python3", "-c", _WATCHER])] for name, reach in hosts.items()}
    watchers = {
        name: subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for name, command in (here | there).items()
    }
    ready = []
    for name, watcher in watchers.items():
        assert watcher.stdin is not None
        assert watcher.stdout is not None
        try:
            watcher.stdin.write(json.dumps(secrets) + "\n")
            watcher.stdin.flush()
        except BrokenPipeError:
            continue
        if watcher.stdout.readline():
            ready.append(name)
    looks: dict[str, int] = {}
    seen: dict[str, list[str]] = {}
    try:
        yield looks
    finally:
        for name, watcher in watchers.items():
            try:
                output, _ = watcher.communicate(timeout=30)
            except subprocess.TimeoutExpired:  # its host went away
                watcher.kill()
                output, _ = watcher.communicate()
            if name in ready and output:
                looks[name], seen[name] = json.loads(output)
    assert looks["the control node"] > 1
    found = [f"{name}: {line}" for name, lines in seen.items() for line in lines]
    assert not found, "secrets on command lines:\n" + "\n".join(found)
