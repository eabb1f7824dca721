"""Labels are sent as what others can read, or refused with the row and the reason."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from kafka_fakes import Producer

from clients import labelling
from clients.label_files import read_label_file
from clients.process import ClientError

NOW = datetime(2026, 7, 1, tzinfo=UTC)
Run = Callable[..., int]


class Closing(Producer):
    def close(self, timeout: float) -> None:
        pass


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> Producer:
    fake = Closing(fail=frozenset({3}))
    monkeypatch.setattr(labelling, "make_producer", lambda *_: fake)
    monkeypatch.setattr(labelling, "check_topic", lambda *_: None)
    return fake


@pytest.fixture
def run(settings_file: Path) -> Run:
    return lambda *arguments: labelling.main(["--settings", str(settings_file), *arguments])


def sent(producer: Producer) -> list[dict[str, Any]]:
    return [json.loads(value) for _, value, _ in producer.messages]


def write_csv(tmp_path: Path, text: str) -> str:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    return str(path)


def test_ids_are_labelled_from_now_on(
    run: Run, producer: Producer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    before = datetime.now(UTC)
    assert run("932554", "007", "--fraud", "--by", "alice", "--report", str(report)) == 0
    assert [(topic, key) for topic, _, key in producer.messages] == [
        ("fraud_labels", b"932554"),
        ("fraud_labels", b"007"),
    ]
    first = sent(producer)[0]
    assert first.keys() == {"transaction_id", "is_fraud", "labelled_by", "labelled_at"}
    assert (first["is_fraud"], first["labelled_by"]) == (True, "alice")
    assert before <= datetime.fromisoformat(first["labelled_at"]) <= datetime.now(UTC)
    assert first["labelled_at"].endswith("Z")
    assert "2 labels sent to fraud_labels, each confirmed: 2 fraud, 0 honest" in capsys.readouterr().out
    assert json.loads(report.read_text())["sent"] == 2


def test_a_time_of_its_own_may_be_given(run: Run, producer: Producer) -> None:
    assert run("1", "--honest", "--by", "alice", "--at", "2018-07-01T02:00:00+02:00") == 0
    assert sent(producer) == [
        {
            "transaction_id": "1",
            "is_fraud": False,
            "labelled_by": "alice",
            "labelled_at": "2018-07-01T00:00:00Z",
        }
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give TX_ID, or --data FILE"),
        (["1", "--by", "alice"], "Give --fraud or --honest"),
        (["1", "--fraud"], "Give --by NAME"),
        (["", "--fraud", "--by", "alice"], "transaction_id"),
        (["x" * 65, "--fraud", "--by", "alice"], "length <= 64"),
        (["1", "--fraud", "--by", "alice", "--days-later", "7"], "--days-later needs --data"),
        (["1", "--data", "labels.csv"], "leave out TX_ID"),
        (["--data", "nowhere.csv", "--by", "alice"], "nowhere.csv: no such file"),
    ],
)
def test_what_is_missing_or_wrong_is_said_and_nothing_is_sent(
    run: Run, producer: Producer, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("fraud-label: ")
    assert message in error
    assert not producer.messages


def test_a_label_that_was_not_confirmed_is_told(
    run: Run, producer: Producer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "\n".join(f"{n},{n % 2}" for n in range(5))
    path = write_csv(tmp_path, f"transaction_id,is_fraud\n{rows}\n")
    assert run("--data", path, "--by", "alice") == 1
    assert len(producer.messages) == 5
    shown = capsys.readouterr().out
    assert "4 labels sent" in shown
    assert "1 were NOT confirmed" in shown


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_file_says_who_and_when(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"labels.{suffix}"
    frame = pd.DataFrame(
        {
            "transaction_id": ["007", "8"],
            "is_fraud": [True, False],
            "labelled_by": ["bob", None],
            "labelled_at": pd.to_datetime(["2018-07-09 01:00:00", None]),
        }
    )
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    first, second = read_label_file(str(path), None, by="alice", at=NOW).labels
    assert (first.transaction_id, first.is_fraud, first.labelled_by) == ("007", True, "bob")
    assert first.labelled_at == datetime(2018, 7, 9, 1, tzinfo=UTC)
    assert (second.is_fraud, second.labelled_by, second.labelled_at) == (False, "alice", NOW)


def test_the_handbooks_names_are_known_and_labels_may_come_later(tmp_path: Path) -> None:
    path = tmp_path / "transactions.parquet"
    times = pd.to_datetime(["2018-07-01 00:00:31", "2018-07-02 00:00:00"])
    frame = pd.DataFrame(
        {"TRANSACTION_ID": [5, 6], "TX_DATETIME": times, "TX_AMOUNT": 1.5, "TX_FRAUD": [0, 1]}
    )
    frame.to_parquet(path)
    first, second = read_label_file(str(path), None, by="bank", at=NOW, days_later=timedelta(days=7)).labels
    assert (first.transaction_id, first.is_fraud) == ("5", False)
    assert first.labelled_at == datetime(2018, 7, 8, 0, 0, 31, tzinfo=UTC)
    assert second.is_fraud


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "transaction_id\n1\n",
            r"missing column is_fraud or TX_FRAUD\..*; found \(separated by commas\): transaction_id;",
        ),
        ("is_fraud\n1\n", "missing column transaction_id"),
        ("transaction_id,is_fraud\n1,1\n2,2\n", r"labels\.csv: column is_fraud, row 2 is 2; expected 0 or 1"),
        ("transaction_id,is_fraud\n1,1\n2,\n", "column is_fraud, row 2 is empty; expected 0 or 1"),
        ("transaction_id,is_fraud\n1,1\n,1\n", "column transaction_id, row 2 is empty; expected an id"),
        ("transaction_id,is_fraud\n1,maybe\n", "column is_fraud"),
        ("transaction_id,is_fraud,labelled_at\n1,1,yesterday\n", "column labelled_at"),
        ("", "neither CSV nor Parquet"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ClientError, match=message):
        read_label_file(write_csv(tmp_path, text), None, by="alice", at=NOW)


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (
            "1777885200",
            r"row 2 is 1777885200; .*needs its unit, such as --columns labelled_at=labelled_at\*1s",
        ),
        ("20260504", "row 2 is 20260504; .*needs its unit"),
        ("9999-12-31T23:59:59-01:00", "row 2 is .*; expected a time not over a day ahead"),
        ("1969-12-31T23:59:59Z", "row 2 is .*; expected a time from 1970 on"),
    ],
)
def test_a_time_that_no_label_can_have_is_refused(  # noqa: PLR0913, PLR0917 - fixtures, and a table's columns
    run: Run, producer: Producer, tmp_path: Path, capsys: pytest.CaptureFixture[str], at: str, said: str
) -> None:
    path = write_csv(tmp_path, f"transaction_id,is_fraud,labelled_at\n1,1,2026-05-04T09:00:00Z\n2,0,{at}\n")
    assert run("--data", path, "--by", "mira") == 2
    error = capsys.readouterr().err
    assert re.search(rf"^fraud-label: \S+labels\.csv: column labelled_at, {said}", error)
    assert error.count("\n") == 1
    assert not producer.messages


def test_a_label_of_tomorrow_is_refused(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = datetime.now(UTC).isoformat()
    path = write_csv(tmp_path, f"transaction_id,is_fraud,event_time\n1,1,{at}\n")
    assert run("--data", path, "--by", "mira", "--days-later", "7") == 2
    assert "labels.csv, row 1: no label: labelled_at" in capsys.readouterr().err


def test_a_mapping_tells_columns_and_the_unit_of_times(
    run: Run, producer: Producer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_csv(tmp_path, "tx,bad,when\n288062.0,1,1777885200\n4.1E+18,0,1777885201\n")
    mapping = "transaction_id=tx,is_fraud=bad,labelled_at=when*1s"
    assert run("--data", path, "--by", "mira", "--columns", mapping) == 0
    first = sent(producer)[0]
    assert (first["transaction_id"], first["labelled_at"]) == ("288062", "2026-05-04T09:00:00Z")
    assert "warning: " in (error := capsys.readouterr().err)
    assert "column tx, row 2 is 4.1E+18" in error
    assert run("1", "--fraud", "--by", "mira", "--columns", mapping) == 2
    assert "--columns needs --data" in capsys.readouterr().err


def test_a_file_that_names_nobody_needs_a_name(tmp_path: Path) -> None:
    path = write_csv(tmp_path, "transaction_id,is_fraud\n1,1\n")
    with pytest.raises(ClientError, match="Give --by NAME"):
        read_label_file(path, None, by=None, at=NOW)
    with pytest.raises(ClientError, match="missing column event_time or TX_DATETIME"):
        read_label_file(path, None, by="alice", at=NOW, days_later=timedelta(days=7))
