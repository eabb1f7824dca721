"""Each role on hosts of its own: applied twice, the second time without a change, then looked at."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# more than twice what the longest of each takes on busy cores
LONGEST_S = {"control_node": 7200}
LONGEST_OTHER_S = 2700
SCENARIOS = sorted(file.parent.name for file in ROOT.glob("molecule/*/molecule.yml"))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_role(scenario: str) -> None:
    longest_s = LONGEST_S.get(scenario, LONGEST_OTHER_S)
    log = ROOT / f"build/molecule/{scenario}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    # molecule starts pytest, which tells in the log what takes long
    options = ["--durations=0", "--durations-min=1"]
    if os.environ.get("SCENARIOS_IN_SHORT"):
        options.append("-m 'not slow'")
    with log.open("w") as output:
        ran = subprocess.run(
            ["timeout", "--kill-after=60", str(longest_s), "molecule", "test", "--scenario-name", scenario],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            env=os.environ | {"PYTEST_ADDOPTS": " ".join(options)},
        )
    if ran.returncode:
        ended = f"ended with {ran.returncode}" if ran.returncode != 124 else f"took more than {longest_s} s"
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-200:])
        pytest.fail(
            f"molecule test -s {scenario} {ended}; all of it is in {log}\n{tail}",
            pytrace=False,
        )
