"""Another wheel is another release: no file of the one in use is replaced, and the last one stays."""

import zipfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

testinfra_hosts = ["ansible://python-app-2"]
ROOT = Path(__file__).parents[3]
CONVERGE = Path(__file__).parents[1] / "converge.yml"
VENV = "/opt/fraud-detection/venv"
Install = Callable[..., Any]


@pytest.fixture
def install(host: Host, apply: Callable[..., Any], tmp_path: Path) -> Generator[Install]:
    """Install the project's wheel with a module of this name in it, or as it is; on this host only."""
    (built,) = (ROOT / "build/dist").glob("*.whl")
    built_at = (2026, 1, 1, 0, 0, 0)

    def with_module(name: str = "", **options: Any) -> Any:  # noqa: ANN401 - passed on
        wheel = tmp_path / name / built.name
        wheel.parent.mkdir(exist_ok=True)
        wheel.write_bytes(built.read_bytes())
        if name:
            with zipfile.ZipFile(wheel, "a") as file:
                # with a fixed time, the same name makes the same wheel each time
                file.writestr(zipfile.ZipInfo(f"flink_jobs/{name}.py", built_at), "")
        arguments = ["--limit", host.backend.host, "--extra-vars", f"project_wheel={wheel}"]
        return apply(CONVERGE, *arguments, **options)

    yield with_module
    with_module()


def in_use(host: Host) -> str:
    return host.file(VENV).linked_to


def has(host: Host, module: str) -> bool:
    return host.run(f"cd / && {VENV}/bin/python -c 'import flink_jobs.{module}'").succeeded


def content(host: Host, release: str) -> str:
    """Checksums of the project's code in a release, and when each file was changed."""
    find = f"find {release}/lib/python3.11/site-packages/flink_jobs -name '*.py'"
    return host.check_output(f"{find} -exec sha256sum {{}} + ; {find} -printf '%p %C@\\n'")


def test_new_code_touches_nothing_that_runs_and_the_last_release_stays(host: Host, install: Install) -> None:
    first, code = in_use(host), content(host, in_use(host))
    install("second")
    second = in_use(host)
    assert second != first
    assert has(host, "second")
    assert content(host, first) == code
    assert host.file(f"{VENV}.previous").linked_to == first

    install("third")
    assert has(host, "third")
    assert not has(host, "second")
    assert not host.file(first).exists
    assert host.file(f"{VENV}.previous").linked_to == second

    code = content(host, second)
    install("second")
    assert in_use(host) == second
    assert content(host, second) == code


@pytest.mark.parametrize("changes", [pytest.param(2, marks=pytest.mark.slow), 4])
def test_an_installation_that_was_broken_off_is_never_in_use(
    host: Host, install: Install, changes: int
) -> None:
    before = in_use(host)
    install(f"broken_{changes}", break_off_after=changes)
    assert in_use(host) == before
    install(f"broken_{changes}")
    assert in_use(host) != before
    assert has(host, f"broken_{changes}")
    assert host.file(f"{VENV}.previous").linked_to == before
    releases = host.check_output(f"find {VENV}-* -maxdepth 0").split()
    assert sorted(releases) == sorted([before, in_use(host)])
