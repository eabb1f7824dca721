"""Molecule leaves alone what it did not make, whatever its name: with Incus itself."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTANCE = "fraud-molecule-base-1"
POOL = "fraud"


def incus(*arguments: str) -> str:
    ran = subprocess.run(
        ["incus", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, f"incus {' '.join(arguments)}: {ran.stderr}"
    return ran.stdout


def molecule(step: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["molecule", step, "--scenario-name", "base"],
        cwd=ROOT,
        env=os.environ | {"ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def made_at() -> list[str]:
    return [found["created_at"] for found in json.loads(incus("list", "--format=json", f"^{INSTANCE}$"))]


@pytest.fixture(params=["nobody", "another checkout"])
def foreign(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Make an instance with the name of scenario base's host; give its owner."""
    owner = str(tmp_path) if request.param == "another checkout" else ""
    molecule("destroy")
    tag = [f"--config=user.fraud_owner={owner}"] if owner else []
    incus("init", "--empty", "--quiet", "--no-profiles", f"--storage={POOL}", *tag, INSTANCE)
    yield owner
    incus("delete", "--force", INSTANCE)
    # so that Molecule forgets the host that it could not make
    molecule("destroy")


def test_a_host_of_somebody_else_stays(foreign: str) -> None:
    before = made_at()
    assert len(before) == 1

    created = molecule("create")
    assert created.returncode != 0
    told = " ".join(created.stdout.split())
    assert f"Incus has an instance {INSTANCE} already" in told
    assert (f"it belongs to {foreign}" if foreign else "something else made it") in told
    assert made_at() == before

    molecule("reset")
    destroyed = molecule("destroy")
    assert destroyed.returncode == 0, destroyed.stdout
    assert made_at() == before
