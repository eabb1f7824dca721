"""Histories of customers: they come back from the lake, and one busy customer stops nobody."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import nothing_is_lost, playbook, read_from, ssh, until
from kafka import KafkaProducer
from large_payments import histories_are_the_lakes

from flink_jobs.store.settings import Settings

Flink = Callable[[str], Any]
NAME = "ml_inference_job"
BUSY = 100_000


def scoring(flink: Flink) -> list[str]:
    """Ids of the scoring jobs that run."""
    return [
        job["jid"]
        for job in flink("/jobs/overview")["jobs"]
        if job["name"] == NAME and job["state"] == "RUNNING"
    ]


def lose_state(jobmanager: str, flink: Flink) -> None:
    """End the job, and delete all that it could begin with."""
    (job_id,) = scoring(flink)
    ssh(jobmanager, f"flink cancel {job_id}")
    assert until(lambda: not scoring(flink))
    for folder in ("checkpoints", "savepoints"):
        ssh(jobmanager, f"sudo mc rm --recursive --force lab/flink/{folder}/{NAME}.form2/ >&2 || true")
    # of the bucket, as a lab just made has no folder of savepoints
    left = ssh(jobmanager, f"sudo mc find lab/flink --path '*/{NAME}*/_metadata'")
    assert left == "", left


def test_state_that_is_gone_comes_back_from_the_lake(
    tmp_path: Path, flink: Flink, settings: Settings, jobmanager: str
) -> None:
    with nothing_is_lost(tmp_path):
        time.sleep(20)
        try:
            lose_state(jobmanager, flink)
        finally:
            # tests that follow need the job, whatever became of this one
            playbook("playbooks/jobs.yml")
    histories_are_the_lakes(settings)


@pytest.mark.slow
def test_one_busy_customer_stops_nobody(tmp_path: Path, flink: Flink, settings: Settings) -> None:
    (before,) = scoring(flink)
    producer = KafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap_servers.split(","), compression_type="lz4", linger_ms=20
    )
    began_ms = int(time.time() * 1000)
    run_id = str(began_ms)

    def all_are_scored(found: list[Any]) -> bool:
        return any(each["transaction_id"] == f"busy-{run_id}-{BUSY - 1}" for _, each in found[-20_000:])

    with nothing_is_lost(tmp_path):
        for number in range(BUSY):
            record = {
                "transaction_id": f"busy-{run_id}-{number}",
                "event_time": datetime.now(UTC).isoformat(),
                "customer_id": f"guest-{run_id}",
                "terminal_id": "1",
                "amount": 1.0,
            }
            producer.send(settings.topics.transactions, json.dumps(record).encode())
        producer.flush()
        predictions = read_from(
            settings, settings.topics.predictions, began_ms, all_are_scored, timeout_s=240
        )
    producer.close()
    assert all_are_scored(predictions), "the busy customer's last payment has no prediction"
    # neither restarted nor replaced
    assert scoring(flink) == [before]
    assert flink(f"/jobs/{before}")["timestamps"]["RESTARTING"] == 0
