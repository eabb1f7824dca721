"""The way of a transaction, counted: scored once, stored once, and bad records stop nothing."""

import json
import time
from datetime import UTC
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest
from conftest import read_from, run, until
from kafka import KafkaProducer
from pyarrow import fs

from clients.drift_report import EXIT_DRIFTED
from flink_jobs.domain.features import FEATURE_NAMES
from flink_jobs.domain.scoring import Prediction
from flink_jobs.store.lake import PREDICTIONS_FOLDER, TRANSACTIONS_FOLDER
from flink_jobs.store.settings import Settings

VALID: dict[str, Any] = {
    "transaction_id": "system-test",
    "event_time": "2025-05-01T12:00:00Z",
    "customer_id": "system-test",
    "terminal_id": "1",
    "amount": 20.0,
}

BAD: dict[str, bytes] = {
    "not_json": b"what is this?",
    "not_utf8": json.dumps(VALID).encode().replace(b"20.0", b'20.0, "note": "\xff\xfe\x00"'),
    "missing_field": json.dumps({name: VALID[name] for name in VALID if name != "amount"}).encode(),
    "wrong_type": json.dumps(VALID | {"amount": "20"}).encode(),
    "bad_amount": json.dumps(VALID | {"amount": -1}).encode(),
    "bad_event_time": json.dumps(VALID | {"event_time": "noon"}).encode(),
    "future_event_time": json.dumps(VALID | {"event_time": "2099-01-01T00:00:00Z"}).encode(),
    "bad_id": json.dumps(VALID | {"customer_id": ""}).encode(),
    "too_large": b"x" * 1_000_000,
}


def lake_rows(
    settings: Settings, condition: pc.Expression, folder: str = TRANSACTIONS_FOLDER
) -> list[dict[str, Any]]:
    """Read rows of the lake as an analyst would."""
    minio = fs.S3FileSystem(
        access_key=settings.s3.access_key,
        secret_key=settings.s3.secret_key,
        endpoint_override=settings.s3.endpoint_url.removeprefix("http://"),
        scheme="http",
    )
    lake = ds.dataset(
        f"{settings.buckets.datalake}/{folder}",
        filesystem=minio,
        format="parquet",
        partitioning="hive",
        exclude_invalid_files=False,
    )
    rows: list[dict[str, Any]] = lake.to_table(filter=condition).to_pylist()
    return rows


@pytest.fixture
def producer(settings: Settings) -> Any:  # noqa: ANN401 - kafka-python ships no types
    client = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers.split(","), acks="all")
    yield client
    client.close()


def as_message(row: dict[str, Any]) -> dict[str, Any]:
    """Give a row of predictions as the message it was made of: what is NULL was left out."""
    came = row["transaction_time"].replace(tzinfo=UTC)
    message = {name: row[name] for name in Prediction.__struct_fields__ if row.get(name) is not None}
    message |= {
        "partition": row["transaction_partition"],
        "offset": row["transaction_offset"],
        "kafka_timestamp_ms": round(came.timestamp() * 1000),
    }
    return message | ({"features": dict(row["features"])} if row["features"] is not None else {})


@pytest.mark.always
def test_every_transaction_is_scored_once_and_stored_once(tmp_path: Path, settings: Settings) -> None:
    sent, audit = tmp_path / "producer.json", tmp_path / "audit.json"
    start_ms = int(time.time() * 1000)
    run("fraud-producer", "--since", "2025-04-20", "--limit", "6000", "--rate", "1500", "--report", str(sent))
    run("fraud-audit", "--producer-report", str(sent), "--output", str(audit))
    result = json.loads(audit.read_text())
    assert result["sent"] == result["scored"] == result["lake_rows"] == 6000, result
    assert result["lost"] == result["repeated"] == result["lake_missing"] == result["lake_repeated"] == 0, (
        result
    )
    assert 0 < result["alerts_fraud"] <= result["alerts"], result
    alerts = read_from(
        settings, settings.topics.fraud_alerts, start_ms, lambda found: len(found) >= result["alerts"]
    )
    assert len(alerts) >= result["alerts"]
    for _, alert in alerts:
        assert len(alert["reasons"]) == 3, alert
        assert all(reason["text"] for reason in alert["reasons"]), alert

    predictions = read_from(
        settings, settings.topics.predictions, start_ms, lambda found: len(found) >= result["scored"]
    )
    expected = {json.dumps(message, sort_keys=True) for _, message in predictions}
    since = pa.scalar(start_ms, pa.timestamp("ms", tz="UTC"))
    rows: list[dict[str, Any]] = []
    told: list[dict[str, Any]] = []

    def kept() -> bool:
        rows[:] = lake_rows(settings, pc.field("kafka_time").cast(since.type) >= since, PREDICTIONS_FOLDER)
        told[:] = map(as_message, rows)
        return expected <= {json.dumps(message, sort_keys=True) for message in told}

    assert until(kept), f"{len(rows)} predictions in the lake, {len(expected)} on the topic"
    assert len({(row["kafka_partition"], row["kafka_offset"]) for row in rows}) == len(rows)
    alerted = {(alert["partition"], alert["offset"]) for _, alert in alerts}
    for message in told:
        place = (message["partition"], message["offset"])
        looked_into = place in alerted or "control_probability" in message
        assert ("features" in message) == looked_into, message


def test_drift_is_measured_on_what_the_lake_holds() -> None:
    """It reads the transactions of the test before; whether they have drifted does not matter here."""
    drift = json.loads(
        run("fraud-drift", "--days", "2", "--until", "2025-04-22", "--json", codes=(0, EXIT_DRIFTED))
    )
    assert drift["transactions"] >= 6000, drift
    assert set(drift["psi"]) == {*FEATURE_NAMES, "score"}


@pytest.mark.always
def test_bad_records_are_set_aside_and_stop_nothing(settings: Settings, producer: Any) -> None:  # noqa: ANN401 - kafka-python
    start_ms = int(time.time() * 1000)
    where = {}
    for reason, payload in BAD.items():
        sent = producer.send(settings.topics.transactions, payload, key=b"system-test").get(30)
        where[f"{sent.partition}-{sent.offset}"] = reason
    good = producer.send(settings.topics.transactions, json.dumps(VALID).encode(), key=b"system-test").get(30)

    letters = read_from(
        settings, settings.topics.transactions_dlq, start_ms, lambda seen: len(seen) >= len(BAD)
    )
    assert {key: letter["reason"] for key, letter in letters} == where
    for key, letter in letters:
        assert key == f"{letter['partition']}-{letter['offset']}"
        assert letter["payload_bytes"] == len(BAD[letter["reason"]])

    def scored(records: list[Any]) -> bool:
        return any((p["partition"], p["offset"]) == (good.partition, good.offset) for _, p in records)

    predictions = read_from(settings, settings.topics.predictions, start_ms, scored)
    assert scored(predictions), (
        f"the good record after the bad ones was not scored; predictions: {predictions}"
    )

    expected = {tuple(map(int, place.split("-"))): BAD[reason] for place, reason in where.items()}
    since = pa.scalar(start_ms, pa.timestamp("ms", tz="UTC"))
    stored: dict[tuple[int, int], bytes] = {}

    def arrived() -> bool:
        rows = lake_rows(settings, pc.field("kafka_time").cast(since.type) >= since)
        stored.update({(row["kafka_partition"], row["kafka_offset"]): row["payload"] for row in rows})
        return expected.keys() <= stored.keys()

    assert until(arrived), f"in the lake: {sorted(stored)}, expected {sorted(expected)}"
    assert {place: stored[place] for place in expected} == expected


def test_what_a_kafka_transaction_writes_is_scored_before_it_ends_and_where_it_is_aborted(
    tmp_path: Path, settings: Settings
) -> None:
    """So a producer that hangs in one holds nobody up. Its end takes an offset, which nobody misses."""
    audit = ("fraud-audit", "--state", str(tmp_path), "--lag", "30")
    run(*audit)
    start_ms = int(time.time() * 1000)
    client: Any = KafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap_servers.split(","),
        transactional_id=f"system-test-{start_ms}",
    )
    places: list[tuple[int, int]] = []

    def scored(records: list[Any]) -> bool:
        return any((p["partition"], p["offset"]) == places[-1] for _, p in records)

    try:
        client.init_transactions()
        for end in (client.abort_transaction, client.commit_transaction):
            payment = VALID | {"transaction_id": f"system-test-{start_ms}-{len(places)}"}
            client.begin_transaction()
            payload = json.dumps(payment).encode()
            sent = client.send(settings.topics.transactions, payload, partition=0).get(30)
            places.append((sent.partition, sent.offset))
            assert scored(read_from(settings, settings.topics.predictions, start_ms, scored)), places
            end()
    finally:
        client.close()
    # the aborted transaction's end lies between
    assert places[1][1] - places[0][1] >= 2, places

    def audited() -> bool:
        run(*audit, codes=(0, 1))
        return bool(json.loads((tmp_path / "audit.json").read_text())["audited"] >= len(places))

    assert until(audited), (tmp_path / "audit.json").read_text()
    run(*audit)
