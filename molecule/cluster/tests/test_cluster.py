"""The whole system, after a host of it lost power: what shows outside, and the way of a transaction."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from testinfra.host import Host

EXPOSURE_AT_MOST = 3.0
# Ports of each group; what listens on all addresses is marked by a star.
PORTS = {
    "kafka": ["9092", "9093"],
    "minio": ["*:9000", "*:9001"],
    "flink_jobmanager": ["6123", "6124", "6125", "8081"],
    "flink_taskmanager": ["6140", "6150", r"62\d\d"],
}
UNITS = {
    "kafka": "kafka.service",
    "minio": "minio.service",
    "flink_jobmanager": "flink-jobmanager.service",
    "flink_taskmanager": "flink-taskmanager@1.service",
}


@pytest.fixture
def groups(host: Host) -> list[str]:
    return [group for group in host.ansible.get_variables()["group_names"] if group in UNITS]


def test_only_the_ports_of_its_services_are_open(
    address: str, open_ports: set[str], groups: list[str]
) -> None:
    expected = [port for group in groups for port in PORTS[group]]
    patterns = [re.escape(port) if "*" in port else rf"{re.escape(address)}:{port}" for port in expected]
    matched = {
        pattern: [place for place in open_ports if re.fullmatch(pattern, place)] for pattern in patterns
    }
    assert all(len(places) == 1 for places in matched.values()), matched
    assert len(open_ports) == len(patterns), open_ports


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
