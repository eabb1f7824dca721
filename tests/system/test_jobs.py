"""A failure elsewhere leaves jobs alone; a job that is replaced keeps its state."""

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, longest_darkness, nothing_is_lost, playbook, ssh, until

from flink_jobs.store.settings import Settings

Flink = Callable[[str], Any]
# how long scoring may stop when the JobManager that leads is killed
DARK_S = 30
JOBS = ["kafka_to_minio_job", "ml_inference_job"]


def jobs(flink: Flink) -> dict[str, str]:
    """Names of the jobs that run, by id."""
    found = flink("/jobs/overview")["jobs"]
    return {job["jid"]: job["name"] for job in found if job["state"] == "RUNNING"}


def test_training_that_fails_leaves_the_jobs_running(flink: Flink) -> None:
    before = jobs(flink)
    assert sorted(before.values()) == JOBS
    # for the changed property, JobManagers would have to restart
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
    assert sorted(jobs(flink).values()) == JOBS


@pytest.mark.always
def test_no_process_that_scores_keeps_what_it_would_tell_the_maker_of_a_library(
    hosts: dict[str, dict[str, Any]],
) -> None:
    """Lets onnxruntime's store of such reports stand for them: whoever writes reports has it open."""
    scoring = []
    for host in (name for name, host in hosts.items() if "flink_taskmanager" in host["groups"]):
        process = ssh(host, "systemctl show --property MainPID --value flink-taskmanager@1").strip()
        mapped = ssh(host, f"sudo cat /proc/{process}/maps")
        opened = ssh(host, f"sudo ls -l /proc/{process}/fd")
        scoring += [host] * ("onnxruntime_pybind11_state" in mapped)
        assert ".onnxruntime/" not in opened, f"{host}:\n{opened}"
    assert scoring, "no TaskManager has loaded onnxruntime"


def test_the_states_indexes_are_divided_and_filtered(hosts: dict[str, dict[str, Any]]) -> None:
    """RocksDB writes down with what it works, for each column of a state, beside it."""
    wanted = {
        "index_type": "kTwoLevelIndexSearch",
        "filter_policy": "bloomfilter",
        "partition_filters": "true",
    }
    find = "sudo find /var/lib/flink -path '*EmbeddedPythonKeyedProcessOperator*' -name 'OPTIONS-*'"
    told = ""
    for host in (name for name, host in hosts.items() if "flink_taskmanager" in host["groups"]):
        told += ssh(host, f"{find} | sudo xargs --no-run-if-empty cat")
    for option, value in wanted.items():
        found = set(re.findall(rf"^\s*{option}=(\w+)", told, re.MULTILINE))
        assert found == {value}, option


def test_a_taskmanager_tells_its_threads_and_goes_on(flink: Flink, hosts: dict[str, dict[str, Any]]) -> None:
    """Also after a job was there that is gone: threads of its Python ended the process."""
    unit = "flink-taskmanager@1"

    def process(host: str) -> str:
        return ssh(host, f"systemctl show --property MainPID --value {unit}").strip()

    playbook("playbooks/jobs.yml", flink_jobs_state="stopped")
    playbook("playbooks/jobs.yml")
    before = jobs(flink)
    taskmanagers = [name for name, host in hosts.items() if "flink_taskmanager" in host["groups"]]
    assert taskmanagers
    for host in taskmanagers:
        asked = process(host)
        ssh(host, f"sudo systemctl kill --signal=QUIT --kill-whom=main {unit}")
        dumped = f"sudo journalctl _PID={asked} | grep --count 'JNI global ref' || true"
        assert until(lambda host=host, dumped=dumped: int(ssh(host, dumped)) > 0, 20), "no thread is told"
        assert process(host) == asked
    assert jobs(flink) == before
    assert sorted(before.values()) == JOBS


# on two cores that all hosts share, it takes nearly all the time that it may
@pytest.mark.slow
def test_jobs_outlive_the_jobmanager_that_leads(
    tmp_path: Path,
    flink: Flink,
    settings: Settings,
    hosts: dict[str, dict[str, Any]],
    jobmanagers: list[str],
) -> None:
    def leader() -> str:
        """Name of the host whose JobManager leads."""
        url = ssh(jobmanagers[-1], "flink-leader --wait 60").strip()
        return next(name for name in jobmanagers if url == f"http://{hosts[name]['ip']}:8081")

    def run() -> bool:
        """Whether every task of both jobs runs."""
        try:
            found = jobs(flink)
            return sorted(found.values()) == JOBS and all(
                vertex["status"] == "RUNNING" for job in found for vertex in flink(f"/jobs/{job}")["vertices"]
            )
        except OSError:
            return False

    assert len(jobmanagers) > 1
    before, former = jobs(flink), leader()
    with nothing_is_lost(tmp_path):
        assert until(run)
        with longest_darkness(settings) as dark:
            time.sleep(10)
            ssh(former, "sudo systemctl kill --signal=KILL flink-jobmanager")
            assert until(lambda: leader() != former)
            time.sleep(5)
            assert until(run)
            time.sleep(10)
    assert 1 < dark[0] <= DARK_S, dark
    # the same jobs, each once, whichever JobManager is asked
    assert jobs(flink) == before
    assert leader() != former
    assert until(lambda: "healthy" in ssh(former, "sudo flink-health --wait 60"))


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
