"""What the scenarios' tests share: the hosts, what shows on them from outside, and their journals."""

import gzip
import os
import random
import re
import shutil
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import testinfra
import yaml
from kafka import KafkaConsumer, KafkaProducer
from openings import LISTENING, reached
from process_lists import no_secret_on_a_command_line, read_secrets
from testinfra.host import Host

ROOT = Path(__file__).parents[1]
UNITS = ("kafka", "minio", "zookeeper", "haproxy", "flink-*")
# records that a block sends at least, however soon it ends
ENOUGH = 500

HostsOf = Callable[[str], dict[str, Host]]
Apply = Callable[..., subprocess.CompletedProcess[str]]
NextRelease = Callable[[str], dict[str, str]]
Produced = Callable[[], AbstractContextManager[None]]
UpToDate = Callable[..., bool]
Breaks = Callable[[int, int], list[int]]
Outages = Callable[[dict[str, int]], AbstractContextManager[list[set[str]]]]


def hosts_by_name(group: str) -> dict[str, Host]:
    hosts = testinfra.get_hosts(
        [group], ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"], connection="ansible", sudo=True
    )
    return {host.backend.host: host for host in hosts}


@pytest.fixture(scope="session")
def hosts_of() -> HostsOf:
    """The hosts of a group, by name."""
    return hosts_by_name


@pytest.fixture
def address(host: Host) -> str:
    return str(host.ansible.get_variables()["ansible_host"])


@pytest.fixture
def open_ports(host: Host) -> set[str]:
    """What other hosts reach over TCP, as ADDRESS:PORT or *:PORT."""
    return reached(host.check_output(LISTENING))


@pytest.fixture
def exposure(host: Host) -> Callable[[str], float]:
    """How much a unit is exposed, by systemd's count: from 0 (least) to 10; up to 4.9 is "OK"."""

    def of(unit: str) -> float:
        verdict = host.check_output("systemd-analyze security --no-pager %s", unit).splitlines()[-1]
        return float(re.findall(r": (\d+\.\d) ", verdict)[0])

    return of


@pytest.fixture(scope="session")
def apply() -> Apply:
    """Run a playbook on the scenario's hosts, as Molecule does; show what it printed if it fails.

    With `break_off_after`, the run ends abruptly after so many changes; one that makes fewer fails the test.
    """

    def run(
        playbook: Path, *arguments: str, fails: bool = False, break_off_after: int = 0
    ) -> subprocess.CompletedProcess[str]:
        inventory, variables = os.environ["MOLECULE_INVENTORY_FILE"], ROOT / "molecule/shared/vars.yml"
        command = ["ansible-playbook", "--inventory", inventory, "--extra-vars", f"@{variables}"]
        breaking = {
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "molecule/shared/callbacks"),
            "ANSIBLE_CALLBACKS_ENABLED": "break_off",
            "BREAK_OFF_AFTER": str(break_off_after),
        }
        ran = subprocess.run(  # noqa: S603 - a fixed command
            [*command, str(playbook), *arguments],
            env=os.environ
            | {"ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"}
            | (breaking if break_off_after else {}),
            stdout=subprocess.PIPE,
            # Ansible's settings decide to which of the two it writes a failure
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert ("broken off after: " in ran.stdout) is bool(break_off_after), ran.stdout
        assert (ran.returncode != 0) is (fails or bool(break_off_after)), ran.stdout
        return ran

    return run


@pytest.fixture
def secretly(apply: Apply, tmp_path: Path) -> Apply:
    """Run a playbook as `apply` does; fail if a secret is in a process list meanwhile."""
    ephemeral = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
    ssh = [
        "ssh",
        "-o",
        "StrictHostKeyChecking=accept-new",
        "-o",
        f"UserKnownHostsFile={tmp_path}/known_hosts",
    ]
    hosts = {}
    for connection in yaml.safe_load((ephemeral / "instance_config.yml").read_text()):
        login = f"{connection['user']}@{connection['address']}"
        hosts[connection["instance"]] = [*ssh, "-i", connection["identity_file"], login]

    def run(playbook: Path, *arguments: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
        with no_secret_on_a_command_line(read_secrets(ephemeral / "secrets"), hosts) as looks:
            ran = apply(playbook, *arguments, fails=fails)
        assert looks.keys() == hosts.keys() | {"the control node"}
        return ran

    return run


@pytest.fixture(scope="session")
def breaks() -> Breaks:
    """Choose after which of a run's changes to break it off: a few, drawn by FRAUD_SEED, or each ("all")."""

    def choose(changes: int, count: int) -> list[int]:
        numbers, seed = range(1, changes + 1), os.environ.get("FRAUD_SEED", "5")
        return list(numbers) if seed == "all" else random.Random(seed).sample(numbers, count)  # noqa: S311 - no secret

    return choose


@pytest.fixture(scope="session")
def up_to_date() -> UpToDate:
    """Whether a process started after the last change to its unit and to these files, by the host's clock."""

    def is_so(host: Host, unit: str, *paths: str) -> bool:
        show = f"systemctl show --value --timestamp=unix --property={{}} {unit}"
        started = host.check_output(show.format("ExecMainStartTimestamp")).removeprefix("@")
        files = " ".join((host.check_output(show.format("FragmentPath")), *paths))
        return int(started) >= max(map(int, host.check_output(f"stat --format=%Z {files}").split()))

    return is_so


@pytest.fixture
def next_release(tmp_path: Path) -> Generator[NextRelease]:
    """Make a next version of kafka or flink, which differs by a file NEXT; give the variables for it."""
    versions = yaml.safe_load((ROOT / "ansible/inventory/group_vars/all/versions.yml").read_text())
    cache = Path(os.environ.get("FRAUD_CACHE", Path.home() / ".cache/fraud-detection"))

    def of(program: str) -> dict[str, str]:
        version = versions[f"{program}_version"]
        built = max(cache.glob(f"{program}-{version}-*.tar.gz"), key=lambda file: file.stat().st_mtime)
        archive = tmp_path / f"{program}-{version}-next.tar"
        with gzip.open(built) as packed, archive.open("wb") as plain:
            shutil.copyfileobj(packed, plain)
        with tarfile.open(archive, "a:") as members:
            members.addfile(tarfile.TarInfo(f"{members.getnames()[0].partition('/')[0]}/NEXT"))
        return {f"{program}_version": f"{version}-next", f"{program}_archive": str(archive)}

    yield of
    for archive in tmp_path.glob("*.tar"):
        archive.unlink()


@pytest.fixture
def outages() -> Outages:
    """Look ten times a second which of {address: port} take no connection; give each set that was seen."""

    def refuses(address: str, port: int) -> bool:
        try:
            with socket.create_connection((address, port), timeout=1):
                return False
        except OSError:
            return True

    @contextmanager
    def watch(services: dict[str, int]) -> Iterator[list[set[str]]]:
        seen: list[set[str]] = []
        done = threading.Event()

        def look() -> None:
            while not done.wait(0.1):
                down = {address for address, port in services.items() if refuses(address, port)}
                if down not in seen:
                    seen.append(down)

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            yield seen
        finally:
            done.set()
            watcher.join()

    return watch


@pytest.fixture
def nothing_is_lost(hosts_of: HostsOf) -> Generator[Produced]:
    """Send numbers while a block runs, ENOUGH at least; fail if one is missing afterwards."""
    # a test may remove the fourth
    brokers = list(hosts_of("kafka").values())[:3]
    servers = [f"{broker.ansible.get_variables()['ansible_host']}:9092" for broker in brokers]
    brokers[0].check_output("kafka-topics --create --topic molecule-rolling --partitions 3")

    @contextmanager
    def producing() -> Iterator[None]:
        producer = KafkaProducer(bootstrap_servers=servers, acks="all", delivery_timeout_ms=120_000)
        done = threading.Event()
        sent: list[Any] = []

        def send() -> None:
            while not done.is_set() or len(sent) < ENOUGH:
                sent.append(producer.send("molecule-rolling", str(len(sent)).encode()))
                time.sleep(0.01)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            yield
        finally:
            done.set()
            sender.join()
            confirmed = [number for number, record in enumerate(sent) if record.get(120)]
            producer.close()
        consumer = KafkaConsumer(
            "molecule-rolling",
            bootstrap_servers=servers,
            auto_offset_reset="earliest",
            consumer_timeout_ms=10_000,
        )
        received = {int(record.value) for record in consumer}
        consumer.close()
        assert len(confirmed) == len(sent) >= ENOUGH
        assert received == set(confirmed)

    yield producing
    brokers[0].check_output("kafka-topics --delete --topic molecule-rolling")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the services' journals where a test failed."""
    report = yield
    if report.when in ("setup", "call") and report.failed:
        units = " ".join(f"--unit='{unit}'" for unit in UNITS)
        for name, host in hosts_by_name("all").items():
            journal = host.run(f"journalctl {units} --lines=40 --no-pager --output=cat").stdout
            report.sections.append((f"journal of {name}", journal))
    return report
