"""What playbooks ask of a job: how many subtasks, and how many shards."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TASKS = Path(__file__).parents[3] / "ansible/playbooks/tasks/jobs.yml"
Run = Callable[..., subprocess.CompletedProcess[str]]
ROLE = """
- ansible.builtin.copy:
    content: "{{ {'parallelism': flink_job_properties['parallelism.default'], 'shards': flink_job_shards,
                  'shards_before': flink_job_shards_before} | to_json }}"
    dest: "{{ playbook_dir }}/{{ flink_job_name }}.json"
    mode: "0600"
"""


def asked(run_playbook: Run, folder: Path, hosts: int, *arguments: str) -> dict[str, Any]:
    """Give what role flink_job is told of each job, with a TaskManager on each of so many hosts."""
    role = folder / "roles/flink_job/tasks/main.yml"
    role.parent.mkdir(parents=True, exist_ok=True)
    role.write_text(ROLE)
    (folder / "play.yml").write_text(f"""
- hosts: flink_jobmanager
  gather_facts: false
  tasks:
    - ansible.builtin.import_tasks: {TASKS}
      vars: {{jobs_state: running, jobs_waits: [true]}}
""")
    groups = {
        "kafka": ["node1"],
        "minio": ["node1"],
        "flink_jobmanager": ["node1"],
        "flink_taskmanager": [f"node{number}" for number in range(1, hosts + 1)],
    }
    ran = run_playbook(folder / "play.yml", groups, *arguments)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return {file.stem: json.loads(file.read_text()) for file in folder.glob("*_job.json")}


@pytest.mark.parametrize(
    ("hosts", "arguments", "parallelism", "shards"),
    [
        (2, (), 2, 4),
        (3, (), 3, 6),
        # so that three subtasks can share them, when a TaskManager is gone
        (4, (), 4, 12),
        (11, (), 11, 110),
        # more would be more than there are buckets of customers
        (12, (), 12, 24),
        # the first of two steps from two TaskManagers to three
        (3, ("-e", "flink_jobs_parallelism=2", "-e", "flink_jobs_shards=6"), 2, 6),
    ],
)
def test_a_job_has_a_subtask_for_each_taskmanager_and_shards_for_one_less_too(  # noqa: PLR0913, PLR0917 - cases
    run_playbook: Run,
    tmp_path: Path,
    hosts: int,
    arguments: tuple[str, ...],
    parallelism: int,
    shards: int,
) -> None:
    jobs = asked(run_playbook, tmp_path, hosts, *arguments)
    scoring, lake = jobs["ml_inference_job"], jobs["kafka_to_minio_job"]
    assert (int(scoring["parallelism"]), int(scoring["shards"])) == (parallelism, shards)
    assert int(scoring["shards_before"]) == 4
    # the lake's job has no shards, and is not told otherwise
    assert (int(lake["parallelism"]), int(lake["shards"])) == (hosts, 0)
