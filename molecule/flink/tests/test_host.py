"""What holds on each host."""

from collections.abc import Callable

import pytest
from testinfra.host import Host

EXPOSURE_AT_MOST = 3.0
PORTS = {"flink-jobmanager": [8081, 6123, 6124, 6125], "flink-taskmanager@1": [6140, 6150]}
ZOOKEEPER_PORTS = [2181, 2888, 3888]
# a TaskManager listens on one of these, on another at each start
RPC_PORTS = range(6200, 6210)


@pytest.fixture
def unit(host: Host) -> str:
    groups = host.ansible.get_variables()["group_names"]
    return "flink-jobmanager" if "flink_jobmanager" in groups else "flink-taskmanager@1"


def test_service_runs_and_starts_with_the_host(host: Host, unit: str) -> None:
    assert host.service(unit).is_running
    assert host.service(unit).is_enabled


def test_unit_is_confined(host: Host, unit: str, exposure: Callable[[str], float]) -> None:
    assert exposure(f"{unit}.service") <= EXPOSURE_AT_MOST
    process = host.process.get(user="flink", comm="java")
    assert "-Xmx" in process.args
    limit = int(host.check_output(f"systemctl show --property=MemoryMax --value {unit}"))
    assert 0 < limit < 2 * 1024**3


def test_listens_on_its_own_address_only_and_nothing_else_does(
    host: Host, unit: str, address: str, open_ports: set[str]
) -> None:
    groups = host.ansible.get_variables()["group_names"]
    others = {"*:9000", "*:9001"} if "minio" in groups else set()
    zookeeper = {f"{address}:{port}" for port in ZOOKEEPER_PORTS if "zookeeper" in groups}
    rpc = open_ports & {f"{address}:{port}" for port in RPC_PORTS}
    assert open_ports - zookeeper == {f"{address}:{port}" for port in PORTS[unit]} | rpc | others
    assert len(rpc) == (unit != "flink-jobmanager")


def test_credentials_are_for_the_services_only(host: Host) -> None:
    credentials = host.file("/etc/flink/s3.env")
    assert (credentials.user, credentials.mode) == ("root", 0o600)
    secret = credentials.content_string.split("AWS_SECRET_ACCESS_KEY=")[1].strip()
    assert secret not in host.file("/etc/flink/config.yaml").content_string
    assert secret not in host.check_output("ps -ef")
    assert secret not in host.check_output("journalctl --unit='flink-*' --no-pager")


def test_operator_lists_jobs_without_privileges(host: Host, jobs: dict[str, str]) -> None:
    listing = host.run("runuser -u ops -- flink list")
    assert listing.rc == 0
    for name, job_id in jobs.items():
        assert f"{job_id} : {name} (" in listing.stdout
    assert listing.stderr == ""


def test_python_comes_from_its_release_and_not_from_the_link_to_it(host: Host, unit: str) -> None:
    release = host.file("/opt/fraud-detection/venv").linked_to
    environment = host.check_output(f"systemctl show --property=Environment --value {unit}")
    path = f"PYTHONPATH={release}/lib/python3.11/site-packages"
    assert (path in environment.split()) is (unit != "flink-jobmanager")
