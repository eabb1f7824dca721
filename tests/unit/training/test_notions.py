"""File and topic, transactions and labels: all give the same answer to what is an id, a time, an amount."""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from notions import AMOUNTS, IDS, NO_AMOUNTS, NO_IDS, NO_TIMES, NOW_S, TIMES

from flink_jobs.domain.label import parse_label
from flink_jobs.domain.transaction import InvalidTransaction, parse_transaction
from training import dataset, label_table
from training.tables import DatasetError

TRANSACTION = {
    "transaction_id": "t",
    "event_time": "2026-05-04T09:00:00Z",
    "customer_id": "c",
    "terminal_id": "p",
    "amount": "1",
}
LABEL = {"transaction_id": "t", "is_fraud": "1", "labelled_by": "me", "labelled_at": "2026-05-04T09:00:00Z"}
REFUSED = "refused"
Give = Callable[[dict[str, str]], Any]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files be read at NOW_S."""
    for module in (dataset, label_table):
        monkeypatch.setattr(module.time, "time", lambda: NOW_S)


def as_csv(path: Path, row: dict[str, str]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerows([list(row), list(row.values())])
    path.write_bytes(text.getvalue().encode())


def as_parquet(path: Path, row: dict[str, str]) -> None:
    pq.write_table(pa.table({name: [value] for name, value in row.items()}), path)


def answers(tmp_path: Path, field: str, text: str) -> dict[str, Any]:
    """Ask all who read a field of transactions and labels."""
    found: dict[str, Any] = {}
    for name, write in (("csv", as_csv), ("parquet", as_parquet)):
        path = tmp_path / f"data.{name}"
        if field in TRANSACTION:
            write(path, TRANSACTION | {field: text})
            found[f"{name} of transactions"] = _of_file(lambda path=path: dataset.load(path).frame[field][0])
        if field in LABEL:
            write(path, LABEL | {field: text})
            found[f"{name} of labels"] = _of_file(lambda path=path: _label_of(path, field))
    if field in TRANSACTION:
        found["topic of transactions"] = _of_topic(field, TRANSACTION | {field: text})
    if field in LABEL:
        found["topic of labels"] = _of_topic(field, LABEL | {field: text})
    return found


def _label_of(path: Path, field: str) -> Any:  # noqa: ANN401 - of any field
    table = label_table.read_label_table(str(path))
    values = {"transaction_id": table.transaction_ids, "labelled_by": table.labelled_by}
    return values[field][0] if field in values else table.labelled_at.astype("datetime64[us]").tolist()[0]


def _of_file(read: Callable[[], Any]) -> Any:  # noqa: ANN401 - of any field
    try:
        value = read()
    except DatasetError:
        return REFUSED
    # what is empty in a file of labels is said by the command
    return REFUSED if value is None else value


def _of_topic(field: str, record: dict[str, str]) -> Any:  # noqa: ANN401 - of any field
    payload = json.dumps(record | ({"is_fraud": True} if "is_fraud" in record else {})).encode()
    if "amount" in record:
        payload = payload.replace(json.dumps(record["amount"]).encode(), record["amount"].encode())
    try:
        read = parse_label(payload, NOW_S) if "is_fraud" in record else parse_transaction(payload, NOW_S)
    except (ValueError, InvalidTransaction):
        return REFUSED
    value = getattr(read, field)
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value


@pytest.mark.parametrize("field", ["transaction_id", "customer_id", "terminal_id", "labelled_by"])
def test_all_agree_on_what_an_id_is(tmp_path: Path, field: str) -> None:
    for text in (*IDS, *NO_IDS):
        expected = text if text in IDS else REFUSED
        found = answers(tmp_path, field, text)
        assert found == dict.fromkeys(found, expected), text


@pytest.mark.parametrize("field", ["event_time", "labelled_at"])
def test_all_agree_on_what_a_time_is(tmp_path: Path, field: str) -> None:
    for text in (*TIMES, *NO_TIMES):
        expected = datetime.fromisoformat(TIMES[text]) if text in TIMES else REFUSED
        found = answers(tmp_path, field, text)
        assert found == dict.fromkeys(found, expected), text


def test_all_agree_on_what_an_amount_is(tmp_path: Path) -> None:
    for text in (*AMOUNTS, *NO_AMOUNTS):
        found = answers(tmp_path, "amount", text)
        assert found == dict.fromkeys(found, float(text) if text in AMOUNTS else REFUSED), text


def test_the_table_has_no_fewer_than_sixty_inputs() -> None:
    assert len({*IDS, *NO_IDS, *TIMES, *NO_TIMES, *AMOUNTS, *NO_AMOUNTS}) >= 60
