"""The lake's columns say of each id, time and amount what the job makes of it; see `shared/inputs.py`."""

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from inputs import INPUTS, LABEL, NOW, PAYMENT, WHOLE, Input
from mini_cluster import Job, record
from test_kafka_to_minio_job import run

from flink_jobs.domain.transaction import InvalidTransaction, parse_transaction
from flink_jobs.store.lake import LABELS_FOLDER, TRANSACTIONS_FOLDER
from flink_jobs.store.settings import Settings

pytestmark = pytest.mark.usefixtures("flink")

CAME = f"{NOW:%Y-%m-%d %H:%M:%S}.000"
PAYMENTS = [(each, *given) for each in INPUTS for given in each.payments()]
LABELS = [(each, *given) for each in INPUTS for given in each.labels()]
WORDS = (*(each.written for each in INPUTS), *(f'"{name}":'.encode() for name in (*PAYMENT, "currency")))


def made(count: int) -> list[bytes]:
    """Give transactions in which spans of bytes gave way to others, the same each time."""
    chance = random.Random(7)  # noqa: S311 - for tests
    plain = json.dumps(PAYMENT, separators=(",", ":")).encode()
    records = []
    for _ in range(count):
        record = plain
        for _ in range(chance.choice((1, 1, 2))):
            begin = chance.randrange(len(record))
            end = min(begin + chance.choice((0, 1, 1, 5)), len(record))
            other = chance.choice(
                (chance.randbytes(1), b"", chance.choice(WORDS), bytes([chance.choice(record)]))
            )
            record = record[:begin] + other + record[end:]
        records.append(record)
    return records


MADE = made(10_000)
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
    payments += MADE
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


def check(given: list[tuple[Input, str, bytes]], rows: list[dict[str, Any]], plain: dict[str, Any]) -> None:
    """See that a value is in its column, and that others are filled where the record is JSON."""
    for (each, name, payload), row in zip(given, rows, strict=True):
        assert (name, row[name]) == (name, shown(each.answer)), payload
        try:
            json.loads(payload, parse_constant=int)
        except ValueError:
            continue
        others = {other: value for other, value in plain.items() if other != name}
        assert {other: row[other] for other in others} == others, payload


def test_columns_of_transactions(lake: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
    rows, _ = lake
    at = datetime(2018, 7, 1, 0, 0, 31)  # noqa: DTZ001 - a column without a zone, in UTC
    check(PAYMENTS, rows[: len(PAYMENTS)], PAYMENT | {"event_time": at})
    columns = ("customer_id", "event_time", "amount")
    whole = [
        (each.payload[-60:], tuple(row[name] for name in columns))
        for each, row in zip(WHOLE, rows[len(PAYMENTS) : -len(MADE)], strict=True)
    ]
    assert whole == [(each.payload[-60:], tuple(map(shown, each.lake))) for each in WHOLE]


def test_columns_of_made_records_are_those_that_the_job_reads(
    lake: tuple[list[dict[str, Any]], list[dict[str, Any]]],
) -> None:
    rows, _ = lake
    answered = dict.fromkeys(("read", "no JSON", "refused for a field"), 0)
    for payload, row in zip(MADE, rows[-len(MADE) :], strict=True):
        found = tuple(row[name] for name in PAYMENT)
        try:
            read = parse_transaction(payload, NOW.timestamp())
        except InvalidTransaction as error:
            if error.reason in ("not_json", "not_utf8"):
                assert found == (None,) * len(PAYMENT), payload
                answered["no JSON"] += 1
            else:
                answered["refused for a field"] += 1
        else:
            assert found == tuple(shown(getattr(read, name)) for name in PAYMENT), payload
            answered["read"] += 1
    assert min(answered.values()) > len(MADE) / 20, answered


def test_columns_of_labels(lake: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
    _, rows = lake
    day = datetime(2018, 7, 9)  # noqa: DTZ001 - as above
    check(LABELS, rows[: len(LABELS)], LABEL | {"labelled_at": day})
    flags = [row["is_fraud"] for row in rows[len(LABELS) :]]
    assert dict(zip(FLAGS, flags, strict=True)) == FLAGS
