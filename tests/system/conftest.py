"""The running lab, seen from outside; what its services logged is shown where a test fails."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition

from flink_jobs.domain.object_store import s3_client
from flink_jobs.domain.settings import Settings, SettingsError, load_settings

ROOT = Path(__file__).parents[2]
LAB = ROOT / "terraform/lab"
SSH_CONFIG = ROOT / "build/ssh_config"
UNITS = ("kafka", "minio", "flink-jobmanager", "flink-taskmanager@*")


def run(*command: str, cwd: Path = ROOT, codes: tuple[int, ...] = (0,), **environment: str) -> str:
    """Run what an operator would; what it printed."""
    ran = subprocess.run(
        command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    if ran.returncode not in codes:
        pytest.fail(
            f"{' '.join(command)} ended with {ran.returncode}:\n{ran.stdout}\n{ran.stderr}", pytrace=False
        )
    return ran.stdout


def ssh(host: str, command: str) -> str:
    return run("ssh", "-F", str(SSH_CONFIG), host, command)


def terraform(*arguments: str, codes: tuple[int, ...] = (0,)) -> str:
    program = shutil.which("terraform") or "tofu"
    return run(program, f"-chdir={LAB}", *arguments, codes=codes)


def until(found: Callable[[], bool], timeout_s: float = 90) -> bool:
    """Probe until it is so, or time is up."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found():
            return True
        time.sleep(0.2)
    return False


def read_from(
    settings: Settings,
    topic: str,
    start_ms: int,
    complete: Callable[[list[Any]], bool],
    timeout_s: float = 90,
) -> list[Any]:
    """Read a topic's records since a time, until they are complete or time is up."""
    consumer = KafkaConsumer(bootstrap_servers=settings.kafka.bootstrap_servers.split(","))
    try:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        for partition, found in consumer.offsets_for_times(dict.fromkeys(partitions, start_ms)).items():
            consumer.seek(partition, found.offset if found else ends[partition])
        records: list[Any] = []

        def poll() -> bool:
            for batch in consumer.poll(timeout_ms=500).values():
                records.extend(
                    (record.key.decode() if record.key else None, json.loads(record.value))
                    for record in batch
                )
            return complete(records)

        until(poll, timeout_s)
        return records
    finally:
        consumer.close()


@pytest.fixture(scope="session")
def hosts() -> dict[str, dict[str, Any]]:
    """Hosts by name, with their groups, as Terraform tells them."""
    found: dict[str, dict[str, Any]] = json.loads(terraform("output", "-json", "hosts"))
    return found


@pytest.fixture(scope="session")
def jobmanager(hosts: dict[str, dict[str, Any]]) -> str:
    return next(name for name, host in hosts.items() if "flink_jobmanager" in host["groups"])


@pytest.fixture(scope="session")
def settings() -> Settings:
    try:
        return load_settings(ROOT / "build/settings.json")
    except SettingsError as error:
        pytest.fail(
            f"{error}\nThe system tests drive the running lab; `make up` brings it up.", pytrace=False
        )


@pytest.fixture(scope="session")
def store(settings: Settings) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
    return s3_client(settings.s3)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and call.when == "call" and SSH_CONFIG.exists():
        for name in json.loads(terraform("output", "-json", "hosts")):
            units = " ".join(f"-u '{unit}'" for unit in UNITS)
            journal = ssh(name, f"sudo journalctl --no-pager --since=-5min --lines=40 {units} || true")
            report.sections.append((f"journal of {name}", journal))
    return report
