"""One fault of `make faults`, chosen by chance: no record is lost, repeated in the lake, or changed."""

import json
import sys
from pathlib import Path
from random import Random
from typing import Any

from conftest import ROOT, run
from draw import seed as drawn_by

sys.path.append(str(ROOT / "tests/faults"))

from catalogue import catalogue

# those that are over within seconds
CHEAP = ("kill-", "stop-")


def test_a_fault_that_chance_chose_loses_repeats_and_changes_nothing(
    tmp_path: Path, hosts: dict[str, dict[str, Any]]
) -> None:
    chance = Random(drawn_by())  # noqa: S311 - to be repeated
    seed = chance.randrange(1_000_000)
    # a change of JobManagers takes nearly all the time that it may: test_jobs.py
    names = sorted(name for name in catalogue(hosts) if name.startswith(CHEAP) and "leader" not in name)
    name = chance.choice(names)
    # what was seen to be wrong is printed, and repeated by name and seed
    run(
        "python",
        str(ROOT / "tests/faults/faults.py"),
        "--only",
        name,
        "--seed",
        str(seed),
        "--output",
        str(tmp_path),
    )
    (row,) = json.loads((tmp_path / "faults.json").read_text())["faults"]
    assert (row["name"], row["seed"], row["problems"]) == (name, seed, [])
    assert row["acknowledged"] > 1000
    assert row["lost"] == row["missing_in_lake"] == row["repeated_in_lake"] == 0
    assert row["dark_s"] <= row["limit_s"]
