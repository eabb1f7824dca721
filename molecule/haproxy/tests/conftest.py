import ast
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from testinfra.host import Host

PROXY = "http://127.0.0.1:9010"


class Answer(NamedTuple):
    """What came of a request: the status or an error's name, seconds, and the answer's first line."""

    status: str
    took_s: float
    text: str


class Nodes:
    """The two hosts: HAProxy on each, and a stand-in for MinIO on each."""

    def __init__(self, hosts: dict[str, Host]) -> None:
        self.names = list(hosts)
        self.hosts = list(hosts.values())
        self.urls = [f"http://{host.ansible.get_variables()['ansible_host']}:9000" for host in self.hosts]

    def ask(self, count: int, *request: str, url: str = PROXY) -> list[Answer]:
        """Send requests from the first host."""
        told = self.hosts[0].check_output(f"ask {url} {count} {' '.join(request)}")
        answers = [line.split(maxsplit=2) for line in told.splitlines()]
        return [
            Answer(status, float(took), "".join(ast.literal_eval(text))) for status, took, text in answers
        ]

    def become(self, node: int, state: str) -> None:
        """Change how a stand-in answers."""
        assert self.ask(1, "PUT", f"/state/{state}", url=self.urls[node])[0].status == "200"

    def whole(self) -> None:
        """Wait until each HAProxy sees both stand-ins."""
        for host in self.hosts:
            assert host.check_output("haproxy-health --wait 15") == "healthy"


@pytest.fixture(scope="session")
def nodes(hosts_of: Callable[[str], dict[str, Host]]) -> Nodes:
    return Nodes(hosts_of("haproxy"))


@pytest.fixture
def signal(nodes: Nodes) -> Iterator[Callable[[str], None]]:
    """Send a signal to the second host's stand-in; it is well again afterwards."""
    host = nodes.hosts[1]

    def send(name: str) -> None:
        host.check_output(f"systemctl kill --kill-whom=main --signal={name} stand-in")

    yield send
    host.run("systemctl kill --kill-whom=main --signal=CONT stand-in")
    host.check_output("systemctl start stand-in")
    nodes.whole()
