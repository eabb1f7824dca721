"""Hosts come, go and are lost, while transactions come in. The tests build on each other, in this order."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from conftest import (
    assert_unchanged,
    lab_hosts,
    nothing_is_lost,
    playbook,
    run,
    ssh,
    terraform,
    until,
    voters,
)

from flink_jobs.store.object_store import s3_client
from flink_jobs.store.settings import Settings

pytestmark = pytest.mark.slow
APPLY = ("apply", "-auto-approve", "-input=false")
JOBS = {"ml_inference_job", "kafka_to_minio_job"}


def replicas(broker: str) -> dict[str, Counter[str]]:
    """How many replicas of each topic a broker keeps; three of each partition, all in sync."""
    kept: dict[str, Counter[str]] = {}
    for line in ssh(broker, "kafka-topics --describe").splitlines():
        if found := re.search(r"Topic: (\S+)\tPartition: .*Replicas: ([\d,]+)\tIsr: ([\d,]+)", line):
            topic, assigned, in_sync = found[1], found[2].split(","), found[3].split(",")
            assert len(assigned) == 3, line
            assert set(assigned) == set(in_sync), line
            kept.setdefault(topic, Counter()).update(assigned)
    assert "transactions" in kept, "kafka-topics no longer writes what this reads"
    return kept


def running(flink: Callable[[str], Any]) -> dict[str, str]:
    """Where Flink tells of each running job, by its name."""
    jobs = flink("/jobs/overview")["jobs"]
    return {job["name"]: f"/jobs/{job['jid']}" for job in jobs if job["state"] == "RUNNING"}


def parallelism(flink: Callable[[str], Any]) -> dict[str, int]:
    """How many subtasks each running job has at most."""
    return {
        name: max(vertex["parallelism"] for vertex in flink(job)["vertices"])
        for name, job in running(flink).items()
    }


def scored(flink: Callable[[str], Any]) -> list[int]:
    """How many records each subtask that scores has read since its job began or resumed."""
    job = running(flink)["ml_inference_job"]
    (vertex,) = (vertex for vertex in flink(job)["vertices"] if "score" in vertex["name"])
    subtasks = flink(f"{job}/vertices/{vertex['id']}")["subtasks"]
    return [subtask["metrics"]["read-records"] for subtask in subtasks]


def test_brokers_and_taskmanagers_are_added(
    tmp_path: Path, brokers: list[str], flink: Callable[[str], Any]
) -> None:
    before = voters(brokers[0])
    with nothing_is_lost(tmp_path):
        terraform(*APPLY, "-var-file=grown.tfvars")
        playbook("site.yml")
        playbook("playbooks/rebalance.yml")
        playbook("playbooks/health.yml")
        assert flink("/overview")["taskmanagers"] == 4
        # nothing is lost, so the state came along
        assert parallelism(flink) == dict.fromkeys(JOBS, 4)
        # each subtask scores
        assert until(lambda: min(scored(flink)) > 0), scored(flink)
        for topic, kept in replicas(brokers[0]).items():
            counts = [kept[str(broker)] for broker in (1, 2, 3, 5)]
            assert max(counts) - min(counts) <= 1, f"{topic}: {kept}"
        assert voters(brokers[0]) == before
    assert_unchanged(playbook("playbooks/rebalance.yml"))


def test_brokers_and_taskmanagers_are_taken_out(
    tmp_path: Path,
    hosts: dict[str, dict[str, Any]],
    brokers: list[str],
    flink: Callable[[str], Any],
) -> None:
    leaving = sorted(set(lab_hosts()) - set(hosts))
    with nothing_is_lost(tmp_path):
        playbook("playbooks/remove.yml", remove_host=",".join(leaving))
        registered = ssh(brokers[0], "kafka-cluster list-endpoints --include-fenced-brokers")
        assert re.findall(r"^(\d+)\s", registered, re.MULTILINE) == ["1", "2", "3"], registered
        # the jobs have moved before the hosts go
        assert parallelism(flink) == dict.fromkeys(JOBS, 2)
        terraform(*APPLY)
        playbook("site.yml")
        playbook("playbooks/health.yml")
    assert lab_hosts() == hosts
    assert parallelism(flink) == dict.fromkeys(JOBS, 2)
    assert {broker for kept in replicas(brokers[0]).values() for broker in kept} == {"1", "2", "3"}


@pytest.mark.parametrize("group", ["flink_taskmanager", "flink_jobmanager"])
def test_a_lost_host_is_made_again(
    tmp_path: Path,
    settings: Settings,
    hosts: dict[str, dict[str, Any]],
    flink: Callable[[str], Any],
    group: str,
) -> None:
    lost = next(name for name, host in hosts.items() if group in host["groups"])
    others = [name for name, host in hosts.items() if "minio" in host["groups"] and name != lost]
    broker = next(name for name in others if "kafka" in hosts[name]["groups"])

    def store(name: str) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
        url = f"http://{hosts[name]['ip']}:9000"
        return s3_client(msgspec.structs.replace(settings.s3, endpoint_url=url, endpoint_urls=()))

    bucket, keys = settings.buckets.features, [f"system-test/{when}-{lost}" for when in ("before", "while")]
    with nothing_is_lost(tmp_path):
        store(others[0]).put_object(Bucket=bucket, Key=keys[0], Body=b"x" * 300_000)
        run("incus", "delete", "--force", lost)
        store(others[0]).put_object(Bucket=bucket, Key=keys[1], Body=b"x" * 300_000)
        # without --limit, site.yml changes nothing on the others and says how to go on
        refused = playbook("site.yml", codes=(2, 4))
        assert f"--limit 'all:localhost:!{lost}'" in " ".join(refused.split())
        playbook("site.yml", "--limit", f"all:localhost:!{lost}")
        assert all(lost in ssh(name, "cat /etc/hosts") for name in others)
        if group == "flink_taskmanager":
            # the jobs run on the TaskManager that is left
            assert until(lambda: parallelism(flink) == dict.fromkeys(JOBS, 1)), parallelism(flink)
        missing = " ".join(playbook("playbooks/health.yml", codes=(2, 4, 6), health_timeout_s=2).split())
        assert f"{hosts[lost]['ip']}:9000 is missing from MinIO" in missing
        assert f"HAProxy sees {lost} down" in missing
        terraform(*APPLY)
        playbook("site.yml")
        playbook("playbooks/health.yml")

    assert {number for kept in replicas(broker).values() for number in kept} == {"1", "2", "3"}
    assert len(voters(broker)) == 3
    assert flink("/overview")["taskmanagers"] == 2
    assert set(parallelism(flink)) == JOBS
    # Reading takes half of the drives: with two others down, the new host's must have been healed.
    down = others[:2]
    try:
        for name in down:
            ssh(name, "sudo systemctl stop minio")
        for name in {lost, *others} - set(down):
            for key in keys:
                assert store(name).get_object(Bucket=bucket, Key=key)["Body"].read() == b"x" * 300_000
    finally:
        for name in down:
            ssh(name, "sudo systemctl start minio")
    playbook("playbooks/health.yml")
    for key in keys:
        store(lost).delete_object(Bucket=bucket, Key=key)
