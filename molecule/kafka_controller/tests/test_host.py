"""What holds on each host, a broker or a controller."""

from collections.abc import Callable

import pytest
from testinfra.host import Host

EXPOSURE_AT_MOST = 2.0


@pytest.fixture
def is_controller(host: Host) -> bool:
    return "kafka_controller" in host.ansible.get_variables()["group_names"]


def test_service_runs_confined_and_starts_with_the_host(
    host: Host, exposure: Callable[[str], float], *, is_controller: bool
) -> None:
    assert host.service("kafka").is_running
    assert host.service("kafka").is_enabled
    assert exposure("kafka.service") <= EXPOSURE_AT_MOST
    description = host.check_output("systemctl show kafka --property=Description --value")
    assert description == ("Kafka controller" if is_controller else "Kafka broker")


def test_listens_on_the_port_of_its_role_only(
    address: str, open_ports: set[str], *, is_controller: bool
) -> None:
    assert open_ports == {f"{address}:{9093 if is_controller else 9092}"}


def test_health_is_reported(host: Host) -> None:
    assert host.check_output("kafka-health --wait 120") == "healthy"


def test_tools_know_the_brokers(host: Host) -> None:
    assert "transactions" in host.check_output("kafka-topics --list").split()
