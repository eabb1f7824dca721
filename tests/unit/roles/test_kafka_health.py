"""What Kafka's probe finds and how it waits, and when a restart is due, with stand-ins for the tools."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
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


def test_a_broker_whose_quorum_does_not_answer_is_not_healthy(tmp_path: Path) -> None:
    tools = {"kafka-broker-api-versions": "echo 'node1 -> ('", "kafka-topics": ""}
    with socket.create_server(("127.0.0.1", 0)) as server:
        given = {"kafka_nodes": {1: "127.0.0.1"}, "kafka_port": server.getsockname()[1]}
        script = render(ROLES / "kafka/templates/kafka-health.sh.j2", **given)
        silent = tools | {"kafka-metadata-quorum": "echo timed out; exit 1"}
        assert run(script, tmp_path, silent)[:2] == (1, "the metadata quorum has no leader: timed out\n")
        leads = tools | {"kafka-metadata-quorum": "echo '1 x 9 0 1 1 Leader'"}
        assert run(script, tmp_path, leads)[:2] == (0, "healthy\n")


# of controllers that are no brokers
ADDRESSES = ["127.0.0.1", "127.0.0.3", "127.0.0.4"]


@contextmanager
def listening(addresses: list[str]) -> Iterator[int]:
    """Listen at one port of each address, and give its number."""
    with ExitStack() as servers:
        first = servers.enter_context(socket.create_server((addresses[0], 0)))
        port = int(first.getsockname()[1])
        for address in addresses[1:]:
            servers.enter_context(socket.create_server((address, port)))
        yield port


def controller(template: str, port: int, node: int = 4) -> str:
    """Render a script for one of three controllers that are no brokers, or for the broker, node 1."""
    return render(
        ROLES / f"kafka/templates/{template}",
        kafka_nodes={1: "127.0.0.2"},
        kafka_controller_nodes=dict(zip((4, 5, 6), ADDRESSES, strict=True)),
        kafka_node_id=node,
        kafka_port=port if node == 1 else 1,
        kafka_controller_port=port,
    )


def run(script: str, folder: Path, tools: dict[str, str], *arguments: str) -> tuple[int, str, list[str]]:
    """Give a script's status, what it says, and the tools that it calls, with their arguments."""
    for name, program in tools.items():
        (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {folder}/calls\n{program}\n')
        (folder / name).chmod(0o755)
    # else a busy machine might find no time for a connection
    (folder / "timeout").write_text('#!/bin/sh\nshift\nexec "$@"\n')
    (folder / "timeout").chmod(0o755)
    (folder / "calls").touch()
    ran = subprocess.run(
        ["bash", "-c", script, "script", *arguments],
        env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.returncode, ran.stdout + ran.stderr, (folder / "calls").read_text().splitlines()


LEADER = "echo '4 x 9 0 1 1 Leader'; echo '5 y 9 0 1 1 Follower'"


@pytest.mark.parametrize(
    ("replication", "status", "told"),
    [
        # an observer is a broker
        (f"{LEADER}; echo '6 z 9 1 1 1 Follower'; echo '1 w 0 99 1 1 Observer'", 0, "healthy"),
        (LEADER, 1, "2 of 3 controllers vote"),
        (f"{LEADER}; echo '6 z 9 21 1 1 Follower'", 1, "controller 6 is 21 records behind"),
        ("echo timed out; exit 1", 1, "the metadata quorum has no leader: timed out"),
    ],
)
def test_a_controller_alone_asks_the_quorum_and_no_broker(
    tmp_path: Path, replication: str, status: int, told: str
) -> None:
    with listening(ADDRESSES) as port:
        found = run(controller("kafka-health.sh.j2", port), tmp_path, {"kafka-metadata-quorum": replication})
    asked = f"kafka-metadata-quorum --bootstrap-controller 127.0.0.1:{port} describe --replication"
    assert found == (status, f"{told}\n", [asked])


def test_a_controller_alone_that_does_not_answer_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    found = run(controller("kafka-health.sh.j2", port), tmp_path, {"kafka-metadata-quorum": LEADER})
    assert found == (1, f"the controller does not answer on 127.0.0.1:{port}\n", [])


@pytest.mark.parametrize("node", [4, 1])
def test_a_controller_that_just_died_is_told_before_the_quorum_shows_it(tmp_path: Path, node: int) -> None:
    whole = f"{LEADER}; echo '6 z 9 1 1 1 Follower'"
    tools = {
        "kafka-broker-api-versions": "echo 'node1 -> ('",
        "kafka-topics": "",
        "kafka-metadata-quorum": whole,
    }
    with listening([*ADDRESSES[:2], "127.0.0.2"]) as port:
        status, said, _ = run(controller("kafka-health.sh.j2", port, node), tmp_path, tools)
    assert (status, said) == (1, "controller 127.0.0.4 does not answer\n")


@pytest.mark.parametrize(("serves", "restarted"), [(True, False), (False, True)])
def test_a_controller_alone_is_restarted_if_the_quorum_can_spare_it_or_it_does_not_serve(
    tmp_path: Path, *, serves: bool, restarted: bool
) -> None:
    tools = {"kafka-health": "echo 2 of 3 controllers vote; exit 1", "systemctl": "", "journalctl": ""}
    with socket.create_server(("127.0.0.1", 0)) as server:
        script = controller("kafka-restart.sh.j2", server.getsockname()[1])
        if not serves:
            server.close()
        status, said, calls = run(script, tmp_path, tools, "--wait", "0")
    assert status == 1
    assert ("cannot spare this controller:\n2 of 3 controllers vote" in said) is not restarted, said
    assert ("systemctl restart kafka.service" in calls) is restarted
