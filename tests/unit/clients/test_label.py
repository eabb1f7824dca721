"""Labels are sent as what others can read, or refused with the row and the reason."""

import json
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
def run(tmp_path: Path) -> Run:
    names = ("transactions", "predictions", "fraud_alerts", "transactions_dlq")
    settings = {
        "kafka": {"bootstrap_servers": "127.0.0.1:1"},
        "topics": dict(zip(names, names, strict=True)),
        "s3": {"endpoint_url": "http://127.0.0.1:1", "access_key": "a", "secret_key": "b"},
        "buckets": {name: name for name in ("datalake", "models", "features", "flink")},
    }
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(settings))
    return lambda *arguments: labelling.main(["--settings", str(path), *arguments])


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
        (["--data", "nowhere.csv", "--by", "alice"], "cannot read nowhere.csv"),
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
    first, second = read_label_file(str(path), None, by="alice", at=NOW)
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
    first, second = read_label_file(str(path), None, by="bank", at=NOW, days_later=timedelta(days=7))
    assert (first.transaction_id, first.is_fraud) == ("5", False)
    assert first.labelled_at == datetime(2018, 7, 8, 0, 0, 31, tzinfo=UTC)
    assert second.is_fraud


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("transaction_id\n1\n", r"missing column is_fraud or TX_FRAUD; found: transaction_id"),
        ("is_fraud\n1\n", "missing column transaction_id"),
        ("transaction_id,is_fraud\n1,1\n2,2\n", r"labels\.csv, row 2: is_fraud is 2; 0 or 1 is expected"),
        ("transaction_id,is_fraud\n1,1\n2,\n", r"row 2: is_fraud is None"),
        ("transaction_id,is_fraud\n1,1\n,1\n", r"row 2: .*transaction_id"),
        ("transaction_id,is_fraud\n1,maybe\n", "column is_fraud"),
        ("transaction_id,is_fraud,labelled_at\n1,1,yesterday\n", "column labelled_at"),
        ("", "neither CSV nor Parquet"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ClientError, match=message):
        read_label_file(write_csv(tmp_path, text), None, by="alice", at=NOW)


def test_a_file_that_names_nobody_needs_a_name(tmp_path: Path) -> None:
    path = write_csv(tmp_path, "transaction_id,is_fraud\n1,1\n")
    with pytest.raises(ClientError, match="Give --by NAME"):
        read_label_file(path, None, by=None, at=NOW)
    with pytest.raises(ClientError, match="no column event_time"):
        read_label_file(path, None, by="alice", at=NOW, days_later=timedelta(days=7))
