"""What an operator does to a running system, while transactions come in."""

import io
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import nothing_is_lost, playbook, ssh, until

from flink_jobs.domain.model import ONNX_FILE
from flink_jobs.store.lake import open_lake
from flink_jobs.store.model_registry import model_key
from flink_jobs.store.object_store import list_keys, read_object
from flink_jobs.store.release import release_key
from flink_jobs.store.settings import Settings
from training.promotions import Promotions

SETTLED_S = 15


@pytest.mark.slow
def test_a_changed_configuration_is_rolled_out_and_taken_back(
    tmp_path: Path, brokers: list[str], flink: Callable[[str], Any]
) -> None:
    def used() -> tuple[str, str]:
        """The settings that broker and JobManager run with, not those in their files."""
        broker = f"kafka-configs --describe --all --entity-type brokers --entity-name {brokers[0][4:]}"
        (backoff,) = re.findall(r"log\.cleaner\.backoff\.ms=(\d+) ", ssh(brokers[0], broker))
        config = {entry["key"]: entry["value"] for entry in flink("/jobmanager/config")}
        return backoff, config["heartbeat.interval"]

    def roll_out(**variables: object) -> None:
        for name in ("kafka", "flink", "jobs"):
            playbook(f"playbooks/{name}.yml", **variables)

    before = used()
    with nothing_is_lost(tmp_path):
        roll_out(
            kafka_properties={"log.cleaner.backoff.ms": 16000}, flink_properties={"heartbeat.interval": "6 s"}
        )
        assert used() == ("16000", "6 s")
        roll_out()
        assert used() == before != ("16000", "6 s")


def starts(hosts: dict[str, dict[str, Any]]) -> dict[tuple[str, str], str]:
    """When each service was started, by host and unit."""
    units = {
        "kafka": "kafka",
        "minio": "minio",
        "zookeeper": "zookeeper",
        "flink_jobmanager": "flink-jobmanager",
        "flink_taskmanager": "flink-taskmanager@1",
    }
    show = "systemctl show --property=ActiveEnterTimestampMonotonic --value"
    return {
        (name, units[group]): ssh(name, f"{show} {units[group]}")
        for name, host in hosts.items()
        for group in host["groups"]
        if group in units
    }


def read_all(settings: Settings) -> int:
    """How many records the lake's reader gives."""
    return sum(map(len, open_lake(settings).batches([])))


@pytest.mark.slow
def test_a_compacted_lake_has_the_same_rows_and_a_rolling_restart_loses_nothing(
    tmp_path: Path,
    settings: Settings,
    store: Any,  # noqa: ANN401 - boto3 makes its classes at run time
    hosts: dict[str, dict[str, Any]],
) -> None:
    def lake() -> tuple[int, set[tuple[int, int]], int]:
        """Files, records, and rows."""
        bucket, files, rows = settings.buckets.datalake, 0, []
        for key in list_keys(store, bucket, "raw/transactions/dt="):
            table = pq.read_table(io.BytesIO(read_object(store, bucket, key)))
            rows += zip(
                *(table[f"kafka_{name}"].to_pylist() for name in ("partition", "offset")), strict=True
            )
            files += 1
        return files, set(rows), len(rows)

    def settled() -> int:
        """How many files are so old, compared with the newest, that compaction may take them."""
        listed = store.list_objects_v2(Bucket=settings.buckets.datalake, Prefix="raw/transactions/dt=")
        ages = [file["LastModified"].timestamp() for file in listed.get("Contents", [])]
        return sum(max(ages) - age > SETTLED_S for age in ages)

    # files of several checkpoints, however long those take
    with nothing_is_lost(tmp_path):
        before_s = time.monotonic()
        assert until(lambda: settled() > 2 and time.monotonic() - before_s > 20, 180), settled()
    files, records, rows = lake()
    counted = read_all(settings)
    recap = playbook("playbooks/compact.yml", compact_settled_s=SETTLED_S)
    assert "changed=1" in recap
    # what was merged is still there, and counts by the merged file
    assert lake()[0] > files
    assert read_all(settings) == counted
    # nobody reads it
    recap = playbook("playbooks/compact.yml", compact_settled_s=SETTLED_S, compact_kept_s=0)
    assert "changed=1" in recap
    assert read_all(settings) == counted
    fewer, same_records, same_rows = lake()
    assert fewer < files
    assert same_records == records
    assert same_rows == rows
    # TaskManagers restart too: the lake's job goes on from a checkpoint, though the files it wrote are gone
    before = starts(hosts)
    with nothing_is_lost(tmp_path):
        playbook("playbooks/restart.yml")
        playbook("playbooks/health.yml")
    after = starts(hosts)
    assert len(before) >= 10
    assert [unit for unit in before if after[unit] == before[unit]] == []


def test_what_was_backed_up_comes_back(
    settings: Settings,
    store: Any,  # noqa: ANN401 - boto3 makes its classes at run time
    brokers: list[str],
) -> None:
    broker = brokers[0]
    models = settings.buckets.models
    released = Promotions(settings).releases.released()
    assert released is not None
    release, key = release_key(released.number), model_key(released.model.version, ONNX_FILE)
    known = {name: store.get_object(Bucket=models, Key=name)["Body"].read() for name in (release, key)}
    topic = settings.topics.predictions

    def retention() -> str:
        described = ssh(broker, f"kafka-topics --describe --topic {topic}")
        (found,) = re.findall(r"retention\.ms=(\d+)", described)
        return str(found)

    playbook("playbooks/backup.yml", backup_name="system-test")
    # the size stays the same; the job has read the objects before they are damaged
    damaged = {name: bytes([content[0] ^ 1]) + content[1:] for name, content in known.items()}
    before = retention()
    try:
        for name, content in damaged.items():
            store.put_object(Bucket=models, Key=name, Body=content)
        ssh(broker, f"kafka-configs --alter --topic {topic} --add-config retention.ms=3600000")
        assert retention() == "3600000" != before
        playbook("playbooks/restore.yml", backup_name="system-test")
        found = {name: store.get_object(Bucket=models, Key=name)["Body"].read() for name in known}
    finally:
        for name, content in known.items():
            store.put_object(Bucket=models, Key=name, Body=content)
    assert found == known
    assert retention() == before
