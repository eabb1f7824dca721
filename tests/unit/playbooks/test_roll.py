"""MinIO is restarted on a host only once every host sees the one before it again."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
StandIn = Callable[[str, str], None]
GROUPS = {"minio": ["node1"], "flink_jobmanager": ["node1"], "flink_taskmanager": ["node1"]}
ADDRESSES = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
PLAY = """
- hosts: node1
  gather_facts: false
  tasks:
    - ansible.builtin.import_role: {name: minio, tasks_from: roll.yml}
"""


class Host(BaseHTTPRequestHandler):
    """MinIO on a host that misses another host the next few times that it is asked (`misses`)."""

    misses: ClassVar[dict[str, int]] = {}
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        address = str(self.connection.getsockname()[0])
        self.asked.append(address)
        spares = self.misses.get(address, 0) == 0 or "maintenance" not in self.path
        if not spares:
            self.misses[address] -= 1
        self.send_response(200 if spares else 412)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    """The port on which each address answers."""
    Host.misses, Host.asked = {}, []
    server = ThreadingHTTPServer(("0.0.0.0", 0), Host)  # noqa: S104 - three addresses of this machine's own
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("misses", "missed_by"),
    [({"127.0.0.3": 1}, None), ({"127.0.0.2": 99}, "127.0.0.2"), ({"127.0.0.1": 99}, "node1")],
)
def test_every_host_is_asked_before_one_is_restarted(  # noqa: PLR0913, PLR0917 - fixtures
    run_playbook: Run,
    stand_in: StandIn,
    tmp_path: Path,
    port: int,
    misses: dict[str, int],
    missed_by: str | None,
) -> None:
    Host.misses = misses
    stand_in("systemctl", f'echo "$*" >> {tmp_path}/calls; printf "LoadState=loaded\\nActiveState=active\\n"')
    (tmp_path / "play.yml").write_text(PLAY)
    variables = {
        "minio_port": port,
        "minio_hosts": ADDRESSES,
        "minio_start_timeout_s": 2 if missed_by else 60,
    }
    ran = run_playbook(tmp_path / "play.yml", GROUPS, "--extra-vars", json.dumps(variables))
    told = " ".join((ran.stdout + ran.stderr).split())
    calls = (tmp_path / "calls").read_text().splitlines() if (tmp_path / "calls").exists() else []
    assert ("restart minio" in calls) is (ran.returncode == 0) is (missed_by is None), told
    if missed_by:
        assert (
            f"MinIO on node1 was not restarted, and goes on: after 2 s another host is missed by {missed_by}."
            in told
        )
    else:
        assert set(Host.asked) == set(ADDRESSES)


def test_a_start_that_does_not_end_is_ended_and_explained(
    run_playbook: Run, stand_in: StandIn, tmp_path: Path, port: int
) -> None:
    """MinIO waits so for peers that have not been restarted with the same settings."""
    for name, script in {
        "systemctl": '[ "$1" = restart ] && exec sleep 600; printf "ActiveState=active\\n"',
        "journalctl": "echo waits for peers",
    }.items():
        stand_in(name, script)
    (tmp_path / "play.yml").write_text(PLAY)
    variables = {"minio_port": port, "minio_hosts": ADDRESSES, "minio_start_timeout_s": 5}
    ran = run_playbook(tmp_path / "play.yml", GROUPS, "--extra-vars", json.dumps(variables))
    assert ran.returncode != 0
    told = " ".join((ran.stdout + ran.stderr).split())
    assert "MinIO on node1 did not become healthy within 5 s." in told, told
    assert "waits for peers" in told
