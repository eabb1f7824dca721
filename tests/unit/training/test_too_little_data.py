"""A lake into which little has come yet: each command says what is missing, and the weekly one ends well."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from memory_store import MemoryStore

from clients.drift_report import main as drift
from flink_jobs.store.settings import Settings
from training import options, retraining_command
from training.dataset import Dataset, load
from training.evaluate import main as evaluate
from training.model_command import main as models
from training.promotions import Promotions
from training.renewal_command import main as renew
from training.retraining_command import main as retrain
from training.search import main as search
from training.train_sklearn_model import main as train

LAKE = ["--data", "s3://datalake/raw/transactions", "--labels", "s3://datalake/labels"]
NO_TRANSACTIONS = "s3://datalake/raw/transactions: there are no transactions yet"
NO_LABELS = "s3://datalake/labels: there are no labels yet"
SMALL = ["--trees", "2", "--max-depth", "4"]


@pytest.fixture
def promoted(
    store: MemoryStore, settings_file: Path, handbook_frame: pd.DataFrame, tmp_path: Path
) -> MemoryStore:
    """A store with a promoted model, and nothing in its lake."""
    file = tmp_path / "town.parquet"
    handbook_frame.to_parquet(file)
    where = ["--settings", str(settings_file), "--output", str(tmp_path / "model")]
    assert train(["--data", str(file), *SMALL, *where, "--promote"]) == 0
    # another, to be compared with it
    assert train(["--data", str(file), *SMALL, *where, "--seed", "1"]) == 0
    assert models(["--settings", str(settings_file), "upload", str(tmp_path / "model")]) == 0
    return store


def write(store: MemoryStore, folder: str, messages: list[dict[str, Any]]) -> None:
    """Write records into the lake that come now."""
    now = datetime.now(UTC)
    rows = [
        {
            "kafka_partition": 0,
            "kafka_offset": n,
            "kafka_time": now,
            # SQL finds none in a record without
            "event_time": now if "event_time" in message else None,
            "payload": json.dumps(message).encode(),
        }
        for n, message in enumerate(messages)
    ]
    target = pa.BufferOutputStream()
    schema = pa.schema(
        [
            ("kafka_partition", pa.int32()),
            ("kafka_offset", pa.int64()),
            ("kafka_time", pa.timestamp("ms", "UTC")),
            ("event_time", pa.timestamp("ms", "UTC")),
            ("payload", pa.binary()),
        ]
    )
    pq.write_table(pa.Table.from_pylist(rows, schema), target)
    store.objects["datalake"][f"{folder}/dt={now:%Y-%m-%d}/part-0"] = target.getvalue().to_pybytes()


def payments(days: int) -> list[dict[str, Any]]:
    """Ten a day, up to now."""
    now = datetime.now(UTC)
    return [
        {
            "transaction_id": str(n),
            "event_time": (now - timedelta(days=days * (1 - n / (10 * days)))).isoformat(),
            "customer_id": "c",
            "terminal_id": "t",
            "amount": 1.0,
        }
        for n in range(10 * days)
    ]


def labels(*names: str, at: str = "") -> list[dict[str, Any]]:
    """All say fraud."""
    at = at or datetime.now(UTC).isoformat()
    return [
        {"transaction_id": each, "is_fraud": True, "labelled_by": "me", "labelled_at": at} for each in names
    ]


def missing(store: MemoryStore, what: str) -> str:
    """Leave the lake without something; gives what is said of it."""
    if what == "transactions":
        write(store, "labels", labels("0"))
        return NO_TRANSACTIONS
    write(store, "raw/transactions", payments(5))
    if what == "labels":
        return NO_LABELS
    write(store, "labels", labels("0"))
    return "training needs 28"


@pytest.mark.parametrize("what", ["transactions", "labels", "days"])
def test_retraining_waits_for_what_is_missing_and_does_not_fail(
    promoted: MemoryStore, settings_file: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    said = missing(promoted, what)
    assert retrain(["--settings", str(settings_file)]) == 0
    shown = capsys.readouterr()
    assert "nothing to do yet: " in shown.out
    assert said in shown.out
    assert shown.err == ""


def test_retraining_fails_where_waiting_does_not_help(
    promoted: MemoryStore, settings_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = payments(40)
    write(promoted, "raw/transactions", sent)
    given = [labels(each["transaction_id"], at=each["event_time"])[0] for each in sent]
    write(promoted, "labels", given)
    assert retrain(["--settings", str(settings_file)]) == 1
    assert "unlabelled_is_honest in the settings" in capsys.readouterr().err
    write(promoted, "raw/transactions", [{"transaction_id": "bad"}])
    assert retrain(["--settings", str(settings_file)]) == 1
    assert "none of its 1 records is a transaction" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["transactions", "labels"])
@pytest.mark.parametrize("command", [train, evaluate, search])
def test_who_names_the_lake_is_told_what_it_lacks(  # noqa: PLR0913, PLR0917 - fixtures
    store: MemoryStore,
    settings_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: Callable[[list[str]], int],
    what: str,
) -> None:
    said = missing(store, what)
    assert command([*LAKE, "--settings", str(settings_file), "--output", str(tmp_path / "out")]) == 1
    assert said in capsys.readouterr().err


def test_models_cannot_be_compared_on_a_lake_without_labels(
    promoted: MemoryStore, settings_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = missing(promoted, "labels")
    where = ["--settings", str(settings_file)]
    versions = sorted({key.split("/")[0] for key in promoted.objects["models"]} - {"releases"})
    found = [models([*where, "promote", version]) for version in versions]
    assert sorted(found) == [0, 1], "one is promoted already"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("what", ["transactions", "labels"])
def test_renewal_and_drift_need_no_labels(
    promoted: MemoryStore, settings_file: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    missing(promoted, what)
    where = ["--settings", str(settings_file)]
    assert renew(where) == 0
    assert "unchanged: the lake has no label of a payment" in capsys.readouterr().out
    assert drift(where) == 2
    shown = capsys.readouterr().err
    assert ("no transactions" if what == "transactions" else "50 transactions between") in shown


def test_an_empty_folder_on_disk_is_named_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "transactions").mkdir()
    assert train(["--data", str(tmp_path / "transactions")]) == 1
    assert "there are no transactions yet" in capsys.readouterr().err


@pytest.fixture
def since(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """From when on data was read, each time."""
    found: list[str | None] = []

    def spied(location: str, settings_file: str, since: str | None, *others: object) -> Dataset:
        found.append(since)
        return load(location, settings_file, since, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(options, "load", spied)
    return found


def test_of_a_lake_of_years_no_more_is_read_than_needed(
    promoted: MemoryStore, settings_file: Path, settings: Settings, since: list[str | None]
) -> None:
    write(promoted, "raw/transactions", payments(400))
    write(promoted, "labels", labels(*(str(10 * day) for day in range(400))))
    where = ["--settings", str(settings_file)]
    today = datetime.now(UTC).date()
    promotions = Promotions(settings)

    def spare() -> str:
        return next(each for each in promotions.versions() if each != promotions.current())

    # whether a model passes the gate is of no matter; both have learnt from days of years ago
    models([*where, "promote", spare()])
    promotions.challenge(spare())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retraining_command, "shadow_is_over", lambda *_: True)
        retrain(where)
    assert since == [str(today - timedelta(days=38 + 7 + 56))] * 2
    promotions.unchallenge()
    # 37 days of history before 28 of training, 7 to validate and 7 to test, and three delays of 7
    retrain([*where, *SMALL, "--unlabelled", "honest"])
    assert since[2:] == [str(today - timedelta(days=102))]
