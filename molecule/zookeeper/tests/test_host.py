"""What holds on each host."""

import json
import re
from collections.abc import Callable

import pytest
from testinfra.host import Host

EXPOSURE_AT_MOST = 2.0
MIB = 1024 * 1024


def test_service_runs_and_starts_with_the_host(host: Host) -> None:
    assert host.service("zookeeper").is_running
    assert host.service("zookeeper").is_enabled


def test_unit_is_confined(exposure: Callable[[str], float]) -> None:
    assert exposure("zookeeper.service") <= EXPOSURE_AT_MOST


def test_heap_is_half_of_the_memory_that_it_may_take(host: Host) -> None:
    process = host.process.get(user="zookeeper", comm="java")
    (heap,) = re.findall(r"-Xmx(\d+)m", process.args)
    limit = int(host.check_output("systemctl show zookeeper --property=MemoryMax --value"))
    assert int(heap) == limit // MIB // 2


def test_listens_on_its_own_address_only_and_has_no_page(address: str, open_ports: set[str]) -> None:
    # who leads listens to followers too
    assert open_ports - {f"{address}:2888"} == {f"{address}:2181", f"{address}:3888"}


@pytest.mark.parametrize(
    ("path", "mode", "user", "group"),
    [
        ("/etc/zookeeper/zoo.cfg", 0o644, "root", "root"),
        ("/var/lib/zookeeper", 0o750, "zookeeper", "zookeeper"),
        ("/var/lib/zookeeper/data", 0o750, "zookeeper", "zookeeper"),
        ("/var/lib/zookeeper/data/myid", 0o640, "root", "zookeeper"),
        ("/var/lib/zookeeper/data/version-2", 0o700, "zookeeper", "zookeeper"),
    ],
)
def test_mode(host: Host, path: str, mode: int, user: str, group: str) -> None:
    file = host.file(path)
    assert (file.mode, file.user, file.group) == (mode, user, group)


def test_data_is_the_servers_alone(host: Host) -> None:
    listed = host.check_output(
        "find /var/lib/zookeeper/data/version-2 -type f -printf '%f %m %u\\n'"
    ).splitlines()
    assert "acceptedEpoch 600 zookeeper" in listed
    assert {line.partition(" ")[2] for line in listed} == {"600 zookeeper"}


def test_nothing_is_left_that_would_let_it_begin_with_nothing(host: Host) -> None:
    assert not host.file("/var/lib/zookeeper/data/initialize").exists


def test_journal_has_priorities(host: Host, address: str) -> None:
    # ZooKeeper warns about bytes that are no request
    host.check_output(
        f"bash -c 'echo GET / HTTP/1.1 > /dev/tcp/{address}/2181' && sleep 1 && journalctl --sync"
    )
    lines = host.check_output("journalctl --unit=zookeeper _COMM=java --no-pager --output=json").splitlines()
    entries = [json.loads(line) for line in lines]
    found = {(str(entry["MESSAGE"]).partition(" ")[0], int(entry["PRIORITY"])) for entry in entries}
    # lines of a stack trace, and what Java itself says, have no level
    levels = {"FATAL": 2, "ERROR": 3, "WARN": 4, "INFO": 6}
    assert {("INFO", 6), ("WARN", 4)} <= found
    assert {(level, priority) for level, priority in found if level in levels} <= set(levels.items())
