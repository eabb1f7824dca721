"""What holds on each host."""

import json
import re
from collections.abc import Callable

from testinfra.host import Host

EXPOSURE_AT_MOST = 2.0
LIST_CLASSES = (
    "import glob, json, zipfile;"
    "jars = map(zipfile.ZipFile, glob.glob('/opt/kafka/libs/*.jar'));"
    "print(json.dumps([name for jar in jars for name in jar.namelist() if 'kafka/' in name]))"
)


def test_service_runs_and_starts_with_the_host(host: Host) -> None:
    assert host.service("kafka").is_running
    assert host.service("kafka").is_enabled


def test_unit_is_confined(host: Host, exposure: Callable[[str], float]) -> None:
    assert exposure("kafka.service") <= EXPOSURE_AT_MOST
    process = host.process.get(user="kafka", comm="java")
    assert "-Xmx" in process.args


def test_listens_on_its_own_address_only_and_nothing_else_does(address: str, open_ports: set[str]) -> None:
    assert open_ports == {f"{address}:9092", f"{address}:9093"}


def test_configuration_is_sorted_and_private(host: Host) -> None:
    properties = host.file("/etc/kafka/broker.properties")
    assert properties.mode == 0o640
    assert properties.group == "kafka"
    lines = properties.content_string.splitlines()[1:]
    assert lines == sorted(lines)


def test_journal_has_priorities(host: Host, address: str) -> None:
    # Kafka warns about bytes that are no request
    host.check_output(
        f"bash -c 'echo GET / HTTP/1.1 > /dev/tcp/{address}/9092' && sleep 1 && journalctl --sync"
    )
    lines = host.check_output("journalctl --unit=kafka _COMM=java --no-pager --output=json").splitlines()
    entries = [json.loads(line) for line in lines]
    found = {(str(entry["MESSAGE"]).partition(" ")[0], int(entry["PRIORITY"])) for entry in entries}
    # lines of a stack trace, and what Java itself says, have no level
    levels = {"FATAL": 2, "ERROR": 3, "WARN": 4, "INFO": 6}
    assert {("INFO", 6), ("WARN", 4)} <= found
    assert {(level, priority) for level, priority in found if level in levels} <= set(levels.items())


def test_each_tool_is_linked_to_a_class_that_exists(host: Host) -> None:
    classes = set(json.loads(host.check_output("python3 -c %s", LIST_CLASSES)))
    linked = set(host.check_output("find /usr/local/bin -lname kafka-tool -printf '%f '").split())
    script = host.file("/usr/local/bin/kafka-tool").content_string
    tools = dict(re.findall(r"^  (kafka-[a-z0-9-]+)\) class=(\S+)", script, re.MULTILINE))
    assert len(tools) > 20
    assert linked == tools.keys()
    assert {main_class.replace(".", "/") + ".class" for main_class in tools.values()} <= classes
