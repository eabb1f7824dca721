"""Each role on hosts of its own: applied twice, the second time without a change, then looked at."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# four times what the longest takes
LONGEST_S = 2700
SCENARIOS = sorted(file.parent.name for file in ROOT.glob("molecule/*/molecule.yml"))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_role(scenario: str) -> None:
    log = ROOT / f"build/molecule/{scenario}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        ran = subprocess.run(
            ["timeout", "--kill-after=60", str(LONGEST_S), "molecule", "test", "--scenario-name", scenario],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if ran.returncode:
        ended = f"ended with {ran.returncode}" if ran.returncode != 124 else f"took more than {LONGEST_S} s"
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-200:])
        pytest.fail(
            f"molecule test -s {scenario} {ended}; all of it is in {log}\n{tail}",
            pytrace=False,
        )
