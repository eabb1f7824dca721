"""When zookeeper-restart restarts its member, with stand-ins for the probe and systemd."""

import subprocess
from pathlib import Path

import pytest
from test_templates import ROLES, render


@pytest.mark.parametrize(
    ("arguments", "answers", "status", "calls"),
    [
        # one that follows
        (
            ["--unless-leader"],
            {"--leader": "2"},
            0,
            ["--member", "--leader", "--without", "restart", "--member"],
        ),
        (["--unless-leader"], {"--leader": "1"}, 0, ["--member", "--leader"]),
        ([], {}, 0, ["--member", "--without", "restart", "--member"]),
        # the others need it
        (["--wait", "0"], {"--without": "exit 1"}, 1, ["--member", "--without"]),
        # it does not serve
        ([], {"--member": "[ -e restarted ] || exit 1"}, 0, ["--member", "restart", "--member"]),
        # nor does it afterwards
        ([], {"--member": "exit 1"}, 1, ["--member", "restart", "--member"]),
    ],
)
def test_a_member_is_restarted_if_the_others_can_spare_it(
    tmp_path: Path,
    arguments: list[str],
    answers: dict[str, str],
    status: int,
    calls: list[str],
) -> None:
    told = "".join(
        f"{question}) {answer if ' ' in answer else f'echo {answer}'} ;;\n"
        for question, answer in answers.items()
    )
    for name, program in {
        "zookeeper-health": f'echo "$1" >> calls\ncase $1 in\n{told}esac',
        "systemctl": '[ "$1" != restart ] || { echo restart >> calls; touch restarted; }',
        "journalctl": "echo the end of the journal",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / name).chmod(0o755)
    script = tmp_path / "restart.sh"
    script.write_text(render(ROLES / "zookeeper/templates/zookeeper-restart.sh.j2"))
    ran = subprocess.run(
        ["bash", str(script), *arguments],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == status, ran.stderr
    assert (tmp_path / "calls").read_text().split() == calls
    assert ("leads" in ran.stdout) is (answers.get("--leader") == "1")
