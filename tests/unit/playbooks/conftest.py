"""Runs playbooks on hosts that are all this machine, under other names."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ANSIBLE = Path(__file__).parents[3] / "ansible"
Run = Callable[..., subprocess.CompletedProcess[str]]
StandIn = Callable[[str, str], None]


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    """Put a shell script in a command's place, for `run_playbook`."""

    def put(name: str, script: str) -> None:
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    return put


@pytest.fixture
def run_playbook(tmp_path: Path) -> Run:
    """Run a playbook on groups of hosts; commands that are in tmp_path/bin come first."""

    def run(
        playbook: Path, groups: dict[str, list[str]], *arguments: str
    ) -> subprocess.CompletedProcess[str]:
        hosts = {
            name: {
                "ansible_host": f"192.0.2.{name[4:]}",
                "ansible_connection": "local",
                "ansible_become": False,
                "node_index": int(name[4:]),
            }
            for members in groups.values()
            for name in members
        }
        children = {name: {"hosts": {member: {} for member in members}} for name, members in groups.items()}
        children["flink"] = {"children": {"flink_jobmanager": {}, "flink_taskmanager": {}}}
        inventory = tmp_path / "hosts.yml"
        inventory.write_text(yaml.safe_dump({"all": {"hosts": hosts, "children": children}}))
        if not (tmp_path / "group_vars").exists():
            (tmp_path / "group_vars").symlink_to(ANSIBLE / "inventory/group_vars")
        return subprocess.run(
            ["ansible-playbook", "--inventory", str(inventory), str(playbook), *arguments],
            cwd=ANSIBLE,
            env=os.environ | {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "ANSIBLE_FORCE_COLOR": "0"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run
