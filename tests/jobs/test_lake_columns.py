"""The lake's columns say of each id, time and amount what the job makes of it; see `shared/inputs.py`."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from inputs import INPUTS, LABEL, NOW, WHOLE, Input
from mini_cluster import Job, record
from test_kafka_to_minio_job import run

from flink_jobs.store.lake import LABELS_FOLDER, TRANSACTIONS_FOLDER
from flink_jobs.store.settings import Settings

pytestmark = pytest.mark.usefixtures("flink")

CAME = f"{NOW:%Y-%m-%d %H:%M:%S}.000"
PAYMENTS = [(each, *given) for each in INPUTS for given in each.payments()]
LABELS = [(each, *given) for each in INPUTS for given in each.labels()]
FLAGS = {b"true": True, b"false": False} | dict.fromkeys((b'"true"', b"1", b"0", b"null", b"[true]", b'"t"'))


def shown(value: object) -> object:
    """As columns have it: times in UTC without a zone, cut to milliseconds."""
    if isinstance(value, datetime):
        utc = value.astimezone(UTC).replace(tzinfo=None)
        return utc - timedelta(microseconds=utc.microsecond % 1000)
    return value


@pytest.fixture(scope="module")
def lake(
    flink: None, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of transactions and of labels, in the order in which they were sent."""
    del flink
    folder = tmp_path_factory.mktemp("columns")
    payments = [*(payload for *_, payload in PAYMENTS), *(each.payload for each in WHOLE)]
    plain = {**LABEL, "is_fraud": "?"}
    labels = [payload for *_, payload in LABELS]
    labels += [json.dumps(plain).encode().replace(b'"?"', flag) for flag in FLAGS]
    with run(Job(folder), settings) as job:
        job.feed("transactions", (record(each, 0, n, CAME) for n, each in enumerate(payments)))
        job.feed("labels", (record(each, 0, n, CAME) for n, each in enumerate(labels)))
        job.until(lambda: len(job.rows("lake")) == len(payments) + len(labels), "each record in the lake")
        job.stop()
    rows = [
        sorted(job.rows(f"lake/{name}"), key=lambda row: row["kafka_offset"])
        for name in (TRANSACTIONS_FOLDER, LABELS_FOLDER)
    ]
    return rows[0], rows[1]


def check(given: list[tuple[Input, str, bytes]], rows: list[dict[str, Any]]) -> None:
    said = [(each.written, name, row[name]) for (each, name, _), row in zip(given, rows, strict=True)]
    assert said == [(each.written, name, shown(each.lake)) for each, name, _ in given]


def test_columns_of_transactions(lake: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
    rows, _ = lake
    check(PAYMENTS, rows[: len(PAYMENTS)])
    columns = ("customer_id", "event_time", "amount")
    whole = [
        (each.payload[-60:], tuple(row[name] for name in columns))
        for each, row in zip(WHOLE, rows[len(PAYMENTS) :], strict=True)
    ]
    assert whole == [(each.payload[-60:], tuple(map(shown, each.lake))) for each in WHOLE]


def test_columns_of_labels(lake: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
    _, rows = lake
    check(LABELS, rows[: len(LABELS)])
    flags = [row["is_fraud"] for row in rows[len(LABELS) :]]
    assert dict(zip(FLAGS, flags, strict=True)) == FLAGS
