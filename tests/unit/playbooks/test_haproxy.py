"""HAProxy is reloaded or restarted by its state, one host after another."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
StandIn = Callable[[str, str], None]
GROUPS = {"minio": ["node1", "node2"], "flink_jobmanager": ["node1"], "flink_taskmanager": ["node2"]}
PLAY = """
- hosts: minio
  gather_facts: false
  any_errors_fatal: true
  vars:
    haproxy_installed: {changed: false}
    haproxy_config: {changed: false}
    haproxy_unit: {changed: false}
  tasks:
    - ansible.builtin.import_role: {name: haproxy, tasks_from: run.yml}
"""


@pytest.fixture
def calls(
    run_playbook: Run, stand_in: StandIn, tmp_path: Path
) -> Callable[..., tuple[list[str], subprocess.CompletedProcess[str]]]:
    """Run the role where a question has these answers; give what was done, on all hosts together."""

    def run(
        *arguments: str, inputs: str, read: int, ready: int = 0
    ) -> tuple[list[str], subprocess.CompletedProcess[str]]:
        log = tmp_path / "calls"
        waited = f'echo "$*" >> {log}; exit {ready}'
        for name, script in {
            "systemctl": f'echo "$*" >> {log}; printf "LoadState=loaded\\nActiveState=active\\n"',
            "service-inputs": f'printf "{inputs}"',
            "haproxy-health": f'case "$*" in *wait*) {waited} ;; *) exit {read} ;; esac',
            "journalctl": "echo cannot bind",
        }.items():
            stand_in(name, script)
        (tmp_path / "play.yml").write_text(PLAY)
        ran = run_playbook(tmp_path / "play.yml", GROUPS, *arguments)
        wanted = ("restart", "reload", "--configuration")
        return [call for call in log.read_text().splitlines() if call.startswith(wanted)], ran

    return run


@pytest.mark.parametrize(
    ("inputs", "read", "done"),
    [
        ("", 0, None),
        ("", 1, "reload haproxy.service"),
        ("haproxy.service package:haproxy", 0, "restart haproxy.service"),
        # it reads its configuration as well
        ("haproxy.service haproxy.service", 1, "restart haproxy.service"),
    ],
)
def test_one_host_waits_for_the_other(
    calls: Callable[..., tuple[list[str], subprocess.CompletedProcess[str]]],
    inputs: str,
    read: int,
    done: str | None,
) -> None:
    found, ran = calls(inputs=inputs, read=read)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert found == ([done, "--configuration --wait 30"] * 2 if done else [])


def test_a_host_that_fails_keeps_the_others_as_they_are(
    calls: Callable[..., tuple[list[str], subprocess.CompletedProcess[str]]],
) -> None:
    found, ran = calls(inputs="", read=1, ready=1)
    assert ran.returncode != 0
    assert found == ["reload haproxy.service", "--configuration --wait 30"]
    told = " ".join(ran.stdout.split())
    # whichever host comes first
    assert re.findall(r"failed: HAProxy on (node\d) does not run with /etc/haproxy/haproxy.cfg", told) in (
        ["node1"],
        ["node2"],
    ), told
    assert "cannot bind" in told


def test_a_dry_run_tells_what_it_would_reload(
    calls: Callable[..., tuple[list[str], subprocess.CompletedProcess[str]]],
) -> None:
    changed = {"haproxy_config": {"changed": True}}
    found, ran = calls("--check", "--extra-vars", json.dumps(changed), inputs="", read=0)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert found == []
    assert ran.stdout.count("changed: [node") == 4  # the question, and the reload
