"""A job runs with the code that it was submitted from, or not at all."""

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

from flink_jobs import installation
from flink_jobs.installation import INSTALLATION, check_installation, installation_of

PACKAGE = Path(installation.__file__).parent


def installed(folder: Path) -> Path:
    """Install a copy of the package."""
    package = folder / "flink_jobs"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    return package


def opened_in(folder: Path, plan: bytes) -> str:
    """Open a plan's operator in a process with the packages of `folder`; return the error that ends it."""
    program = "import pickle, sys; pickle.load(sys.stdin.buffer).open(None)"
    ran = subprocess.run(
        [sys.executable, "-c", program],
        input=plan,
        capture_output=True,
        check=False,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
    )
    return ran.stderr.decode().splitlines()[-1]


def plan_of(folder: Path) -> bytes:
    program = (
        "import pickle, sys; from flink_jobs.score_batches import ScoreBatches;"
        "sys.stdout.buffer.write(pickle.dumps(ScoreBatches(None, 4)))"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
    ).stdout


def test_a_task_meets_its_own_installation_or_says_what_to_do(tmp_path: Path) -> None:
    old, new, same = (tmp_path / name for name in ("venv-1", "venv-2", "link"))
    for folder in (old, new):
        installed(folder)
    same.symlink_to(old)
    plan = plan_of(old)
    # it gets as far as the settings, of which there are none
    for folder in (old, same):
        assert "SettingsError" in opened_in(folder, plan)
    refusal = opened_in(new, plan)
    assert "OtherInstallationError" in refusal
    for part in (str(old), str(new), "playbooks/jobs.yml"):
        assert part in refusal


def test_code_that_changed_in_its_place_is_another_installation(tmp_path: Path) -> None:
    package = installed(tmp_path)
    before = installation_of(package)
    assert installation_of(package) == before
    (package / "domain/features.py").open("a").write("\n")
    assert installation_of(package) != before


def test_a_process_keeps_the_installation_that_it_imported(tmp_path: Path) -> None:
    installed(tmp_path)
    program = (
        "import flink_jobs.installation as installation, pathlib;"
        "pathlib.Path('flink_jobs/words.py').write_text('');"
        "installation.check_installation(installation.INSTALLATION);"
        "print(installation.installation_of(pathlib.Path('flink_jobs')) == installation.INSTALLATION)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert ran.stdout == "False\n"


def test_one_installation_is_the_same_in_each_process() -> None:
    program = "from flink_jobs.installation import INSTALLATION; print(INSTALLATION)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == INSTALLATION
    check_installation(pickle.loads(pickle.dumps(INSTALLATION)))  # noqa: S301 - of our own
