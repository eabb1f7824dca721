"""The whole system after one host lost power: its open ports, and a transaction's way through it."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from testinfra.host import Host

ROOT = Path(__file__).parents[3]
EXPOSURE_AT_MOST = 3.0
NETWORK = yaml.safe_load((ROOT / "ansible/inventory/group_vars/all/network.yml").read_text())
OPENINGS = {
    name: (opening, range(NETWORK["ports"][name], NETWORK["ports"][name] + opening.get("count", 1)))
    for name, opening in NETWORK["openings"].items()
    if name != "ssh"
}
# openings whose service listens on all addresses of its host
EVERYWHERE = ("minio", "minio_console")
UNITS = {
    "kafka": "kafka.service",
    "minio": "minio.service",
    "zookeeper": "zookeeper.service",
    "flink_jobmanager": "flink-jobmanager.service",
    "flink_taskmanager": "flink-taskmanager@1.service",
}


@pytest.fixture
def groups(host: Host) -> list[str]:
    return [group for group in host.ansible.get_variables()["group_names"] if group in UNITS]


def test_each_port_that_listens_is_in_the_table_and_each_in_the_table_listens(
    address: str, open_ports: set[str], groups: list[str]
) -> None:
    offered = {
        name: {f"{'*' if name in EVERYWHERE else address}:{port}" for port in ports}
        for name, (opening, ports) in OPENINGS.items()
        if set(opening["to"]) & set(groups)
    }
    # a TaskManager listens on one port of each range
    assert {name: len(places & open_ports) for name, places in offered.items()} == dict.fromkeys(offered, 1)
    assert open_ports - set().union(*offered.values()) == set()


def test_the_table_allows_each_connection_that_there_is(
    host: Host, hosts_of: Callable[[str], dict[str, Host]]
) -> None:
    members = {
        group: {str(one.ansible.get_variables()["ansible_host"]) for one in hosts_of(group).values()}
        for group in (*UNITS, "training")
    }
    hosts = set().union(*members.values())
    # the host's connections to itself count too; an address of no host is the control node's
    seen, strangers = set(), []
    for line in host.check_output("ss --no-header --tcp --numeric state established").splitlines():
        local, peer = (re.sub(r"^\[::ffff:(.*)\]", r"\1", place) for place in line.split()[2:4])
        port, caller = int(local.rpartition(":")[2]), peer.rpartition(":")[0]
        ends = {port, int(peer.rpartition(":")[2])}
        for name, (opening, ports) in OPENINGS.items():
            seen |= {name} if ends & set(ports) else set()
            allowed = {caller} - hosts if "operators" in opening["from"] else set()
            allowed |= set().union(*(members[group] for group in opening["from"] if group in members))
            if port in ports and caller not in allowed:
                strangers.append(f"{caller} at {name}")
    assert strangers == []
    # whoever began them, there are always some between the hosts of MinIO, and all of these are among them
    assert "minio" in seen


def test_the_resolver_is_silent(host: Host) -> None:
    assert host.check_output("ss --no-header --listening --tcp --udp --numeric '( sport = :5355 )'") == ""


def test_services_are_confined(host: Host, exposure: Callable[[str], float], groups: list[str]) -> None:
    for group in groups:
        assert host.service(UNITS[group]).is_enabled
        assert exposure(UNITS[group]) <= EXPOSURE_AT_MOST


def test_every_transaction_is_scored_and_stored(tmp_path: Path) -> None:
    sent, audit = tmp_path / "producer.json", tmp_path / "audit.json"
    settings = ["--settings", str(Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "settings.json")]
    for command in (
        ["fraud-producer", "--limit", "2000", "--rate", "200", "--report", str(sent)],
        ["fraud-audit", "--producer-report", str(sent), "--output", str(audit)],
    ):
        ran = subprocess.run([*command, *settings], capture_output=True, text=True, check=False)  # noqa: S603 - as an operator types
        assert ran.returncode == 0, ran.stdout + ran.stderr
    result = json.loads(audit.read_text())
    assert result["sent"] == result["scored"] == result["lake_rows"] == 2000, result
    assert result["lost"] == result["lake_missing"] == result["lake_repeated"] == 0, result
