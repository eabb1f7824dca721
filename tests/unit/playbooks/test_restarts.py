"""A host's state says what to restart, so that no restart is lost where a run broke off."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROLES = Path(__file__).parents[3] / "ansible/roles"
GROUPS = {"kafka": ["node1"], "flink_jobmanager": ["node1"], "flink_taskmanager": ["node1"]}
Run = Callable[..., subprocess.CompletedProcess[str]]
StandIn = Callable[[str, str], None]
RUN_BASE = """
- hosts: node1
  gather_facts: false
  vars: {base_container: {rc: 0}, base_resolver: {stat: {exists: true}}}
  tasks:
    - ansible.builtin.import_role: {name: base, tasks_from: run.yml}
"""


def test_nothing_waits_for_a_notification() -> None:
    assert [str(file) for file in ROLES.glob("*/handlers")] == []
    files = [*ROLES.glob("*/tasks/*.yml"), *ROLES.parent.glob("playbooks/**/*.yml")]
    assert files
    assert [str(file) for file in files if "notify:" in file.read_text()] == []


@pytest.mark.parametrize(
    ("limit", "outdated", "expected"),
    [
        (16384, "", []),
        (
            1024,
            "systemd-journald.service /a\nsystemd-journald.service /b\nsystemd-resolved.service /c",
            ["daemon-reexec", "restart systemd-journald.service", "restart systemd-resolved.service"],
        ),
    ],
)
def test_the_system_is_brought_up_to_its_configuration_whichever_run_wrote_it(  # noqa: PLR0913, PLR0917 - fixtures
    run_playbook: Run, stand_in: StandIn, tmp_path: Path, limit: int, outdated: str, expected: list[str]
) -> None:
    show = (
        f"LoadState=loaded\\nActiveState=active\\nDefaultLimitNOFILE=524288\\nDefaultLimitNOFILESoft={limit}"
    )
    for name, script in {
        "systemctl": f'echo "$*" >> {tmp_path}/calls; printf "{show}\\n"',
        "service-inputs": f'echo "$*" >> {tmp_path}/asked; printf "{outdated}"'.replace("\n", "\\n"),
    }.items():
        stand_in(name, script)
    (tmp_path / "play.yml").write_text(RUN_BASE)
    ran = run_playbook(tmp_path / "play.yml", GROUPS)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (tmp_path / "asked").read_text() == "changed systemd-journald.service systemd-resolved.service\n"
    calls = [
        call
        for call in (tmp_path / "calls").read_text().splitlines()
        if call.startswith(("restart", "daemon-reexec"))
    ]
    assert calls == expected
    # the question, systemd, and one task for both services
    assert f"changed={3 if outdated else 0}" in ran.stdout
