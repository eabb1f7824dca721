"""The job that fills the lake, on Flink's mini cluster: its SQL, and what it writes, read as files."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from mini_cluster import Job, on_files, record
from pyflink.table import StreamTableEnvironment, TableResult

from flink_jobs import kafka_to_minio_job
from flink_jobs.configuration import stream_environment
from flink_jobs.domain.scoring import Prediction
from flink_jobs.store.lake import (
    ALERTS_FOLDER,
    DEAD_LETTERS_FOLDER,
    LABELS_FOLDER,
    PREDICTIONS_FOLDER,
    TRANSACTIONS_FOLDER,
)
from flink_jobs.store.settings import Settings

pytestmark = pytest.mark.usefixtures("flink")

TRANSACTION = {
    "transaction_id": "t-ü",
    "event_time": "2025-12-30T12:00:00.250Z",
    "customer_id": "c",
    "terminal_id": "t",
    "amount": 12.5,
}
LABEL = {
    "transaction_id": "t-ü",
    "is_fraud": True,
    "labelled_by": "somebody",
    "labelled_at": "2025-12-31T08:00:00Z",
}
# as ml_inference_job sends them, but for what only people read
ALERT = {
    "transaction_id": "t-ü",
    "score": 0.75,
    "threshold": 0.5,
    "model_version": "20260101T000000Z-12345678",
    "transaction": TRANSACTION,
    "features": {"amount": 12.5},
    "partition": 1,
    "offset": 4_000_000_000,
    "kafka_timestamp_ms": 1,
    "scored_at_ms": 1_770_724_800_250,
    "reasons": [],
}
DEAD_LETTER = {
    "reason": "bad_amount",
    "detail": "amount is Infinity",
    "partition": 2,
    "offset": 17,
    "kafka_timestamp_ms": 1,
    "payload_bytes": 70_000,
    "payload": "{",
}
VERSION = "20260101T000000Z-12345678"
PREDICTION = {
    "transaction_id": "t-ü",
    "score": 1e-06,
    "model_version": VERSION,
    "partition": 7,
    "offset": 4_000_000_000,
    "kafka_timestamp_ms": 1_770_724_800_250,
}
CHALLENGED = {"challenger_score": 0.25, "challenger_version": "20260102T000000Z-12345678"}
# of a control transaction; a model of ready columns may call them as it likes
OWN_FEATURES = dict.fromkeys((*CHALLENGED, "threshold", "control_probability", "score", "offset"), 7.5)
CONTROL = {
    "threshold": 0.5,
    "risk_version": "renewed-2026",
    "control_probability": 0.001,
    "features": OWN_FEATURES,
}
NEW_YEARS_EVE = "2025-12-31 23:59:59.999"
NEW_YEAR = "2026-01-01 00:00:00.000"


def run(job: Job, settings: Settings, savepoint: str | None = None) -> Job:
    lake = (job.folder / "lake").as_uri()
    ddl = [
        on_files(table, job.folder)
        for table in kafka_to_minio_job.job_tables(settings, lake, file_mb=128, file_age_s=900)
    ]
    return job.start(
        stream_environment(kafka_to_minio_job.NAME, {}),
        lambda tables: kafka_to_minio_job.submit(tables, ddl),
        savepoint,
    )


def test_each_record_lies_in_the_lake_once_whatever_it_is(tmp_path: Path, settings: Settings) -> None:
    payloads = [
        json.dumps(TRANSACTION).encode(),
        json.dumps(TRANSACTION | {"amount": "much", "event_time": "then"}, ensure_ascii=False).encode(),
        b"\xff\x00 no JSON\n",
        None,
    ]
    with run(Job(tmp_path), settings) as job:
        job.feed("transactions", (record(each, 1, n, NEW_YEARS_EVE) for n, each in enumerate(payloads)))
        job.feed("labels", [record(json.dumps(LABEL).encode(), 2, 0, NEW_YEAR)])
        job.until(lambda: len(job.rows("lake")) == len(payloads) + 1, "each record in the lake")
        savepoint = job.stop()
    with run(Job(tmp_path), settings, savepoint) as job:
        # the day is that of Kafka's clock, however late the record comes
        job.feed("transactions", [record(payloads[0], 1, len(payloads), NEW_YEAR)])
        job.feed("labels", [record(b"no label", 2, 1, NEW_YEAR)])
        job.until(lambda: len(job.rows("lake")) >= len(payloads) + 3, "those that came later as well")
        job.stop()

    rows = sorted(job.rows(f"lake/{TRANSACTIONS_FOLDER}"), key=lambda row: row["kafka_offset"])
    assert [(row["kafka_partition"], row["kafka_offset"]) for row in rows] == [(1, n) for n in range(5)]
    assert [row["payload"] for row in rows] == [*payloads, payloads[0]]
    assert [row["dt"] for row in rows] == [*["2025-12-31"] * 4, "2026-01-01"]
    assert rows[0]["kafka_time"].replace(tzinfo=UTC) == datetime(2025, 12, 31, 23, 59, 59, 999000, UTC)
    columns = [tuple(row[name] for name in TRANSACTION) for row in rows]
    noon = datetime(2025, 12, 30, 12, 0, 0, 250000)  # noqa: DTZ001 - a column without a zone, in UTC
    assert columns == [
        ("t-ü", noon, "c", "t", 12.5),
        ("t-ü", None, "c", "t", None),
        (None,) * 5,
        (None,) * 5,
        ("t-ü", noon, "c", "t", 12.5),
    ]

    labels = sorted(job.rows(f"lake/{LABELS_FOLDER}"), key=lambda row: row["kafka_offset"])
    assert [row["payload"] for row in labels] == [json.dumps(LABEL).encode(), b"no label"]
    assert [tuple(row[name] for name in LABEL) for row in labels] == [
        ("t-ü", True, "somebody", datetime(2025, 12, 31, 8)),  # noqa: DTZ001 - as above
        (None,) * 4,
    ]


# Flink's own functions gave the columns once: plans had a step fewer
SQL_ALONE = {
    "transactions": """
INSERT INTO lake SELECT
  JSON_VALUE(DECODE(payload, 'UTF-8'), '$.transaction_id'), CAST(NULL AS TIMESTAMP(3)),
  CAST(NULL AS STRING), CAST(NULL AS STRING), CAST(NULL AS DOUBLE),
  `partition`, `offset`, `timestamp`, payload, CAST(CAST(`timestamp` AS DATE) AS STRING)
FROM transactions""",
    "labels": """
INSERT INTO lake_labels SELECT
  JSON_VALUE(DECODE(payload, 'UTF-8'), '$.transaction_id'), CAST(NULL AS BOOLEAN),
  CAST(NULL AS STRING), CAST(NULL AS TIMESTAMP(3)),
  `partition`, `offset`, `timestamp`, payload, CAST(CAST(`timestamp` AS DATE) AS STRING)
FROM labels""",
}


def submit_without_names(tables: StreamTableEnvironment, ddl: list[str]) -> TableResult:
    """As the job was submitted before it kept alerts."""
    for table in ddl:
        tables.execute_sql(table)
    together = tables.create_statement_set()
    together.add_insert_sql(SQL_ALONE["transactions"])
    together.add_insert_sql(SQL_ALONE["labels"])
    return together.execute()


def test_a_job_of_before_alerts_were_kept_goes_on_and_keeps_them_from_their_topic_s_start(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    payload, label = json.dumps(TRANSACTION).encode(), json.dumps(LABEL).encode()
    alert, letter = (json.dumps(each, ensure_ascii=False).encode() for each in (ALERT, DEAD_LETTER))
    with monkeypatch.context() as before:
        before.setattr(kafka_to_minio_job, "submit", submit_without_names)
        with run(Job(tmp_path), settings) as job:
            job.feed("transactions", [record(payload, 1, 0, NEW_YEARS_EVE)])
            job.feed("labels", [record(label, 2, 0, NEW_YEAR)])
            job.feed("alerts", [record(alert, 0, 0, NEW_YEARS_EVE)])
            job.until(lambda: len(job.rows("lake")) == 2, "what that job kept")
            savepoint = job.stop()
    with run(Job(tmp_path), settings, savepoint) as job:
        job.feed("transactions", [record(payload, 1, 1, NEW_YEAR)])
        job.feed("labels", [record(label, 2, 1, NEW_YEAR)])
        job.feed("alerts", [record(alert, 0, 1, NEW_YEAR), record(b"none", 0, 2, NEW_YEAR)])
        job.feed("dead_letters", [record(letter, 0, 0, NEW_YEAR)])
        job.until(lambda: len(job.rows("lake")) >= 8, "all of it")
        job.stop()

    def rows(folder: str) -> list[dict[str, Any]]:
        return sorted(job.rows(f"lake/{folder}"), key=lambda row: row["kafka_offset"])

    # nothing twice: both sources went on from where they were
    for folder in (TRANSACTIONS_FOLDER, LABELS_FOLDER):
        assert [row["kafka_offset"] for row in rows(folder)] == [0, 1]
    alerts = rows(ALERTS_FOLDER)
    assert [row["payload"] for row in alerts] == [alert, alert, b"none"]
    assert [row["dt"] for row in alerts] == ["2025-12-31", "2026-01-01", "2026-01-01"]
    scored_at = datetime(2026, 2, 10, 12, 0, 0, 250000)  # noqa: DTZ001 - a column without a zone, in UTC
    columns = [list(row.values())[:10] for row in alerts]
    version = ALERT["model_version"]
    assert columns == [
        ["t-ü", 0.75, 0.5, version, "c", "t", 12.5, scored_at, 1, 4_000_000_000],
        ["t-ü", 0.75, 0.5, version, "c", "t", 12.5, scored_at, 1, 4_000_000_000],
        [None] * 10,
    ]
    (kept,) = rows(DEAD_LETTERS_FOLDER)
    assert kept["payload"] == letter
    assert list(kept.values())[:5] == ["bad_amount", "amount is Infinity", 70_000, 2, 17]


FOUR = {
    name: insert for name, insert in kafka_to_minio_job.INSERTS.items() if name != "predictions"
} | SQL_ALONE


def written(message: dict[str, Any]) -> bytes:
    """As ml_inference_job writes it."""
    return msgspec.json.encode(message)


def test_predictions_are_kept_with_all_their_fields() -> None:
    """The next test sends a message with all of these and finds each in its column."""
    assert sorted(PREDICTION | CHALLENGED | CONTROL) == sorted(Prediction.__struct_fields__)


def test_a_job_of_before_predictions_were_kept_goes_on_and_keeps_them_from_their_topic_s_start(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = {
        "transactions": written(TRANSACTION),
        "labels": written(LABEL),
        "alerts": written(ALERT),
        "dead_letters": written(DEAD_LETTER),
    }
    with monkeypatch.context() as before:
        before.setattr(kafka_to_minio_job, "INSERTS", FOUR)
        with run(Job(tmp_path), settings) as job:
            for table, message in messages.items():
                job.feed(table, [record(message, 0, 0, NEW_YEARS_EVE)])
            job.feed("predictions", [record(written(PREDICTION), 0, 0, NEW_YEARS_EVE)])
            job.until(lambda: len(job.rows("lake")) == 4, "what that job kept")
            savepoint = job.stop()
    alerted = PREDICTION | {"threshold": 0.5, "risk_version": "r", "features": OWN_FEATURES}
    odd = PREDICTION | {"transaction_id": '"{\\', "score": 1.0, "model_version": 5}
    later = [PREDICTION | CHALLENGED | CONTROL, alerted, odd, {}, PREDICTION | {"score": "much"}]
    with run(Job(tmp_path), settings, savepoint) as job:
        for table, message in messages.items():
            job.feed(table, [record(message, 0, 1, NEW_YEAR)])
        # what is no message is passed over
        for first, told in ((100, [b"none", b'"none"', b"[]", b"", None]), (1, map(written, later))):
            job.feed("predictions", (record(each, 0, first + n, NEW_YEAR) for n, each in enumerate(told)))
        job.until(lambda: len(job.rows("lake")) >= 8 + 6, "all of it")
        job.stop()

    def rows(folder: str) -> list[dict[str, Any]]:
        return sorted(job.rows(f"lake/{folder}"), key=lambda row: row["kafka_offset"])

    # nothing twice: each source went on from where it was
    for folder in (TRANSACTIONS_FOLDER, LABELS_FOLDER, ALERTS_FOLDER, DEAD_LETTERS_FOLDER):
        assert [row["kafka_offset"] for row in rows(folder)] == [0, 1], folder
    kept = rows(PREDICTIONS_FOLDER)
    assert [(row["kafka_partition"], row["kafka_offset"]) for row in kept] == [(0, n) for n in range(6)]
    assert kept[1]["kafka_time"].replace(tzinfo=UTC) == datetime(2026, 1, 1, tzinfo=UTC)
    assert [row["dt"] for row in kept] == ["2025-12-31", *["2026-01-01"] * 5]
    at = (7, 4_000_000_000, datetime(2026, 2, 10, 12, 0, 0, 250000))  # noqa: DTZ001 - a column without a zone
    challenger = tuple(CHALLENGED.values())
    for row in kept:
        row["features"] = None if row["features"] is None else dict(row["features"])
    assert [tuple(row.values())[:12] for row in kept] == [
        ("t-ü", 1e-06, None, VERSION, None, None, None, None, *at, None),
        ("t-ü", 1e-06, 0.5, VERSION, "renewed-2026", *challenger, 0.001, *at, OWN_FEATURES),
        ("t-ü", 1e-06, 0.5, VERSION, "r", None, None, None, *at, OWN_FEATURES),
        ('"{\\', 1.0, None, None, None, None, None, None, *at, None),
        (None,) * 12,
        ("t-ü", None, None, VERSION, None, None, None, None, *at, None),
    ]
