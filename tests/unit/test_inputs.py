"""Job, label reader and loaders of files make the same of each id, time and amount: `shared/inputs.py`."""

import csv
import io
from collections.abc import Callable, Iterable
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from inputs import INPUTS, LABEL, LABEL_FIELDS, NOW, PAYMENT, PAYMENT_FIELDS, WHOLE, Input, Whole

from flink_jobs.domain.label import parse_label
from flink_jobs.domain.transaction import InvalidTransaction, parse_transaction
from training.dataset import load
from training.label_table import read_label_table
from training.tables import DatasetError

NOW_S = NOW.timestamp()
Rows = list[dict[str, Any]]
IN_FILES = [each for each in INPUTS if each.cell is not None]
TAKEN = [each for each in IN_FILES if each.answer is not None]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files and labels be read at NOW."""
    monkeypatch.setattr("time.time", lambda: NOW_S)


def named(given: Input | Whole) -> str:
    return repr(given.written if isinstance(given, Input) else given.payload)[2:42]


def as_csv(folder: Path, rows: Rows) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    file = folder / "data.csv"
    file.write_bytes(text.getvalue().encode())
    return str(file)


def as_parquet(folder: Path, rows: Rows) -> str:
    file = folder / "data.parquet"
    pq.write_table(pa.Table.from_pylist([{k: str(v) for k, v in row.items()} for row in rows]), file)
    return str(file)


def of_transactions(file: str, field: str) -> list[object]:
    frame = load(file).frame
    return _plain(frame.sort_values("transaction_id" if field == "amount" else "amount")[field])


def of_labels(file: str, field: str) -> list[object]:
    table = read_label_table(file, required=["labelled_by", "labelled_at"])
    columns = {
        "transaction_id": table.transaction_ids,
        "labelled_by": table.labelled_by,
        "labelled_at": table.labelled_at,
    }
    return _plain(columns[field])


def _plain(values: Iterable[Any]) -> list[object]:
    array = np.asarray(values)
    if array.dtype.kind == "M":
        return [moment.replace(tzinfo=UTC) for moment in array.astype("datetime64[us]").tolist()]
    return list(array.tolist())


# each reader of files with the row that it reads, and the fields that may have a value
READERS: list[tuple[Callable[[str, str], list[object]], dict[str, Any], dict[str, tuple[str, ...]]]] = [
    (of_transactions, PAYMENT, PAYMENT_FIELDS),
    (of_labels, LABEL, LABEL_FIELDS),
]


def test_the_table_is_long_enough() -> None:
    assert len(IN_FILES) >= 60
    assert len(set(INPUTS)) == len(INPUTS)


@pytest.mark.parametrize("given", INPUTS, ids=named)
def test_the_job_reads_each_value(given: Input) -> None:
    for field, payload in given.payments():
        try:
            answer = getattr(parse_transaction(payload, NOW_S), field)
        except InvalidTransaction:
            answer = None
        assert answer == given.answer, field


@pytest.mark.parametrize("given", WHOLE, ids=named)
def test_the_job_reads_each_record(given: Whole) -> None:
    try:
        read = parse_transaction(given.payload, NOW_S)
    except InvalidTransaction:
        assert given.answer is None
    else:
        assert (read.customer_id, read.event_time, read.amount) == given.answer


@pytest.mark.parametrize("given", [each for each in INPUTS if each.labels()], ids=named)
def test_the_label_reader_reads_each_value(given: Input) -> None:
    for field, payload in given.labels():
        try:
            answer = getattr(parse_label(payload, NOW_S), field)
        except ValueError:
            answer = None
        assert answer == given.answer, field


@pytest.mark.parametrize("write", [as_csv, as_parquet])
@pytest.mark.parametrize("kind", PAYMENT_FIELDS)
def test_loaders_of_files_read_each_value(
    kind: str, write: Callable[[Path, Rows], str], tmp_path: Path
) -> None:
    given = [each for each in TAKEN if each.kind == kind]
    assert given
    for read, row, fields in READERS:
        for field in fields[kind]:
            # no row repeats another, and each can be found again
            rows = [
                row
                | {"amount": n}
                | ({"transaction_id": f"{n:03}"} if kind == "amount" else {})
                | {field: each.cell}
                for n, each in enumerate(given)
            ]
            assert read(write(tmp_path, rows), field) == [each.answer for each in given], (read, field)


@pytest.mark.parametrize("write", [as_csv, as_parquet])
@pytest.mark.parametrize("given", [each for each in IN_FILES if each.answer is None], ids=named)
def test_loaders_of_files_refuse_each_value(
    given: Input, write: Callable[[Path, Rows], str], tmp_path: Path
) -> None:
    for read, row, fields in READERS:
        for field in fields[given.kind]:
            file = write(tmp_path, [row, row | {field: given.cell}])
            with pytest.raises(DatasetError, match=rf"^{file}: column {field}, row 2 is .*; expected "):
                read(file, field)
