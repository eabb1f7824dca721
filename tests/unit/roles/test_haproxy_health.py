"""haproxy-health tells what the process that runs now has read and sees."""

import os
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

PROBE = Path(__file__).parents[3] / "ansible/roles/haproxy/files/haproxy_health.py"
HEADER = "# pxname,svname,status,check_status,check_desc,last_chk,-,"
CHECKED = "answering,{name},{status},{check},{why},,-,"
NOT_CHECKED = "s3,FRONTEND,OPEN,,,,-,\nanswering,BACKEND,UP,,,,-,\nall,node1,no check,,,,-,"


class Process:
    """A HAProxy that has read a configuration with this digest, and sees these servers."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "haproxy.cfg"
        self.socket = folder / "stats.sock"
        self.digest = "one"
        self.servers = [CHECKED.format(name="node1", status="UP", check="L7OK", why="")]
        self.config.write_text("global\n    description one\n")

    def answer(self, command: str) -> str:
        if command == "show info":
            return f"Name: HAProxy\nnode: host\ndescription: {self.digest}\nStopping: 0\n\n"
        assert command == "show stat"
        return "\n".join([HEADER, *self.servers, NOT_CHECKED]) + "\n\n"

    def probe(self, *arguments: str) -> tuple[int, str]:
        ran = subprocess.run(
            [str(PROBE), *arguments],
            env=os.environ | {"HAPROXY_CONFIG": str(self.config), "HAPROXY_STATS": str(self.socket)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.stderr == ""
        return ran.returncode, ran.stdout


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(process.answer(self.rfile.readline().decode().strip()).encode())

    with socketserver.ThreadingUnixStreamServer(str(process.socket), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield process
        server.shutdown()


def test_all_is_well(process: Process) -> None:
    assert process.probe() == (0, "healthy\n")


def test_a_process_that_has_not_read_the_changed_configuration_is_told(process: Process) -> None:
    process.config.write_text("global\n    description two\n")
    told = (1, f"HAProxy has not read {process.config} as it is now\n")
    assert process.probe() == process.probe("--configuration") == told
    later = threading.Timer(1, lambda: setattr(process, "digest", "two"))
    later.start()
    assert process.probe("--configuration", "--wait", "30") == (0, "healthy\n")


@pytest.mark.parametrize(
    ("status", "check", "why", "told"),
    [
        ("DOWN", "* L4TOUT", "Layer4 timeout", "HAProxy sees node2 down: Layer4 timeout"),
        ("DOWN 1/2", "L7OK", "Layer7 check passed", "HAProxy sees node2 down: Layer7 check passed"),
        ("UP", "INI", "Initializing", "HAProxy sees node2 down: Initializing"),
        ("UP 1/2", "L4CON", "Layer4 connection problem", "healthy"),
    ],
)
def test_a_server_that_gets_no_requests_is_told_by_its_name(
    process: Process, status: str, check: str, why: str, told: str
) -> None:
    process.servers.append(CHECKED.format(name="node2", status=status, check=check, why=why))
    assert process.probe() == (int(told != "healthy"), f"{told}\n")
    assert process.probe("--configuration") == (0, "healthy\n")


def test_no_process_is_told(tmp_path: Path) -> None:
    code, told = Process(tmp_path).probe()
    assert code == 1
    assert told.startswith("HAProxy does not answer: ")
