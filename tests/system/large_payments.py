"""Payments so large that they raise alerts, whose features tell of their customers' histories."""

import json
import time
from datetime import UTC, datetime

from conftest import read_from
from kafka import KafkaProducer

from flink_jobs.domain.history import WINDOW_DAYS
from flink_jobs.domain.windows import FoldedTransactions
from flink_jobs.store.settings import Settings
from training.dataset import load


def histories_are_the_lakes(settings: Settings) -> None:
    """Let the lake's latest customers make a payment each; its features are those of all it has."""
    frame = load("s3://datalake/raw/transactions").frame.sort_values("event_time", kind="stable")
    latest = frame.drop_duplicates("customer_id", keep="last").tail(20)
    began_ms = int(time.time() * 1000)
    payments = {
        f"large-{began_ms}-{row.customer_id}": {
            "transaction_id": f"large-{began_ms}-{row.customer_id}",
            "event_time": f"{row.event_time.isoformat()}Z",
            "customer_id": row.customer_id,
            "terminal_id": row.terminal_id,
            "amount": 100_000.0,
        }
        for row in latest.itertuples()
    }
    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers.split(","))
    for payment in payments.values():
        producer.send(settings.topics.transactions, json.dumps(payment).encode())
    producer.close()
    alerts = {
        key: alert
        for key, alert in read_from(
            settings,
            settings.topics.fraud_alerts,
            began_ms,
            lambda found: payments.keys() <= {key for key, _ in found},
            timeout_s=30,
        )
        if key in payments
    }
    assert alerts, "none of the large payments raised an alert"
    for key, alert in alerts.items():
        folded = FoldedTransactions({}.get)
        for row in frame[frame["customer_id"] == payments[key]["customer_id"]].itertuples():
            folded.add("c", row.event_time.replace(tzinfo=UTC).timestamp(), row.amount, row.transaction_id)
        happened_s = datetime.fromisoformat(payments[key]["event_time"]).timestamp()
        folded.add("c", happened_s, 100_000.0, key)
        windows = folded.windows()
        counts, totals = windows.counts[-1], windows.totals[-1]
        assert counts[-1] > 1, "the lake knows nothing of the customer"
        for days, count, mean in zip(WINDOW_DAYS, counts, totals / counts, strict=True):
            seen = [alert["features"][f"customer_{what}_{days}d"] for what in ("count", "mean")]
            assert seen == [count, mean], f"{key}: {days} days"
