"""Control transactions without a label are listed, in a form that comes back as labels."""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kafka_fakes import Producer
from served_lake import ServedLake

from clients import control_transactions, labelling
from flink_jobs.store.folders import LocalFolder
from flink_jobs.store.lake import Lake

Run = Callable[..., int]


class Closing(Producer):
    def close(self, timeout: float) -> None:
        pass


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServedLake:
    root = tmp_path / "lake"
    monkeypatch.setattr(
        control_transactions, "open_lake", lambda _, folder: Lake(LocalFolder(root / folder), "EUR")
    )
    return ServedLake(root)


@pytest.fixture
def run(settings_file: Path) -> Run:
    return lambda *arguments: labelling.main(["--settings", str(settings_file), *arguments])


def payment(id_: str, day: int = 15) -> dict[str, Any]:
    at = f"2026-06-{day:02}T11:00:00+02:00"
    return {
        "transaction_id": id_,
        "event_time": at,
        "customer_id": "c,1",
        "terminal_id": "7",
        "amount": 12.5,
    }


def prediction(offset: int, *, control: float | None = 0.001, partition: int = 0) -> dict[str, Any]:
    return {
        "score": 0.125,
        "threshold": 0.5,
        "model_version": "m",
        "control_probability": control,
        "transaction_partition": partition,
        "transaction_offset": offset,
    }


def write(lake: ServedLake) -> None:
    """At offsets 0 to 5: open, labelled, no control transaction, open, the first again, long ago."""
    ids = [("a", 15), ("b", 15), ("c", 15), ("d", 14), ("a", 15), ("e", 1)]
    lake.transactions([payment(*each) for each in ids])
    lake.predictions(
        [
            *(prediction(0), prediction(1), prediction(2, control=None)),
            *(prediction(3), prediction(4), prediction(5), prediction(2, partition=1)),
        ]
    )
    # scored again, when it was no alert any more
    lake.predictions([prediction(2)], at=[datetime(2026, 6, 20, 13, tzinfo=UTC)])
    lake.labels([verdict("b"), verdict("c"), verdict("x")])


def verdict(id_: str) -> dict[str, Any]:
    return {
        "transaction_id": id_,
        "is_fraud": False,
        "labelled_by": "me",
        "labelled_at": "2026-06-16T00:00:00Z",
    }


def test_those_without_a_label_are_listed_with_what_a_labeller_looks_at(
    lake: ServedLake, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    write(lake)
    assert run("--control", "--since", "2026-06-10") == 0
    shown = capsys.readouterr()
    assert shown.out == (
        "transaction_id,event_time,customer_id,terminal_id,amount,score,is_fraud\n"
        'd,2026-06-14T09:00:00Z,"c,1",7,12.5,0.125,\n'
        'a,2026-06-15T09:00:00Z,"c,1",7,12.5,0.125,\n'
    )
    assert shown.err == "2 of 3 control transactions since 2026-06-10 00:00 have no label\n"
    # 28 days before the last event
    assert run("--control") == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("e,")


@pytest.mark.parametrize(("delay_days", "listed"), [(7, ["last"]), (30, ["before", "last"])])
def test_what_is_known_late_stays_in_the_list_until_then(  # noqa: PLR0913, PLR0917 - fixtures
    lake: ServedLake,
    run: Run,
    settings_file: Path,
    capsys: pytest.CaptureFixture[str],
    delay_days: int,
    listed: list[str],
) -> None:
    settings = json.loads(settings_file.read_text()) | {"label_delay_days": delay_days}
    settings_file.write_text(json.dumps(settings))
    lake.transactions([payment("before") | {"event_time": "2026-05-01T09:00:00Z"}, payment("last")])
    lake.predictions([prediction(0), prediction(1)])
    lake.labels([verdict("x")])
    assert run("--control") == 0
    rows = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert [row["transaction_id"] for row in rows] == listed


def test_the_list_comes_back_as_labels(
    lake: ServedLake,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(lake)
    producer = Closing()
    monkeypatch.setattr(labelling, "make_producer", lambda *_: producer)
    monkeypatch.setattr(labelling, "check_topic", lambda *_: None)
    assert run("--control", "--since", "2026-06-10") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    file = tmp_path / "control.csv"

    def fill_in(verdicts: list[str]) -> None:
        with file.open("w", newline="") as opened:
            writer = csv.DictWriter(opened, rows[0].keys())
            writer.writeheader()
            writer.writerows(row | {"is_fraud": verdict} for row, verdict in zip(rows, verdicts, strict=True))

    fill_in(["1", ""])
    assert run("--data", str(file), "--by", "mira") == 2
    assert "column is_fraud, row 2 is empty; expected 0 or 1" in capsys.readouterr().err
    fill_in(["1", "0"])
    assert run("--data", str(file), "--by", "mira") == 0
    labels = [json.loads(value) for _, value, _ in producer.messages]
    assert [(label["transaction_id"], label["is_fraud"]) for label in labels] == [("d", True), ("a", False)]
    capsys.readouterr()
    lake.labels(labels, f"{datetime.now(UTC):%Y-%m-%d}")
    assert run("--control", "--since", "2026-06-10") == 0
    shown = capsys.readouterr()
    assert shown.out.count("\n") == 1
    assert shown.err == "0 of 3 control transactions since 2026-06-10 00:00 have no label\n"


def test_a_lake_without_predictions_says_so(
    lake: ServedLake, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    lake.transactions([payment("a")])
    assert run("--control") == 2
    assert "there are no predictions yet. kafka_to_minio_job of this version" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--control", "932554"], "--control labels nothing"),
        (["--control", "--data", "labels.csv"], "--control labels nothing"),
        (["--control", "--fraud"], "--control labels nothing"),
        (["--control", "--by", "mira"], "--control labels nothing"),
        (["932554", "--fraud", "--by", "mira", "--since", "2026-06-10"], "--since needs --control"),
    ],
)
def test_listing_takes_no_option_of_labelling(
    run: Run, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err
