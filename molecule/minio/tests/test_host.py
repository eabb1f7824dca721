"""What holds on each host."""

from collections.abc import Callable

import pytest
from conftest import Cluster
from testinfra.host import Host

EXPOSURE_AT_MOST = 3.0


def test_service_runs_and_starts_at_boot(host: Host) -> None:
    service = host.service("minio")
    assert service.is_running
    assert service.is_enabled


def test_only_its_ports_are_open(open_ports: set[str]) -> None:
    assert open_ports == {"*:9000", "*:9001"}


def test_process_is_not_root(host: Host) -> None:
    assert host.check_output("ps -o user= -C minio") == "minio"


@pytest.mark.parametrize(
    ("path", "mode", "user", "group"),
    [
        ("/etc/minio/minio.env", 0o640, "root", "minio"),
        ("/root/.mc/config.json", 0o600, "root", "root"),
        ("/var/lib/minio/drive1", 0o750, "minio", "minio"),
    ],
)
def test_mode(host: Host, path: str, mode: int, user: str, group: str) -> None:
    file = host.file(path)
    assert (file.mode, file.user, file.group) == (mode, user, group)


def test_secrets_are_not_in_the_journal_nor_in_the_process_list(host: Host, cluster: Cluster) -> None:
    journal = host.check_output("journalctl --no-pager")
    processes = host.check_output("ps -eo args")
    for name in ("root", "audit", "compaction", "flink", "scoring", "training"):
        secret = cluster.secret(name)
        assert secret not in journal
        assert secret not in processes


def test_unit_is_confined(exposure: Callable[[str], float]) -> None:
    assert exposure("minio.service") <= EXPOSURE_AT_MOST


def test_memory_is_limited(host: Host) -> None:
    assert host.check_output("systemctl show minio --property=MemoryMax --value") != "infinity"


def test_root_administers_with_mc(host: Host) -> None:
    assert "4 drives online" in host.check_output("mc admin info lab")
