"""Runs a play on this machine, for roles that make or change the machine itself."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ANSIBLE = Path(__file__).parents[3] / "ansible"
RunHere = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run_here(tmp_path: Path) -> RunHere:
    """Run tasks with variables; commands that are in `programs` come first."""

    def run(
        tasks: list[dict[str, Any]], variables: dict[str, Any], programs: Path = tmp_path
    ) -> subprocess.CompletedProcess[str]:
        play = {"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": tasks}
        (tmp_path / "play.yml").write_text(json.dumps([play]))
        return subprocess.run(
            ["ansible-playbook", "--connection=local", "--inventory=localhost,", str(tmp_path / "play.yml")],
            cwd=ANSIBLE,
            env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run
