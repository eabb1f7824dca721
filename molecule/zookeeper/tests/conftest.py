import re
import socket
from collections.abc import Callable

import pytest
from testinfra.host import Host

PORT = 2181
HostsOf = Callable[[str], dict[str, Host]]


class Ensemble:
    """The members, by number, and what is asked of them."""

    def __init__(self, hosts: dict[str, Host]) -> None:
        self.hosts = {int(name.rpartition("-")[2]): host for name, host in hosts.items()}
        self.addresses = {
            number: str(host.ansible.get_variables()["ansible_host"]) for number, host in self.hosts.items()
        }

    def ask(self, number: int, word: str) -> str:
        """Give a member's answer to a four-letter word."""
        with socket.create_connection((self.addresses[number], PORT), 5) as connection:
            connection.sendall(word.encode())
            with connection.makefile() as answer:
                return answer.read()

    def modes(self) -> list[str]:
        return sorted(
            "".join(re.findall(r"^Mode: (\w+)$", self.ask(number, "srvr"), re.MULTILINE))
            for number in self.hosts
        )

    def leader(self) -> int:
        return int(self.hosts[1].check_output("zookeeper-health --leader --wait 30"))

    def followers(self) -> list[int]:
        return sorted(self.hosts.keys() - {self.leader()})

    def write(self, path: str, value: str, through: int) -> None:
        """Create a node through any member, from the host of one."""
        self.hosts[through].check_output("zookeeper-cli create %s %s", path, value)

    def read(self, path: str, number: int) -> str:
        """Give what a member has at a path; it answers of its own, without asking the leader."""
        command = "zookeeper-cli -server %s:%s get %s"
        answer = self.hosts[number].check_output(command, self.addresses[number], str(PORT), path)
        return answer.splitlines()[-1]

    def wait_until_whole(self) -> None:
        assert self.hosts[1].check_output("zookeeper-health --wait 90") == "healthy"


@pytest.fixture(scope="session")
def ensemble(hosts_of: HostsOf) -> Ensemble:
    return Ensemble(hosts_of("zookeeper"))
