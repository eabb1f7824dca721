"""What runs in the background starts although the path of the checkout has a space."""

import subprocess
from collections.abc import Callable
from pathlib import Path

RunHere = Callable[..., subprocess.CompletedProcess[str]]


def test_minio_is_compiled_where_the_checkouts_path_has_a_space(tmp_path: Path, run_here: RunHere) -> None:
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
    ran = run_here(background, variables, spaced)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "github.com/minio/mc" in (tmp_path / "compiled").read_text()
