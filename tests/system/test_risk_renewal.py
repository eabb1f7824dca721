"""Labels change the features of the terminal's next transaction, by the renewal that a timer runs."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from conftest import read_from, run, ssh, until
from kafka import KafkaProducer
from test_models import wait_until_served

from flink_jobs.domain.features import FEATURE_NAMES, TERMINAL_FEATURES
from flink_jobs.store.model_registry import ModelRegistry
from flink_jobs.store.settings import Settings
from training.promotions import Promotions

PAYMENTS = 20
SERVICE = "risk-renewal.service"
TOLD = [feature.name for feature in TERMINAL_FEATURES]


@pytest.fixture
def released_is_kept(settings: Settings) -> Iterator[None]:
    """Release again, when the test is over, what was released before."""
    promotions = Promotions(settings)
    kept = promotions.releases.released()
    assert kept is not None, "nothing is released"
    if tuple(promotions.manifest(kept.model.version).features) != FEATURE_NAMES:
        pytest.skip(
            f"the promoted {kept.model.version} takes ready columns; this test needs one with a history"
        )
    yield
    promotions.releases.write(lambda _: kept, "a system test is over")
    wait_until_served(settings, kept.model.version, {"customer_id": "probe", "terminal_id": "1"})


@pytest.fixture
def training_host(hosts: dict[str, dict[str, Any]]) -> str:
    return next(name for name, host in hosts.items() if "training" in host["groups"])


def send(settings: Settings, payments: list[dict[str, Any]]) -> None:
    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers.split(","), acks="all")
    for payment in payments:
        producer.send(settings.topics.transactions, json.dumps(payment).encode(), key=b"renewal")
    producer.flush(30)
    producer.close()


def payment(mark: str, number: int, days_ago: int) -> dict[str, Any]:
    return {
        "transaction_id": f"{mark}-{number}",
        "event_time": (datetime.now(UTC) - timedelta(days=days_ago)).isoformat(),
        "customer_id": f"{mark}-{number}",
        "terminal_id": mark,
        "amount": 400.0,
    }


@pytest.mark.always
def test_the_timer_is_on(training_host: str) -> None:
    shown = ssh(training_host, "systemctl show -p ActiveState -p UnitFileState risk-renewal.timer")
    assert "ActiveState=active" in shown
    assert "UnitFileState=enabled" in shown


@pytest.mark.usefixtures("released_is_kept")
def test_labels_sent_now_change_the_features_of_the_next_transaction_at_their_terminal(
    settings: Settings, training_host: str
) -> None:
    mark = f"renewal-{int(time.time())}"
    send(settings, [payment(mark, number, 8 + number // 2) for number in range(PAYMENTS)])
    names = [f"{mark}-{number}" for number in range(PAYMENTS)]
    run("fraud-label", *names, "--fraud", "--by", "system test")
    registry, today = ModelRegistry(settings), int(time.time()) // 86_400

    def renewed() -> bool:
        """Renew until transactions and labels have come into the lake."""
        ssh(training_host, f"sudo systemctl start {SERVICE}")
        told = registry.load_newest().terminal_risk.as_of([mark], np.array([today]))[0].tolist()
        return bool(told[TOLD.index("terminal_risk_30d")] == 1)

    assert until(renewed, 180), ssh(training_host, f"sudo journalctl -n 30 --no-pager -u {SERVICE}")

    start_ms, number = int(time.time() * 1000), PAYMENTS
    seen: list[dict[str, Any]] = []

    def told() -> bool:
        """Pay at the terminal until the job has taken the new release over."""
        nonlocal number
        number += 1
        send(settings, [payment(mark, number, 0)])
        last = f"{mark}-{number}"
        alerts = read_from(
            settings,
            settings.topics.fraud_alerts,
            start_ms,
            lambda found: any(key == last for key, _ in found),
            timeout_s=3,
        )
        seen[:] = [alert for _, alert in alerts if alert["transaction"]["terminal_id"] == mark]
        return any(alert["features"]["terminal_risk_30d"] == 1 for alert in seen)

    assert until(told, 60), f"{len(seen)} alerts, none knows of the frauds: {seen[-1:]}"
    alert = next(alert for alert in seen if alert["features"]["terminal_risk_30d"] == 1)
    assert alert["features"]["terminal_count_30d"] == PAYMENTS
    assert alert["features"]["terminal_fraud_age"] == 8 + (PAYMENTS - 1) // 2
