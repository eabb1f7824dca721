"""When role `model` trains another model than the promoted one; fraud-train is a stand-in."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

Run = Callable[..., subprocess.CompletedProcess[str]]
StandIn = Callable[[str, str], None]


@pytest.mark.parametrize(
    ("variables", "unless"),
    [
        ({}, "--if-missing"),
        ({"model_until": "2025-04-18"}, "--if-changed"),
        ({"model_data": "s3://bucket/data.csv"}, "--if-changed"),
        ({"model_until": "2025-04-18", "model_replaces": False}, "--if-missing"),
        (
            {"model_data": "s3://b/a.csv", "model_columns": "event_time=step*1h@2017-01-01,amount=amt"},
            "--if-changed",
        ),
    ],
)
def test_a_promoted_model_gives_way_only_to_one_that_was_asked_for(
    run_playbook: Run, stand_in: StandIn, tmp_path: Path, variables: dict[str, Any], unless: str
) -> None:
    stand_in("systemd-run", f'echo "$@" >{tmp_path}/asked')
    role = {"ansible.builtin.import_role": {"name": "model", "tasks_from": "train.yml"}, "vars": variables}
    play = {"hosts": "training", "gather_facts": False, "tasks": [role]}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    ran = run_playbook(tmp_path / "play.yml", {"training": ["node1"]})
    assert ran.returncode == 0, ran.stdout + ran.stderr
    asked = (tmp_path / "asked").read_text().split()
    assert {argument for argument in asked if argument.startswith("--if-")} == {unless}, asked
    assert any(argument.startswith("--force=") for argument in asked) == (unless == "--if-changed"), asked
    columns = [f"--columns={variables['model_columns']}"] if "model_columns" in variables else []
    assert [argument for argument in asked if argument.startswith("--columns")] == columns
