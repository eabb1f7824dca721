"""On a used machine, the check reports what stands in the way of the lab, and nothing else."""

from pathlib import Path

import pytest
from ansible_modules import load

FILE = Path(__file__).parents[3] / "ansible/roles/incus/files/check_machine.py"
check_machine = load("check_machine", FILE)

# a default route, the machine's own network, and a VPN's 10.64.0.0/12, in which the lab's lies
HEAD = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
OWN = "eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0\neth0 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0\n"
LAB = "fraud0 00004E0A 00000000 0001 0 0 0 00FFFFFF 0 0 0\n"
VPN = "tun0 0000400A 00000000 0001 0 0 0 0000F0FF 0 0 0\n"


def network_problems(table: str, *, foreign: bool = False) -> list[str]:
    routes = check_machine.read_routes(HEAD + table)
    return list(check_machine.network_problems("fraud0", "10.78.0.0/24", routes, foreign=foreign))


@pytest.mark.parametrize("table", [OWN, OWN + LAB])
def test_a_free_network_and_the_labs_own_are_fine(table: str) -> None:
    assert network_problems(table) == []


def test_a_network_in_use_is_reported() -> None:
    (problem,) = network_problems(OWN + LAB + VPN)
    assert "10.78.0.0/24, for the bridge fraud0, is in use: tun0 leads to 10.64.0.0/12" in problem
    assert "network.yml" in problem


def test_a_bridge_that_no_lab_made_is_reported() -> None:
    (problem,) = network_problems(OWN + LAB, foreign=True)
    assert "There is an interface fraud0 already, and no lab made it" in problem


@pytest.mark.parametrize(
    "content", ["", "alice:100000:65536\n", "alice:100000:65536\nroot:1000000:1000000000\n"]
)
def test_enough_ids_are_fine(content: str) -> None:
    assert list(check_machine.id_problems("/etc/subuid", content, 2000000)) == []


def test_too_few_ids_are_reported() -> None:
    (problem,) = check_machine.id_problems("/etc/subuid", "root:100000:65536\n", 2000000)
    assert problem.startswith("/etc/subuid gives root 65536 ids, for other containers")


DOCKER = "-P INPUT ACCEPT\n-P FORWARD DROP\n-N DOCKER-USER\n-A FORWARD -j DOCKER-USER\n"
DOCKER_NFT = """table ip filter {
	chain FORWARD {
		type filter hook forward priority filter; policy drop;
		jump DOCKER-USER
	}
}
"""
# Incus' own rules let the bridge through, but no other table's are overruled by them.
INCUS_NFT = """table inet incus {
	chain fwd.fraud0 {
		type filter hook forward priority filter; policy accept;
		iifname "fraud0" accept
	}
}
"""


@pytest.mark.parametrize(
    ("iptables", "nftables"),
    [
        ("", ""),
        ("-P FORWARD ACCEPT\n", INCUS_NFT),
        (DOCKER + "-A DOCKER-USER -i fraud0 -j ACCEPT\n", ""),
        (
            "",
            DOCKER_NFT.replace("jump DOCKER-USER", 'iifname "fraud0" counter packets 0 bytes 0 accept')
            + INCUS_NFT,
        ),
    ],
)
def test_a_firewall_that_lets_the_lab_through_is_fine(iptables: str, nftables: str) -> None:
    assert list(check_machine.firewall_problems("fraud0", iptables, nftables)) == []


@pytest.mark.parametrize(
    ("iptables", "nftables"), [(DOCKER, ""), ("", DOCKER_NFT + INCUS_NFT), (DOCKER, DOCKER_NFT)]
)
def test_a_firewall_that_drops_is_reported(iptables: str, nftables: str) -> None:
    (problem,) = check_machine.firewall_problems("fraud0", iptables, nftables)
    assert "iptables -I DOCKER-USER -i fraud0 -j ACCEPT" in problem
