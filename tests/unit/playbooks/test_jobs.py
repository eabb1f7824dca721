"""What playbooks ask of a job: how many subtasks, and how many shards."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from flink_jobs.shards import MOST_SUBTASKS, check_shards

ANSIBLE = Path(__file__).parents[3] / "ansible"
TASKS = ANSIBLE / "playbooks/tasks/jobs.yml"
SETTINGS = yaml.safe_load((ANSIBLE / "inventory/group_vars/all/application.yml").read_text())
Run = Callable[..., subprocess.CompletedProcess[str]]
ROLE = """
- ansible.builtin.copy:
    content: "{{ {'parallelism': flink_job_properties['parallelism.default'], 'shards': flink_job_shards,
                  'shards_before': flink_job_shards_before, 'others': flink_job_others,
                  'restore': flink_job_restore, 'histories': flink_job_keeps_histories} | to_json }}"
    dest: "{{ playbook_dir }}/{{ flink_job_name }}{{ '' if flink_job_wait_for_running else '_at_once' }}.json"
    mode: "0600"
"""


def asked(
    run_playbook: Run, folder: Path, hosts: int, *arguments: str, waits: str = "[true]"
) -> dict[str, Any]:
    """Give what role flink_job is told of each job, with a TaskManager on each of so many hosts.

    Where it is told of one that is not waited for, that is under the job's name and `_at_once`.
    """
    role = folder / "roles/flink_job/tasks/main.yml"
    role.parent.mkdir(parents=True, exist_ok=True)
    role.write_text(ROLE)
    (folder / "play.yml").write_text(f"""
- hosts: flink_jobmanager
  gather_facts: false
  tasks:
    - ansible.builtin.import_tasks: {TASKS}
      vars: {{jobs_state: running, jobs_waits: {waits}}}
""")
    groups = {
        "kafka": ["node1"],
        "minio": ["node1"],
        "flink_jobmanager": ["node1"],
        "flink_taskmanager": [f"node{number}" for number in range(1, hosts + 1)],
    }
    ran = run_playbook(folder / "play.yml", groups, *arguments)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return {file.stem: json.loads(file.read_text()) for file in folder.glob("*_job*.json")}


@pytest.mark.parametrize(
    ("hosts", "arguments", "parallelism", "shards"),
    [
        (2, (), 2, 4),
        (3, (), 3, 6),
        # so that three subtasks can share them, when a TaskManager is gone
        (4, (), 4, 12),
        (11, (), 11, 110),
        # each bucket of customers is a shard: more there cannot be
        (12, (), 12, 128),
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
    assert (scoring["histories"], lake["histories"]) == (True, False)
    # the lake's job has no shards, and is not told otherwise
    assert (int(lake["parallelism"]), int(lake["shards"])) == (hosts, 0)


def test_the_role_is_told_of_the_run_s_other_jobs_and_once_to_begin_anew(
    run_playbook: Run, tmp_path: Path
) -> None:
    options = ("-e", "flink_jobs_anew=ml_inference_job", "-e", "flink_jobs_parallelism=2")
    jobs = asked(run_playbook, tmp_path, 3, *options, waits="[false, true]")
    assert {name: told["restore"] for name, told in jobs.items()} == {
        "ml_inference_job_at_once": "none",
        "ml_inference_job": "latest",
        "kafka_to_minio_job_at_once": "latest",
        "kafka_to_minio_job": "latest",
    }
    assert jobs["ml_inference_job"]["others"] == {"kafka_to_minio_job": 3}
    assert jobs["kafka_to_minio_job"]["others"] == {"ml_inference_job": 2}


def default_shards(hosts: int, per_host: int) -> int:
    """Give the number of shards of a job with a subtask on each TaskManager."""
    of = jinja2.Environment(autoescape=True).from_string(SETTINGS["flink_jobs_shards"])
    return int(of.render(flink_jobs_parallelism=str(hosts * per_host), flink_taskmanagers_per_host=per_host))


@pytest.mark.parametrize("per_host", [1, 2, 4])
def test_the_taskmanagers_that_a_lost_host_leaves_share_the_shards(per_host: int) -> None:
    for hosts in range(1, MOST_SUBTASKS // per_host + 1):
        subtasks = hosts * per_host
        shards = default_shards(hosts, per_host)
        assert shards >= 2 * subtasks, "one is gathered while the other is scored"
        check_shards(shards, subtasks)
        check_shards(shards, max(subtasks - per_host, 1))


@pytest.mark.parametrize(
    ("hosts", "per_host", "shards"),
    [
        # one TaskManager less, or one host less: five or four share these
        (3, 2, 60),
        # for seven too, there would have to be 168
        (4, 2, 24),
        (8, 2, 112),
        (4, 4, 48),
        # as before there were several on a host
        (2, 2, 12),
        (2, 4, 56),
    ],
)
def test_shards_are_few_where_hosts_have_several_taskmanagers(hosts: int, per_host: int, shards: int) -> None:
    assert default_shards(hosts, per_host) == shards
