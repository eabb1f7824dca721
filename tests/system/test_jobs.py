"""A failure elsewhere leaves jobs alone; a job that is replaced keeps its state."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, nothing_is_lost, playbook

Flink = Callable[[str], Any]


def jobs(flink: Flink) -> dict[str, str]:
    """Names of the jobs that run, by id."""
    found = flink("/jobs/overview")["jobs"]
    return {job["jid"]: job["name"] for job in found if job["state"] == "RUNNING"}


def test_training_that_fails_leaves_the_jobs_running(flink: Flink) -> None:
    before = jobs(flink)
    assert sorted(before.values()) == ["kafka_to_minio_job", "ml_inference_job"]
    # for the changed property, the JobManager would have to restart, and would forget its jobs
    told = playbook(
        "site.yml",
        codes=(2,),
        training_until="no-time",
        flink_properties={"heartbeat.interval": "6 s"},
    )
    assert "Train and promote a model" in told
    assert "no-time" in told
    assert jobs(flink) == before
    config = {entry["key"]: entry["value"] for entry in flink("/jobmanager/config")}
    assert config["heartbeat.interval"] == "5 s"


def test_two_runs_at_once_start_each_job_once(flink: Flink) -> None:
    playbook("playbooks/jobs.yml", flink_jobs_state="stopped")
    assert jobs(flink) == {}
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(playbook, "playbooks/jobs.yml") for _ in range(2)]
    for run in runs:
        run.result()
    assert sorted(jobs(flink).values()) == ["kafka_to_minio_job", "ml_inference_job"]


@pytest.mark.slow
def test_changed_settings_restart_the_jobs_with_their_state(tmp_path: Path, flink: Flink) -> None:
    described = ROOT / "ansible/inventory/group_vars/all/buckets.yml"
    buckets = yaml.safe_load(described.read_text())["buckets"]
    with nothing_is_lost(tmp_path):
        for changed in ({"buckets": {**buckets, "reports": {}}}, {}):
            before = jobs(flink)
            playbook("playbooks/flink.yml", **changed)
            # stopped with a savepoint, before the TaskManagers came back
            states = {job["jid"]: job["state"] for job in flink("/jobs/overview")["jobs"]}
            assert {states[job_id] for job_id in before} == {"FINISHED"}
            playbook("playbooks/jobs.yml", **changed)
            after = jobs(flink)
            assert sorted(after.values()) == sorted(before.values())
            for job_id, name in after.items():
                restored = flink(f"/jobs/{job_id}/checkpoints")["latest"]["restored"]
                # from form 2 on, the folder says in which form the job keeps its state
                assert re.match(rf"s3://flink/savepoints/{name}(\.form\d+)?/", restored["external_path"])
