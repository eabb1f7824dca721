"""One of two JobManagers leads; when it is gone, the other goes on with its jobs."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import Cluster, address_of, main_pid, wait_until
from testinfra.host import Host

CONVERGE = Path(__file__).parents[1] / "converge.yml"
UNIT = "flink-jobmanager"
# from when the leader is gone until the other leads; ZooKeeper waits 10 s for one that is frozen
FAILOVER_S = 30
# with fewer tries, a process's client of ZooKeeper gives up after 20 to 60 s
NO_MAJORITY_S = 120


@contextmanager
def jobs_go_on(cluster: Cluster, jobs: dict[str, str]) -> Iterator[None]:
    """Fail unless each job goes on counting after the block, as the same job, once."""
    before = {name: max(cluster.counted(name)) for name in jobs}
    yield
    for name, job_id in jobs.items():
        wait_until(lambda job_id=job_id: cluster.runs(job_id), f"{name} runs again")
        wait_until(lambda name=name: max(cluster.counted(name)) > before[name], f"{name} goes on counting")
        # its state came back: the job did not count from 1 again
        assert cluster.counted(name).count(1) == 1, name
    # whichever JobManager is asked
    for url in cluster.urls:
        wait_until(lambda url=url: answers(cluster, url), f"{url} answers", 60)
        assert cluster.names_of_running_jobs(url) == sorted(jobs)
    assert cluster.get("/overview")["taskmanagers"] == len(cluster.taskmanagers)


def answers(cluster: Cluster, url: str) -> bool:
    return bool(cluster.taskmanagers[0].run(f"curl -sf --max-time 20 {url}/overview").rc == 0)


def leading(cluster: Cluster) -> Host:
    wait_until(lambda: cluster.leader() is not None, "a JobManager leads", 60)
    leader = cluster.leader()
    assert leader is not None
    return leader


def await_another(cluster: Cluster, former: Host) -> None:
    """Wait until another JobManager than that leads; fail if it takes too long."""
    began_s = time.monotonic()
    wait_until(lambda: cluster.leader() not in (None, former), "another leads", FAILOVER_S)
    print(f"another led after {time.monotonic() - began_s:.1f} s")


def test_each_jobmanager_answers_for_the_one_that_leads(cluster: Cluster, jobs: dict[str, str]) -> None:
    assert len(cluster.urls) == 2
    for url in cluster.urls:
        assert cluster.names_of_running_jobs(url) == sorted(jobs)
    # and each host tells the same leader
    hosts = [*cluster.jobmanagers, *cluster.taskmanagers]
    assert {host.check_output("flink-leader") for host in hosts} == {address_of(leading(cluster))}


def test_when_the_leader_is_killed_another_goes_on_with_its_jobs(
    cluster: Cluster, jobs: dict[str, str]
) -> None:
    leader = leading(cluster)
    with jobs_go_on(cluster, jobs):
        leader.check_output(f"kill -9 {main_pid(leader, UNIT)}")
        await_another(cluster, leader)


@pytest.mark.slow
def test_a_leader_that_is_frozen_is_killed_before_it_can_disturb_the_next(
    cluster: Cluster, jobs: dict[str, str]
) -> None:
    leader = leading(cluster)
    pid = main_pid(leader, UNIT)
    with jobs_go_on(cluster, jobs):
        leader.check_output(f"kill -STOP {pid}")
        try:
            await_another(cluster, leader)
            wait_until(lambda: main_pid(leader, UNIT) != pid, "the frozen process is gone", 10)
        finally:
            leader.run(f"kill -CONT {pid}")
        for name, job_id in jobs.items():
            wait_until(lambda job_id=job_id: cluster.runs(job_id), f"{name} runs again")


@pytest.mark.slow
def test_a_leader_that_is_stopped_hands_over(cluster: Cluster, jobs: dict[str, str]) -> None:
    leader = leading(cluster)
    with jobs_go_on(cluster, jobs):
        leader.check_output(f"systemctl restart {UNIT}")
        await_another(cluster, leader)


@pytest.mark.slow
def test_the_last_jobmanager_that_is_left_brings_its_jobs_back_by_itself(
    cluster: Cluster, jobs: dict[str, str]
) -> None:
    leader = leading(cluster)
    (other,) = (host for host in cluster.jobmanagers if host is not leader)
    with jobs_go_on(cluster, jobs):
        other.check_output(f"systemctl stop {UNIT}")
        try:
            leader.check_output(f"kill -9 {main_pid(leader, UNIT)}")
            for name, job_id in jobs.items():
                wait_until(lambda job_id=job_id: cluster.runs(job_id), f"{name} runs again")
        finally:
            other.check_output(f"systemctl start {UNIT}")


@pytest.mark.slow
def test_a_changed_setting_restarts_one_jobmanager_at_a_time_and_stops_no_job(
    cluster: Cluster,
    jobs: dict[str, str],
    apply: Callable[..., Any],
    outages: Callable[..., AbstractContextManager[list[set[str]]]],
) -> None:
    leader = leading(cluster)
    addresses = [str(host.ansible.get_variables()["ansible_host"]) for host in cluster.jobmanagers]
    changed = {"flink_properties": {"heartbeat.interval": "6 s"}}
    with jobs_go_on(cluster, jobs):
        with outages(dict.fromkeys(addresses, 8081)) as seen:
            apply(CONVERGE, "--extra-vars", json.dumps(changed))
        assert max(map(len, seen)) == 1, seen
        assert {address for down in seen for address in down} == set(addresses)
        # who led restarted last, so the jobs were handed over once
        assert cluster.leader() not in (None, leader)


@pytest.mark.slow
def test_processes_outlast_a_zookeeper_that_has_no_majority(
    cluster: Cluster, jobs: dict[str, str], hosts_of: Callable[[str], dict[str, Host]]
) -> None:
    leading(cluster)

    def processes() -> dict[str, str]:
        hosts = {UNIT: cluster.jobmanagers, "flink-taskmanager@1": cluster.taskmanagers}
        return {address_of(host): main_pid(host, unit) for unit, some in hosts.items() for host in some}

    before = processes()
    majority = list(hosts_of("zookeeper").values())[:2]
    with jobs_go_on(cluster, jobs):
        for host in majority:
            host.check_output("systemctl stop zookeeper")
        try:
            time.sleep(NO_MAJORITY_S)
            assert processes() == before
        finally:
            for host in majority:
                host.check_output("systemctl start zookeeper")
        for name, job_id in jobs.items():
            wait_until(lambda job_id=job_id: cluster.runs(job_id), f"{name} runs again")
    # a JobManager that led before, and does not now, is killed for it
    at_work = [address_of(host) for host in (leading(cluster), *cluster.taskmanagers)]
    after = processes()
    assert {each: after[each] for each in at_work} == {each: before[each] for each in at_work}
