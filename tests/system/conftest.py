"""The running lab, seen from outside; what its services logged is shown where a test fails."""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka_quorum import STATUS, read_quorum
from process_lists import no_secret_on_a_command_line, read_secrets

from flink_jobs.store.object_store import s3_client
from flink_jobs.store.settings import Settings, SettingsError, load_settings

ROOT = Path(__file__).parents[2]
LAB = ROOT / "terraform/lab"
SSH_CONFIG = ROOT / "build/lab/ssh_config"
UNITS = ("kafka", "minio", "zookeeper", "haproxy", "flink-jobmanager", "flink-taskmanager@*")


def run(*command: str, cwd: Path = ROOT, codes: tuple[int, ...] = (0,), **environment: str) -> str:
    """Run a command as an operator does; return what it printed."""
    ran = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=3600,
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


def playbook(name: str, *arguments: str, codes: tuple[int, ...] = (0,), **variables: object) -> str:
    """Run a playbook; fail if a secret is in a process list meanwhile, here or on a host that is reached."""
    extra = ["--extra-vars", json.dumps(variables)] if variables else []
    impatient = ["-o", "ConnectTimeout=5", "-o", "ServerAliveInterval=5"]
    hosts = {host: ["ssh", "-F", str(SSH_CONFIG), *impatient, host] for host in lab_hosts()}
    with no_secret_on_a_command_line(read_secrets(ROOT / "build/lab/secrets"), hosts) as looks:
        output = run(
            "ansible-playbook",
            name,
            *arguments,
            *extra,
            cwd=ROOT / "ansible",
            codes=codes,
            ANSIBLE_FORCE_COLOR="0",
        )
    assert len(looks) > 1, "secrets were looked for on no host"
    return output


def assert_unchanged(output: str) -> None:
    """Fail with the tasks that changed something in a playbook's run, if there are any."""
    recap = dict(re.findall(r"^(\S+) +: ok=\d+ +changed=(\d+) ", output, flags=re.MULTILINE))
    changed = re.findall(r"(?:TASK \[.*|RUNNING HANDLER \[.*)\n(?:.*\n)*?changed: .*", output)
    assert recap
    assert set(recap.values()) == {"0"}, f"{recap}\n" + "\n".join(changed)


@contextmanager
def nothing_is_lost(folder: Path, *, at_least: int = 1001) -> Iterator[dict[str, Any]]:
    """Send 200 transactions a second while the block runs; fail unless each is scored, and once in the lake.

    Once the block has ended, the dictionary that it was given has what the audit counted.
    """
    result: dict[str, Any] = {}
    sent, audit = folder / "producer.json", folder / "audit.json"
    producer = subprocess.Popen(
        ["fraud-producer", "--rate", "200", "--report", str(sent)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield result
    finally:
        producer.send_signal(signal.SIGINT)
        output, _ = producer.communicate(timeout=180)
    # ended by the signal, with every record confirmed
    assert producer.returncode == 130, output
    run("fraud-audit", "--producer-report", str(sent), "--output", str(audit), codes=(0, 1))
    result |= json.loads(audit.read_text())
    assert result["sent"] == result["scored"] >= at_least, result
    assert result["failed"] == result["lost"] == 0, result
    assert result["lake_missing"] == result["lake_repeated"] == 0, result


def until(found: Callable[[], bool], timeout_s: float = 90) -> bool:
    """Probe until `found` says yes, or time is up; return whether it did."""
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


def voters(broker: str) -> list[int]:
    """Ids of the brokers that vote."""
    return read_quorum(ssh(broker, STATUS)).voters


def lab_hosts() -> dict[str, dict[str, Any]]:
    """Hosts by name, with their groups, as Terraform tells them."""
    found: dict[str, dict[str, Any]] = json.loads(terraform("output", "-json", "hosts"))
    return found


@pytest.fixture(scope="session")
def hosts() -> dict[str, dict[str, Any]]:
    return lab_hosts()


@pytest.fixture(scope="session")
def brokers(hosts: dict[str, dict[str, Any]]) -> list[str]:
    return [name for name, host in hosts.items() if "kafka" in host["groups"]]


@pytest.fixture(scope="session")
def jobmanagers(hosts: dict[str, dict[str, Any]]) -> list[str]:
    return [name for name, host in hosts.items() if "flink_jobmanager" in host["groups"]]


@pytest.fixture(scope="session")
def jobmanager(jobmanagers: list[str]) -> str:
    """Any host with a JobManager."""
    return jobmanagers[0]


@pytest.fixture(scope="session")
def flink(hosts: dict[str, dict[str, Any]], jobmanagers: list[str]) -> Callable[[str], Any]:
    """What a JobManager answers to a path of its REST interface; each asks the one that leads."""

    def get(path: str) -> Any:  # noqa: ANN401 - JSON
        for name in jobmanagers:
            try:
                with urllib.request.urlopen(f"http://{hosts[name]['ip']}:8081{path}", timeout=30) as answer:
                    return json.loads(answer.read())
            except OSError as error:
                told = error
        raise told

    return get


@contextmanager
def longest_darkness(settings: Settings) -> Iterator[list[float]]:
    """Measure the longest time without a prediction while the block runs; the list then gets it, in s."""
    longest: list[float] = []
    topic = settings.topics.predictions
    consumer = KafkaConsumer(topic, bootstrap_servers=settings.kafka.bootstrap_servers.split(","))
    done = threading.Event()
    gaps = [0.0]

    def look() -> None:
        seen_s = time.monotonic()
        while not done.is_set():
            if consumer.poll(timeout_ms=200):
                seen_s = time.monotonic()
            gaps.append(time.monotonic() - seen_s)

    consumer.poll(timeout_ms=2000)
    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield longest
    finally:
        done.set()
        watcher.join()
        consumer.close()
        longest.append(max(gaps))


@pytest.fixture(scope="session")
def settings() -> Settings:
    try:
        return load_settings(ROOT / "build/lab/settings.json")
    except SettingsError as error:
        pytest.fail(
            f"{error}\nThe system tests drive the running lab; `make up` brings it up.", pytrace=False
        )


@pytest.fixture(scope="session")
def store(settings: Settings) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
    return s3_client(settings.s3)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the minutes that the parts of `make test` took; the system tests are the last part."""
    times = os.environ.get("TEST_TIMES")
    if not times:
        return
    parts = [line.split() for line in Path(times).read_text().splitlines()]
    ends = [int(start) for _, _, start in parts[1:]] + [int(time.time())]
    terminalreporter.section("minutes that each part took")
    for (part, budget, start), end in zip(parts, ends, strict=True):
        terminalreporter.line(f"{part:<10} {(end - int(start)) / 60:5.1f} of {budget:>3}")
    total, allowed = (ends[-1] - int(parts[0][2])) / 60, sum(int(budget) for _, budget, _ in parts)
    terminalreporter.line(f"{'together':<10} {total:5.1f} of {allowed:>3}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and call.when == "call" and SSH_CONFIG.exists():
        for name in lab_hosts():
            units = " ".join(f"-u '{unit}'" for unit in UNITS)
            journal = ssh(name, f"sudo journalctl --no-pager --since=-5min --lines=40 {units} || true")
            report.sections.append((f"journal of {name}", journal))
    return report
