"""What runs in the background starts although the path of the checkout has a space."""

import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_minio_is_compiled_where_the_checkouts_path_has_a_space(tmp_path: Path) -> None:
    spaced = tmp_path / "fraud detection"
    spaced.mkdir()
    (spaced / "python3").symlink_to("/usr/bin/python3")
    (spaced / "go").write_text(f"#!/bin/sh\necho \"$@\" >'{tmp_path}/compiled'\n")
    (spaced / "go").chmod(0o755)
    variables = {
        "ansible_python_interpreter": str(spaced / "python3"),
        "ansible_async_dir": str(tmp_path / "async"),
        "artifacts_minio": {"stat": {"exists": False}},
        "artifacts_minio_dir": str(tmp_path / "minio"),
    }
    background = [
        {"ansible.builtin.include_role": {"name": "artifacts", "tasks_from": "minio_start"}},
        {
            "ansible.builtin.async_status": {"jid": "{{ artifacts_minio_build.ansible_job_id }}"},
            "register": "job",
            "until": "job.finished",
            "retries": 100,
            "delay": 0.2,
        },
    ]
    play = {"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": background}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    ran = subprocess.run(
        ["ansible-playbook", "--connection=local", "--inventory=localhost,", str(tmp_path / "play.yml")],
        cwd=ROOT / "ansible",
        env=os.environ | {"PATH": f"{spaced}:{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "github.com/minio/mc" in (tmp_path / "compiled").read_text()
