"""Job, label reader and loader of files make the same of each id, time and amount; see `shared/inputs.py`."""

import csv
import io
from datetime import UTC
from pathlib import Path

import pytest
from inputs import INPUTS, NOW, PAYMENT, WHOLE, Input, Whole

from flink_jobs.domain.label import parse_label
from flink_jobs.domain.transaction import InvalidTransaction, parse_transaction
from training.dataset import load
from training.tables import DatasetError

NOW_S = NOW.timestamp()


def named(given: Input | Whole) -> str:
    return repr(given.written if isinstance(given, Input) else given.payload)[2:42]


def test_the_table_is_long_enough() -> None:
    assert len(INPUTS) + len(WHOLE) >= 60
    assert len(set(INPUTS)) == len(INPUTS)


@pytest.mark.parametrize("given", INPUTS, ids=named)
def test_the_job_reads_each_value(given: Input) -> None:
    try:
        answer = getattr(parse_transaction(given.payment(), NOW_S), given.field)
    except InvalidTransaction:
        answer = None
    assert answer == given.answer


@pytest.mark.parametrize("given", WHOLE, ids=named)
def test_the_job_reads_each_record(given: Whole) -> None:
    try:
        read = parse_transaction(given.payload, NOW_S)
    except InvalidTransaction:
        assert given.answer is None
    else:
        assert (read.customer_id, read.event_time, read.amount) == given.answer


@pytest.mark.parametrize("given", [each for each in INPUTS if each.label()], ids=named)
def test_the_label_reader_reads_each_value(given: Input) -> None:
    try:
        label = parse_label(given.label() or b"", NOW_S)
    except ValueError:
        assert given.answer is None
    else:
        assert given.answer == (label.labelled_by if given.field == "customer_id" else label.labelled_at)


@pytest.mark.parametrize("given", [each for each in INPUTS if each.cell is not None], ids=named)
def test_the_loader_of_files_reads_each_value(
    given: Input, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: NOW_S)
    text = io.StringIO()
    # a row of other lengths, so that no column is one of gaps or numbers only
    rows = [PAYMENT, PAYMENT | {"transaction_id": "t-2", given.field: given.cell}]
    writer = csv.DictWriter(text, list(PAYMENT), quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    file = tmp_path / "transactions.csv"
    file.write_bytes(text.getvalue().encode())
    if given.answer is None:
        with pytest.raises(DatasetError, match=given.field):
            load(file)
        return
    frame = load(file).frame
    (answer,) = frame.loc[frame["transaction_id"] == "t-2", given.field]
    if given.field == "event_time":
        answer = answer.to_pydatetime().replace(tzinfo=UTC)
    assert answer == given.answer
