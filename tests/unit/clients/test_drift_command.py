"""A period like the model's test period has not drifted; one with other amounts has, and is named."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from memory_store import MemoryStore

from clients import drift_report
from clients.drift_measure import Knowledge, measure
from clients.drift_report import EXIT_DRIFTED, main
from clients.drift_source import File, Labels, lake_labels
from clients.process import ClientError
from flink_jobs.domain.label import Label
from flink_jobs.domain.scoring import Scorer
from flink_jobs.domain.terminal_risk import SCHEMA, VALUE_COLUMNS, TerminalRisk
from flink_jobs.store.folders import BucketFolder, LocalFolder
from flink_jobs.store.lake import Lake, LakeError
from flink_jobs.store.release import ModelReference, Release
from flink_jobs.store.settings import load_settings
from training.promotions import Promotions
from training.simulate import simulate
from training.train_sklearn_model import main as train

LAST_WEEK = "2024-04-23"
LAST_WEEK_S = pd.Timestamp(LAST_WEEK, tz="UTC").timestamp()
WEEK_S = 7 * 86400


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty days of a small town, a model of all but the last week, and that week with other amounts."""
    folder = tmp_path_factory.mktemp("drift")
    frame = simulate(customers=150, terminals=200, days=60, start=date(2024, 3, 1), seed=0)
    frame.to_parquet(folder / "same.parquet")
    late = frame["TX_DATETIME"] >= LAST_WEEK
    amounts = frame["TX_AMOUNT"].where(~late, frame["TX_AMOUNT"] * 3)
    frame.assign(TX_AMOUNT=amounts).to_parquet(folder / "dearer.parquet")
    data = ["--data", str(folder / "same.parquet"), "--until", LAST_WEEK]
    assert train([*data, "--output", str(folder / "model"), "--trees", "8", "--max-depth", "6"]) == 0
    return folder


@pytest.fixture
def scorer(folder: Path) -> Scorer:
    return drift_report.local_scorer(folder / "model")


def lake_at(folder: Path) -> Lake:
    return Lake(LocalFolder(folder))


def command(folder: Path, name: str, *more: str) -> list[str]:
    return ["--model", str(folder / "model"), "--data", str(folder / name), *more]


def test_a_week_like_the_one_before_has_not_drifted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(folder, "same.parquet", "--until", "2024-04-30")) == 0
    shown = capsys.readouterr().out
    head, _, columns, score, *features, alerts, of_alerts, of_others = shown.splitlines()
    assert "2024-04-23 00:00 to 2024-04-30 00:00" in head
    assert "same.parquet" in head
    assert columns.split()[:2] == ["PSI", "change"]
    assert score.startswith("score ")
    assert len(features) == 19
    assert " large " not in shown
    assert "of transactions then" in alerts
    for line in (of_alerts, of_others):
        assert " labelled, 2024-04-16 to 2024-04-22; " in line


def test_other_amounts_are_named_with_what_changed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(folder, "dearer.parquet")) == EXIT_DRIFTED
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert " large " in lines["amount"]
    assert "and more: 10." in lines["amount"]
    assert " none" in lines["is_night"]


def test_columns_of_other_names_are_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"CUSTOMER_ID": "card", "TX_DATETIME": "at"}
    frame = pd.read_parquet(folder / "dearer.parquet").rename(columns=names)
    frame.drop(columns="TRANSACTION_ID").to_parquet(tmp_path / "renamed.parquet")
    wanted = main(command(folder, "dearer.parquet", "--json")), capsys.readouterr().out
    data = [
        "--data",
        str(tmp_path / "renamed.parquet"),
        "--columns",
        "customer_id=card,event_time=at",
        "--json",
    ]
    assert main(["--model", str(folder / "model"), *data]) == wanted[0]
    shown = capsys.readouterr()
    assert json.loads(shown.out)["psi"] == json.loads(wanted[1])["psi"]
    assert "renamed.parquet: has no column transaction_id" in shown.err


def test_the_numbers_are_there_for_programs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(folder, "dearer.parquet", "--json")) == EXIT_DRIFTED
    found = json.loads(capsys.readouterr().out)
    assert found["psi"]["amount"] > 0.25 > found["psi"]["is_night"]
    assert found["transactions"] > 500
    assert 0 < found["alerts_then"] < found["alerts_now"] < 1


def test_a_period_is_cut_to_what_is_known_of_terminals(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(folder, "same.parquet", "--days", "20", "--json")) == 0
    captured = capsys.readouterr()
    assert "from 2024-04-23 00:00 on" in captured.err
    assert json.loads(captured.out)["since"] == "2024-04-23T00:00:00Z"


def test_the_lake_gives_what_the_file_gives(folder: Path, scorer: Scorer, tmp_path: Path) -> None:
    source = File(str(folder / "dearer.parquet"))
    wanted = measure(scorer, source, 7, LAST_WEEK_S + WEEK_S)
    (everything,) = source.payloads(0, 4e9)
    write_lake(tmp_path, everything)
    lake = lake_at(tmp_path)
    assert lake.last_event_s(4e9) == pytest.approx(everything[-1][0], abs=0.001)
    found = measure(scorer, lake, 7, LAST_WEEK_S + WEEK_S)
    assert found.source == str(tmp_path)
    assert found.transactions == wanted.transactions
    assert found.psi == wanted.psi


def test_a_period_is_measured_by_what_was_known_of_terminals_on_each_of_its_days(
    folder: Path, scorer: Scorer
) -> None:
    """The table that is served has a few days; what is still kept tells of the others."""
    source = File(str(folder / "same.parquet"))
    published = measure(scorer, source, 7, LAST_WEEK_S + WEEK_S)
    asked: list[Sequence[int]] = []

    def known_on(days: Sequence[int]) -> TerminalRisk:
        asked.append(days)
        return scorer.terminal_risk

    served = scorer.told(TerminalRisk.empty())
    assert measure(served, source, 7, LAST_WEEK_S + WEEK_S).psi != published.psi
    assert measure(served, source, 7, LAST_WEEK_S + WEEK_S, Knowledge(known_on)).psi == published.psi
    first = int(LAST_WEEK_S) // 86400
    assert asked == [list(range(first, first + 8))]
    # nor does a day of long ago that is served tell of days that nobody tells of
    long_ago = pa.table({"terminal_id": ["t"], "day": [1], **{name: [0.0] for name in VALUE_COLUMNS}})
    served = scorer.told(TerminalRisk(long_ago.cast(SCHEMA)))
    fortnight = measure(served, source, 14, LAST_WEEK_S + WEEK_S, Knowledge(lambda _: scorer.terminal_risk))
    assert fortnight.since.timestamp() == LAST_WEEK_S
    # nothing is kept: by what is served
    nothing_kept = Knowledge(lambda _: TerminalRisk.empty())
    nothing = measure(scorer, source, 7, LAST_WEEK_S + WEEK_S, nothing_kept)
    assert nothing.psi == published.psi


def test_of_lake_labels_the_latest_that_was_given_by_then_counts(tmp_path: Path) -> None:
    day = datetime(2024, 5, 1, tzinfo=UTC)
    given = [("1", True, 0), ("1", False, 2), ("2", True, 1), ("3", True, 5)]
    records = [
        (time.timestamp(), msgspec.json.encode(Label(name, is_fraud, "alice", time)))
        for name, is_fraud, time in ((name, is_fraud, day + timedelta(days=n)) for name, is_fraud, n in given)
    ]
    # one that was given days after it came is no label, as in training
    early = msgspec.json.encode(Label("4", is_fraud=True, labelled_by="alice", labelled_at=day))
    write_lake(tmp_path, [*records, (LAST_WEEK_S, early), (LAST_WEEK_S, b"no label")], came_at_once=True)
    labels_of = lake_labels(lake_at(tmp_path), unlabelled_is_honest=True, control_share=0.01)
    assert labels_of(0, (day + timedelta(days=4)).timestamp()) == Labels(
        {"1": False, "2": True}, unlabelled_is_honest=True, control_share=0.01
    )
    assert labels_of(0, (day + timedelta(days=1)).timestamp()) == Labels(
        {"1": True}, unlabelled_is_honest=True, control_share=0.01
    )


def test_a_time_in_the_far_future_is_no_last_event(tmp_path: Path) -> None:
    write_lake(tmp_path, [(LAST_WEEK_S, b"1"), (250_000_000_000.0, b"2")])
    lake = lake_at(tmp_path)
    assert lake.last_event_s(4e9) == LAST_WEEK_S
    assert list(lake.payloads(0, 4e9)) == [[(LAST_WEEK_S, b"1")]]


def test_times_that_sql_did_not_read_are_read_and_garbage_is_left_out(tmp_path: Path) -> None:
    payload = b'{"transaction_id": "1", "event_time": "2024-04-23T02:00:00+02:00", "amount": 1.0}'
    write_lake(tmp_path, [(float("nan"), payload), (float("nan"), b"garbage")])
    lake = lake_at(tmp_path)
    assert list(lake.payloads(LAST_WEEK_S, LAST_WEEK_S + 1)) == [[(LAST_WEEK_S, payload)]]
    assert lake.last_event_s(4e9) is None


def test_what_lies_there_twice_while_the_lake_is_compacted_counts_once(tmp_path: Path) -> None:
    """Also where two records are equal but for where they lie in Kafka."""
    records = [(LAST_WEEK_S, b"1"), (LAST_WEEK_S, b"1"), (LAST_WEEK_S + 1, b"2")]
    write_lake(tmp_path, records)
    merged = tmp_path / "dt=2024-05-01" / "compacted-0.parquet"
    merged.write_bytes((tmp_path / "dt=2024-05-01" / "part-0.parquet").read_bytes())
    lake = lake_at(tmp_path)
    assert list(lake.payloads(0, 4e9)) == [records]


def write_lake(root: Path, records: list[tuple[float, bytes]], *, came_at_once: bool = False) -> None:
    """Two files of two days, the latest event first, and one that is still being written."""
    times = [None if np.isnan(time_s) else round(time_s * 1e3) for time_s, _ in records]
    table = pa.table(
        {
            "event_time": pa.array(times, pa.timestamp("ms")),
            "payload": pa.array([payload for _, payload in records], pa.binary()),
            "kafka_time": pa.array(times if came_at_once else [1] * len(records), pa.timestamp("ms")),
            "kafka_partition": pa.array([0] * len(records), pa.int32()),
            "kafka_offset": pa.array(range(len(records)), pa.int64()),
        }
    )
    half = len(records) // 2
    for day, part in (("2024-05-01", table.slice(half)), ("2024-05-02", table.slice(0, half))):
        (root / f"dt={day}").mkdir()
        # as Flink does
        file = root / f"dt={day}" / "part-0.parquet"
        pq.write_table(part, file, use_deprecated_int96_timestamps=True)
        (root / f"dt={day}" / ".part-1.parquet.inprogress").write_bytes(b"PAR1")


def test_what_is_released_and_gone_is_named_with_what_to_do(
    settings_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = MemoryStore()
    monkeypatch.setattr("boto3.client", lambda *_, **_options: store)
    release = Release(number=0, writer="", action="promote", model=ModelReference("v", ""))
    Promotions(load_settings(settings_file)).releases.write(lambda _: release)
    assert main(["--settings", str(settings_file)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        "fraud-drift: what is released cannot be loaded: cannot read s3://models/v/manifest.json"
    )
    assert "docs/models.md says how the file is brought back" in said


def test_too_few_transactions_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(folder, "same.parquet", "--until", "2024-04-23T02:00")) == 2
    assert "500 are needed to compare" in capsys.readouterr().err


def test_an_empty_lake_is_said(scorer: Scorer, tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=": no transactions"):
        measure(scorer, lake_at(tmp_path), 7)


def test_a_lake_that_is_not_there_is_named(scorer: Scorer) -> None:
    with pytest.raises(LakeError, match="cannot read the lake, s3://nowhere"):
        measure(scorer, Lake(BucketFolder(MemoryStore(), "nowhere", "raw/transactions")), 7)


def test_a_model_that_is_not_there_or_has_nothing_to_compare_with_is_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(folder / "same.parquet")]
    assert main(["--model", str(tmp_path), *data]) == 2
    assert "manifest.json: No such file" in capsys.readouterr().err
    for file in (folder / "model").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"distributions": {}}))
    assert main(["--model", str(tmp_path), *data]) == 2
    assert "published without distributions: train it again" in capsys.readouterr().err
