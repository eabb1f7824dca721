"""Another kind of model, promoted while the job runs: ready numeric columns instead of a history."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import read_from, run, until
from kafka import KafkaProducer

from flink_jobs.store.settings import Settings
from training.promotions import Promotions

COLUMNS = [f"V{number}" for number in range(1, 29)]
PROBES = 16


@pytest.fixture
def ready_columns(tmp_path: Path) -> Path:
    """Give a table with the columns of ULB's creditcard.csv; a fraud shows in V4 and V14."""
    random = np.random.default_rng(0)
    rows = 4000
    frame = pd.DataFrame(random.normal(size=(rows, 28)), columns=COLUMNS)
    frame.insert(0, "Time", np.sort(random.uniform(0, 172_800, rows)).round())
    frame["Amount"] = random.gamma(1, 80, rows).round(2)
    frame["Class"] = (random.random(rows) < 0.05).astype(int)
    frame.loc[frame["Class"] == 1, ["V4", "V14"]] += [4, -6]
    file = tmp_path / "creditcard.csv"
    frame.to_csv(file, index=False)
    return file


@pytest.fixture
def promoted_model_is_kept(settings: Settings) -> Iterator[None]:
    """Release again, when the test is over, what was released before."""
    promotions = Promotions(settings)
    kept = promotions.releases.released()
    assert kept is not None, "nothing is released"
    yield
    promotions.releases.write(lambda _: kept, "a system test is over")
    wait_until_served(settings, kept.model.version, {"customer_id": "probe", "terminal_id": "1"})


def wait_until_served(settings: Settings, version: str, record: dict[str, Any]) -> None:
    """Send probes now and then, until the predictions of all of them name the version.

    Each TaskManager looks for a new model by itself; PROBES are enough to reach all of them.
    """
    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers.split(","), acks="all")

    def served() -> bool:
        start_ms = int(time.time() * 1000)
        sent = [
            {
                "transaction_id": f"probe-{start_ms}-{number}",
                "event_time": "2013-09-01T00:00:00Z",
                "amount": 1.0,
            }
            | record
            | ({"customer_id": f"{record['customer_id']}-{number}"} if "customer_id" in record else {})
            for number in range(PROBES)
        ]
        for probe in sent:
            producer.send(settings.topics.transactions, json.dumps(probe).encode(), key=b"probe")
        producer.flush(30)
        ids = {probe["transaction_id"] for probe in sent}

        def answered(outcomes: list[tuple[str | None, dict[str, Any]]]) -> set[str]:
            return ids & {each["transaction_id"] for _, each in outcomes if each["model_version"] == version}

        outcomes = read_from(
            settings, settings.topics.predictions, start_ms, lambda found: answered(found) == ids, timeout_s=3
        )
        return answered(outcomes) == ids

    try:
        assert until(served), f"{version} is not served; the TaskManagers' journals say why"
    finally:
        producer.close()


@pytest.mark.usefixtures("promoted_model_is_kept")
def test_a_table_of_ready_columns_is_trained_on_promoted_and_scored(
    tmp_path: Path,
    settings: Settings,
    ready_columns: Path,
) -> None:
    since = "2013-09-02T12:00:00Z"
    output = run(
        "fraud-train",
        "--data",
        str(ready_columns),
        "--until",
        since,
        "--promote",
        "--force",
        "other columns",
        "--output",
        str(tmp_path / "model"),
    )
    assert "average precision" in output
    version = Promotions(settings).current()
    assert version is not None
    manifest = json.loads((tmp_path / "model/manifest.json").read_text())
    assert manifest["features"] == [*COLUMNS, "Amount"]
    wait_until_served(settings, version, {"features": dict.fromkeys(manifest["features"], 0.0)})

    sent, audit = tmp_path / "producer.json", tmp_path / "audit.json"
    run(
        "fraud-producer",
        "--data",
        str(ready_columns),
        "--since",
        since,
        "--rate",
        "500",
        "--report",
        str(sent),
    )
    run("fraud-audit", "--producer-report", str(sent), "--output", str(audit))
    result = json.loads(audit.read_text())
    assert result["sent"] == result["scored"] == result["lake_rows"] > 500, result
    assert result["lost"] == result["dead_letters"] == 0, result
    assert result["alerts_fraud"] > 0, result
