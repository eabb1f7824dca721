"""What holds for the cluster as a whole."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from conftest import Cluster, rpc_port, wait_until

CONVERGE = Path(__file__).parents[1] / "converge.yml"
HEALTH = Path(__file__).parents[3] / "ansible/playbooks/health.yml"
DATA_PORT = 6140


def test_every_taskmanager_is_registered(cluster: Cluster) -> None:
    overview = cluster.get("/overview")
    assert overview["taskmanagers"] == len(cluster.taskmanagers)
    assert overview["slots-total"] == 2 * len(cluster.taskmanagers)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/jars"),
        ("POST", "/jars/upload"),
        ("POST", "/jars/any.jar/plan"),
        ("POST", "/jars/any.jar/run"),
        ("POST", "/jars/any.jar/run-application"),
        ("DELETE", "/jars/any.jar"),
    ],
)
def test_jars_cannot_be_listed_uploaded_run_or_deleted(cluster: Cluster, method: str, path: str) -> None:
    # what Flink answers where it serves no such path; if it did, it would miss the jar, with another status
    answer, status = cluster.answer(f"--request {method}", path)
    assert status == 404
    assert f"Not found: {path}" in answer or f"Unable to load requested file {path}" in answer


@pytest.mark.parametrize("name", ["molecule-upload.jar", "../../../../../tmp/molecule-upload.jar"])
def test_the_page_takes_no_jar(cluster: Cluster, name: str) -> None:
    jar = f"--form 'jarfile=@/etc/hostname;filename={name};type=application/x-java-archive'"
    answer, status = cluster.answer(jar, "/jars/upload")
    assert (status, json.loads(answer)) == (400, {"errors": ["POST request not allowed"]})
    # find's status says nothing: it complains of files that vanish while it looks
    assert cluster.jobmanager.run("find / -xdev -name '*molecule-upload*'").stdout == ""


def test_who_reaches_the_port_may_submit_a_job(cluster: Cluster) -> None:
    """`flink run` submits without credentials, and so does anybody: only the network keeps others out."""
    wanted = '{"jobGraphFileName": "hostname", "jobJarFileNames": [], "jobArtifactFileNames": []}'
    job = f"--form 'request={wanted};type=application/json' --form file_0=@/etc/hostname"
    answer, status = cluster.answer(job, "/jobs")
    # Flink read the request, and only then found no job in it
    assert status == 400
    assert "Failed to deserialize ExecutionPlan" in answer


def test_each_job_spreads_over_all_taskmanagers(cluster: Cluster, jobs: dict[str, str]) -> None:
    for name, job_id in jobs.items():
        places = {task["taskmanager-id"] for task in cluster.tasks(job_id)}
        assert len(places) == len(cluster.taskmanagers), name


def test_checkpoints_reach_object_storage(cluster: Cluster, jobs: dict[str, str]) -> None:
    def path(job_id: str) -> str:
        completed = cluster.get(f"/jobs/{job_id}/checkpoints")["latest"]["completed"]
        return completed["external_path"] if completed else ""

    for name, job_id in jobs.items():
        wait_until(
            lambda job_id=job_id: path(job_id).startswith("s3://flink/checkpoints/"), f"checkpoint of {name}"
        )


def test_jobs_survive_the_death_of_a_taskmanager(cluster: Cluster, jobs: dict[str, str]) -> None:
    victim = cluster.taskmanagers[0]
    first = next(iter(jobs))
    before = max(cluster.counted(first))
    pid = victim.check_output("systemctl show --property=MainPID --value flink-taskmanager@1")
    victim.check_output(f"kill -9 {pid}")
    for name, job_id in jobs.items():
        wait_until(lambda job_id=job_id: not cluster.runs(job_id), f"{name} notices")
    for name, job_id in jobs.items():
        wait_until(lambda job_id=job_id: cluster.runs(job_id), f"{name} runs again")
    wait_until(lambda: max(cluster.counted(first)) > before, f"{first} goes on counting")
    # Its state came back: the job did not count from 1 again.
    assert cluster.counted(first).count(1) == 1


def test_a_taskmanager_that_just_died_is_reported(
    cluster: Cluster, jobs: dict[str, str], apply: Callable[..., Any]
) -> None:
    """The probe does so while the JobManager still has it registered, and until its tasks run again."""
    victim = cluster.taskmanagers[0]
    pid = victim.check_output("systemctl show --property=MainPID --value flink-taskmanager@1")
    victim.check_output(f"kill -9 {pid} && systemctl stop flink-taskmanager@1")
    try:
        believed, probe = cluster.registered_port(victim), victim.run("flink-health")
        assert believed, "the JobManager has noticed already, so the probe was not tested"
        assert probe.rc == 1
        assert "flink-taskmanager@1 does not run" in probe.stdout
    finally:
        victim.check_output("systemctl start flink-taskmanager@1")
    apply(HEALTH, "--extra-vars", json.dumps({"health_jobs_expected": list(jobs)}))
    assert cluster.registered_port(victim) == rpc_port(victim) != ""
    for name, job_id in jobs.items():
        assert cluster.runs(job_id), name


@pytest.mark.slow
def test_a_changed_setting_restarts_one_taskmanager_at_a_time(
    cluster: Cluster,
    jobs: dict[str, str],
    apply: Callable[..., Any],
    outages: Callable[..., AbstractContextManager[list[set[str]]]],
) -> None:
    addresses = [str(host.ansible.get_variables()["ansible_host"]) for host in cluster.taskmanagers]
    first = next(iter(jobs))
    before = max(cluster.counted(first))
    with outages(dict.fromkeys(addresses, DATA_PORT)) as seen:
        apply(CONVERGE, "--extra-vars", json.dumps({"flink_python_memory_mb": 510}))
    assert max(map(len, seen)) == 1, seen
    assert {address for down in seen for address in down} == set(addresses)
    for name, job_id in jobs.items():
        wait_until(lambda job_id=job_id: cluster.runs(job_id), f"{name} runs again")
    wait_until(lambda: max(cluster.counted(first)) > before, f"{first} goes on counting")
    assert cluster.counted(first).count(1) == 1


@pytest.mark.slow
def test_the_next_run_completes_one_that_broke_off(
    cluster: Cluster,
    apply: Callable[..., Any],
    breaks: Callable[[int, int], list[int]],
    up_to_date: Callable[..., bool],
) -> None:
    # on each: configuration, unit, the question what to restart, and the restart
    for changes in breaks(8, 1):
        changed = json.dumps({"flink_python_memory_mb": 510 + changes})
        apply(CONVERGE, "--extra-vars", changed, break_off_after=changes)
        apply(CONVERGE, "--extra-vars", changed)
        for host in cluster.taskmanagers:
            assert up_to_date(host, "flink-taskmanager@1", "/etc/flink/*", "/opt/flink")


def test_a_taskmanager_where_python_cannot_start_is_restarted(cluster: Cluster) -> None:
    host, unit, show = cluster.taskmanagers[0], "flink-taskmanager@1", "systemctl show --value --property"
    before = host.check_output(f"{show} MainPID {unit}")
    # the journal tells whose lines they are by the writer's control group: this writes as the TaskManager
    group = host.check_output(f"{show} ControlGroup {unit}")
    lines = [
        "java.lang.Error: java.lang.InterruptedException",
        "at pemja.core.PythonInterpreter$MainInterpreter.initialize(PythonInterpreter.java:406)",
    ]
    write = f"import syslog, time; [syslog.syslog(line) for line in {json.dumps(lines)}]; time.sleep(1)"
    # the restart may end this command, so its status says nothing
    host.run(
        "sh -c %s",
        "for root in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do"
        f" if [ -d $root'{group}' ]; then echo $$ > $root'{group}'/cgroup.procs; fi; done;"
        f" exec python3 -c '{write}'",
    )
    wait_until(
        lambda: host.check_output(f"{show} MainPID {unit}") not in (before, "0"), "it is restarted", 60
    )
    assert host.check_output("flink-health --wait 120") == "healthy"
