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

from flink_jobs.domain.history import WINDOW_DAYS
from flink_jobs.domain.windows import FoldedTransactions
from flink_jobs.store.settings import Settings
from training.dataset import load

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
        left = ssh(jobmanager, f"sudo mc find lab/flink/{folder} --path '*/{NAME}*/_metadata'")
        assert left == "", left


def test_state_that_is_gone_comes_back_from_the_lake(
    tmp_path: Path, flink: Flink, settings: Settings, jobmanager: str
) -> None:
    with nothing_is_lost(tmp_path):
        time.sleep(20)
        lose_state(jobmanager, flink)
        playbook("playbooks/jobs.yml")
        began_ms = int(time.time() * 1000)
        alerts = read_from(settings, settings.topics.fraud_alerts, began_ms, lambda found: len(found) >= 5)
    assert alerts, "no alert came after the state was lost"
    frame = load("s3://datalake/raw/transactions").frame
    for _, alert in alerts:
        transaction = alert["transaction"]
        happened = datetime.fromisoformat(transaction["event_time"]).astimezone(UTC).replace(tzinfo=None)
        past = frame[(frame["customer_id"] == transaction["customer_id"]) & (frame["event_time"] <= happened)]
        folded = FoldedTransactions({}.get)
        for row in past.itertuples():
            folded.add("c", row.event_time.replace(tzinfo=UTC).timestamp(), row.amount, row.transaction_id)
        windows = folded.windows()
        for number, days in enumerate(WINDOW_DAYS):
            count, total = windows.counts[-1, number], windows.totals[-1, number]
            seen = [alert["features"][f"customer_{what}_{days}d"] for what in ("count", "mean")]
            assert seen == [count, total / count], (transaction, len(past))


@pytest.mark.slow
def test_one_busy_customer_stops_nobody(tmp_path: Path, flink: Flink, settings: Settings) -> None:
    (before,) = scoring(flink)
    producer = KafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap_servers.split(","), compression_type="lz4", linger_ms=20
    )
    run_id = f"{time.time():.0f}"
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
    producer.close()
    # neither restarted nor replaced
    assert scoring(flink) == [before]
    assert flink(f"/jobs/{before}")["timestamps"]["RESTARTING"] == 0
