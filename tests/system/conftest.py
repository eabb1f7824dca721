"""The running lab, seen from outside; what its services logged is shown where a test fails."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from flink_jobs.domain.object_store import s3_client
from flink_jobs.domain.settings import Settings, SettingsError, load_settings

ROOT = Path(__file__).parents[2]
LAB = ROOT / "terraform/lab"
SSH_CONFIG = ROOT / "build/ssh_config"
UNITS = ("kafka", "minio", "flink-jobmanager", "flink-taskmanager@*")

Run = Callable[..., str]


def run(*command: str, cwd: Path = ROOT, codes: tuple[int, ...] = (0,), **environment: str) -> str:
    """Run what an operator would; the output, both streams."""
    ran = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if ran.returncode not in codes:
        pytest.fail(f"{' '.join(command)} ended with {ran.returncode}:\n{ran.stdout}", pytrace=False)
    return ran.stdout


def ssh(host: str, command: str) -> str:
    return run("ssh", "-F", str(SSH_CONFIG), host, command)


def terraform(*arguments: str, codes: tuple[int, ...] = (0,)) -> str:
    program = shutil.which("terraform") or "tofu"
    return run(program, f"-chdir={LAB}", *arguments, codes=codes)


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
