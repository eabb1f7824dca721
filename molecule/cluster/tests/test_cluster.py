"""The whole system after one host lost power: its open ports, and a transaction's way through it."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from openings import ESTABLISHED, LISTENING, Seen, callers_amiss, ports_amiss
from testinfra.host import Host

EXPOSURE_AT_MOST = 3.0
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


@pytest.fixture(scope="module")
def seen(hosts_of: Callable[[str], dict[str, Host]]) -> dict[str, Seen]:
    found = {}
    for name, host in hosts_of("all").items():
        variables = host.ansible.get_variables()
        address, groups = str(variables["ansible_host"]), set(variables["group_names"])
        found[name] = Seen(address, groups, host.check_output(LISTENING), host.check_output(ESTABLISHED))
    return found


def test_each_port_that_listens_is_in_the_table_and_each_in_the_table_listens(seen: dict[str, Seen]) -> None:
    assert [*ports_amiss(seen)] == []


def test_the_table_allows_each_connection_that_there_is(seen: dict[str, Seen]) -> None:
    assert [*callers_amiss(seen)] == []


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
