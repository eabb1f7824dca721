"""What the brokers' probe finds and how it waits, with commands that stand in for Kafka's tools."""

import os
import socket
import subprocess
from pathlib import Path

from test_templates import ROLES, render

TOOLS = {
    # a second of a busy processor
    "kafka-broker-api-versions": "/bin/sleep 1; echo '1 -> ERROR'",
    "kafka-topics": "true",
    "kafka-metadata-quorum": "echo '1 0 0 0 Leader'; echo '2 0 0 0 Follower'; echo '3 0 0 0 Follower'",
    "sleep": 'echo "$1" >>"$PAUSES"; /bin/sleep 1',
}


def test_who_waits_pauses_for_longer_than_a_look_takes(tmp_path: Path) -> None:
    for name, script in TOOLS.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = render(
            ROLES / "kafka/templates/kafka-health.sh.j2",
            kafka_nodes={1: "127.0.0.1", 2: "127.0.0.2", 3: "127.0.0.3"},
            kafka_node_id=1,
            kafka_port=port,
        )
        ran = subprocess.run(
            ["bash", "-c", script, "kafka-health", "--wait", "4"],
            env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PAUSES": f"{tmp_path}/pauses"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert ran.returncode == 1
    assert "does not answer: 1 -> ERROR" in ran.stdout, ran
    pauses = (tmp_path / "pauses").read_text().split()
    # a look takes a second at least, so the pause is three
    assert pauses
    assert min(map(int, pauses)) >= 3, pauses


def run(script: str, folder: Path, tools: dict[str, str], *arguments: str) -> tuple[int, str, list[str]]:
    """Give a script's status, what it says, and the tools that it calls, with their arguments."""
    for name, program in tools.items():
        (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {folder}/calls\n{program}\n')
        (folder / name).chmod(0o755)
    (folder / "calls").touch()
    ran = subprocess.run(
        ["bash", "-c", script, "script", *arguments],
        env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.returncode, ran.stdout + ran.stderr, (folder / "calls").read_text().splitlines()


def test_a_broker_whose_quorum_does_not_answer_is_not_healthy(tmp_path: Path) -> None:
    tools = {"kafka-broker-api-versions": "echo 'node1 -> ('", "kafka-topics": ""}
    with socket.create_server(("127.0.0.1", 0)) as server:
        given = {"kafka_nodes": {1: "127.0.0.1"}, "kafka_port": server.getsockname()[1]}
        script = render(ROLES / "kafka/templates/kafka-health.sh.j2", **given)
        silent = tools | {"kafka-metadata-quorum": "echo timed out; exit 1"}
        assert run(script, tmp_path, silent)[:2] == (1, "the metadata quorum has no leader: timed out\n")
        leads = tools | {"kafka-metadata-quorum": "echo '1 x 9 0 1 1 Leader'"}
        assert run(script, tmp_path, leads)[:2] == (0, "healthy\n")
