"""`pytest --draw` runs a part of the tests, another one with another seed or commit."""

import os
import re
import subprocess
import sys
from pathlib import Path

SHARED = Path(__file__).parents[1] / "shared"
TESTS = """
import pytest
@pytest.mark.parametrize("number", range(9))
def test_drawn(number): pass
@pytest.mark.always
def test_always(): pass
@pytest.mark.slow
def test_slow(): pass
"""


def printed(folder: Path, *options: str, seed: str | None) -> str:
    """What pytest prints as it runs `TESTS` in a folder."""
    (folder / "test_some.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  always\n  slow\n")
    environment = {key: value for key, value in os.environ.items() if key != "FRAUD_SEED"}
    environment |= {"PYTHONPATH": str(SHARED)} | ({"FRAUD_SEED": seed} if seed else {})
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "draw", "-m", "not slow", *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    ).stdout


def ran(folder: Path, *options: str, seed: str | None) -> set[str]:
    """Names of the tests that ran."""
    return set(re.findall(r"::(test_\S+) PASSED", printed(folder, *options, seed=seed)))


EVERY = {"test_always", *(f"test_drawn[{number}]" for number in range(9))}


def test_all_run_without_a_draw_and_with_seed_all(tmp_path: Path) -> None:
    assert ran(tmp_path, seed="1") == EVERY
    assert ran(tmp_path, "--draw", "2", seed="all") == EVERY
    assert ran(tmp_path, "--draw", "20", seed="1") == EVERY


def test_a_draw_has_its_count_besides_those_marked_always_and_is_the_same_with_a_seed(tmp_path: Path) -> None:
    drawn = [ran(tmp_path, "--draw", "3", seed=seed) for seed in ("1", "1", "2")]
    assert [len(each) for each in drawn] == [4, 4, 4]
    assert all("test_always" in each for each in drawn)
    assert drawn[0] == drawn[1] != drawn[2]


def test_other_commits_draw_others(tmp_path: Path) -> None:
    def commit() -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        made = ["git", *identity, "commit", "--quiet", "--allow-empty", "--message", "x"]
        subprocess.run(made, cwd=tmp_path, check=True)

    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    seen = []
    for _ in range(4):
        commit()
        seen.append(frozenset(ran(tmp_path, "--draw", "3", seed=None)))
        assert seen[-1] == ran(tmp_path, "--draw", "3", seed=None)
    assert len(set(seen)) > 1


def test_the_seed_is_told(tmp_path: Path) -> None:
    assert "FRAUD_SEED=17" in printed(tmp_path, "--draw", "1", seed="17")
