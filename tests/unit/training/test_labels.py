"""Labels that came back are joined by transaction, and none counts before it was known."""

import argparse
import io
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from memory_store import MemoryStore

from flink_jobs.store.settings import Settings
from training.dataset import Dataset, from_frame, load
from training.examples import check, prepare, prepare_each
from training.forest import Forest
from training.label_history import LabelHistory, read_label_history
from training.labelled_data import LabelledData
from training.options import add_data, read
from training.procedure import alerting
from training.procedure import test as score_test
from training.simulate import simulate
from training.tables import DatasetError
from training.terminal_labels import TerminalLabels
from training.train_sklearn_model import main

FOREST = Forest(trees=4, max_depth=6)
FIRST = date(2024, 3, 1)
FIRST_DAY = (FIRST - date(1970, 1, 1)).days


def parquet(rows: list[dict[str, Any]], first_offset: int = 0) -> bytes:
    """Write records as the lake's job does."""
    table = pa.table(
        {
            "kafka_partition": pa.array([0] * len(rows), pa.int32()),
            "kafka_offset": pa.array(range(first_offset, first_offset + len(rows)), pa.int64()),
            "kafka_time": pa.array([datetime(2024, 6, 1, tzinfo=UTC)] * len(rows), pa.timestamp("ns", "UTC")),
            "payload": [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows],
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def label(transaction_id: str, at: str, *, fraud: bool = True) -> dict[str, Any]:
    return {"transaction_id": transaction_id, "is_fraud": fraud, "labelled_by": "me", "labelled_at": at}


def history(*labels: tuple[str, int, str]) -> LabelHistory:
    """Of transaction, verdict and time, in the order given."""
    frame = pd.DataFrame(labels, columns=["transaction_id", "is_fraud", "labelled_at"])
    frame["labelled_at"] = frame["labelled_at"].to_numpy("datetime64[us]")
    return LabelHistory(frame.astype({"is_fraud": np.int8}), "labels", "")


@pytest.fixture
def few() -> Dataset:
    """Three transactions at a terminal, on three days."""
    frame = pd.DataFrame(
        {
            "transaction_id": ["a", "b", "c"],
            "event_time": ["2024-03-01T12:00:00Z", "2024-03-02T12:00:00Z", "2024-03-03T12:00:00Z"],
            "customer_id": "c",
            "terminal_id": "t",
            "amount": 1.0,
        }
    )
    return from_frame(frame, "few", "")


def test_the_latest_label_counts_and_none_is_honest(few: Dataset) -> None:
    labelled = LabelledData(
        few,
        history(
            ("a", 0, "2024-03-02"), ("b", 1, "2024-03-04"), ("x", 1, "2024-03-04"), ("a", 1, "2024-03-05")
        ),
    )
    assert labelled.known_by_now().tolist() == [1, 1, 0]
    assert labelled.is_labelled
    assert labelled.sha256 != few.sha256


def test_labels_of_the_data_stay_where_nobody_said_otherwise(few: Dataset) -> None:
    data = replace(few, frame=few.frame.assign(is_fraud=np.array([1, 1, 0], dtype=np.int8)), label="is_fraud")
    labelled = LabelledData(data, history(("b", 0, "2024-03-20")))
    assert labelled.known_by_now().tolist() == [1, 0, 0]
    # until then it was taken for a fraud
    assert labelled.known_on(FIRST_DAY + 19).tolist() == [1, 1, 0]
    assert labelled.known_on(FIRST_DAY + 20).tolist() == [1, 0, 0]


def test_a_label_counts_from_a_week_after_the_transaction_and_from_the_day_after_it_was_given(
    few: Dataset,
) -> None:
    labelled = LabelledData(few, history(("a", 1, "2024-03-01T13:00"), ("b", 1, "2024-03-20T00:00")))
    first_known = {
        row: next(day for day in range(FIRST_DAY, FIRST_DAY + 40) if labelled.known_on(day)[row])
        for row in (0, 1)
    }
    assert first_known == {0: FIRST_DAY + 8, 1: FIRST_DAY + 20}
    assert labelled.known_in_time().tolist() == [1, 0, 0]


def test_until_forgets_what_was_found_out_later(few: Dataset) -> None:
    labels = history(("a", 1, "2024-03-10"), ("a", 0, "2024-03-12"))
    assert LabelledData(few, labels.before("2024-03-12")).known_by_now().tolist() == [1, 0, 0]
    assert LabelledData(few, labels.before("2024-03-12T00:00:01Z")).known_by_now().tolist() == [0, 0, 0]


def test_terminals_know_a_fraud_once_it_was_found_out_and_forget_it_once_it_was_none(few: Dataset) -> None:
    labelled = LabelledData(few, history(("a", 1, "2024-03-12"), ("a", 0, "2024-03-15")))
    terminals = TerminalLabels(
        ["t"] * 3, labelled.transactions.days(), labelled.known_in_time(), labelled.found_out_later()
    )
    days = np.arange(FIRST_DAY + 8, FIRST_DAY + 20, dtype=np.int32)
    # as of a day in the order asked for, whatever that is
    order = np.random.default_rng(0).permutation(len(days))
    values = np.empty((len(days), 8), dtype=np.float32)
    values[order] = terminals.as_of(["t"] * len(days), days[order])
    risk_30d = values[:, 5]
    assert (risk_30d > 0).tolist() == [FIRST_DAY + 12 <= day < FIRST_DAY + 15 for day in days.tolist()]
    # how many there were is no label
    assert values[:, 4].tolist() == [1, 2, *[3] * 10]


@pytest.fixture(scope="module")
def town() -> Dataset:
    """Sixty days of a small town."""
    return from_frame(simulate(customers=150, terminals=200, days=60, start=FIRST, seed=0), "town", "")


def given_after(data: Dataset, days: float) -> LabelHistory:
    """Label the frauds of the data so long after they happened."""
    frauds = data.frame[data.frame["is_fraud"] == 1]
    frame = pd.DataFrame(
        {
            "transaction_id": frauds["transaction_id"].to_numpy(),
            "is_fraud": np.int8(1),
            "labelled_at": frauds["event_time"].to_numpy() + np.timedelta64(int(days * 86_400), "s"),
        }
    )
    return LabelHistory(frame.sort_values("labelled_at", kind="stable", ignore_index=True), "labels", "")


def unlabelled(data: Dataset) -> Dataset:
    return replace(data, frame=data.frame.drop(columns="is_fraud"), label=None)


@pytest.mark.parametrize("days", [0, 3, 6.9])
def test_labels_within_the_delay_are_as_good_as_a_column(town: Dataset, days: float) -> None:
    end = FIRST_DAY + 52  # the delay of later ones is not over
    expected = prepare_each(LabelledData(town), 14, 7, [end])[end]
    labelled = LabelledData(unlabelled(town), given_after(town, days), unlabelled_is_honest=True)
    assert labelled.found_out_later() is None
    found = prepare_each(labelled, 14, 7, [end])[end]
    assert np.array_equal(expected.matrix, found.matrix)
    assert np.array_equal(expected.labels, found.labels)
    assert expected.terminal_risk == found.terminal_risk


def test_later_labels_are_seen_later(town: Dataset) -> None:
    soon = LabelledData(unlabelled(town), given_after(town, 1))
    late = LabelledData(unlabelled(town), given_after(town, 12))
    at = np.arange(FIRST_DAY, FIRST_DAY + 60, dtype=np.int32)
    for terminal in town.frame.loc[town.frame["is_fraud"] == 1, "terminal_id"].unique()[:5]:
        risks = [
            TerminalLabels(
                each.transactions.frame["terminal_id"].tolist(),
                each.transactions.days(),
                each.known_in_time(),
                each.found_out_later(),
            ).as_of([terminal] * 60, at)[:, 5]
            for each in (soon, late)
        ]
        assert (risks[1] <= risks[0]).all()
        # 8 days after the first fraud, or the day after its label, 13
        assert np.flatnonzero(risks[1])[0] == np.flatnonzero(risks[0])[0] + 5


@given(
    seen_from=st.integers(20, 59),
    planted=st.lists(
        st.tuples(st.integers(0, 10_000), st.booleans(), st.floats(0, 30)), min_size=1, max_size=30
    ),
)
@hypothesis_settings(max_examples=15, deadline=None)
def test_a_label_from_the_future_moves_no_feature(
    town: Dataset, seen_from: int, planted: list[tuple[int, bool, float]]
) -> None:
    """Whatever is said from a day on, of whichever transaction, no feature up to that day changes."""
    known = given_after(town, 9)
    moment = np.datetime64(FIRST, "us") + np.timedelta64(seen_from * 86_400, "s")
    ids = town.frame["transaction_id"].tolist()
    frame = pd.DataFrame(
        [
            (ids[n % len(ids)], fraud, moment + np.timedelta64(int(later * 86_400), "s"))
            for n, fraud, later in planted
        ],
        columns=["transaction_id", "is_fraud", "labelled_at"],
    ).astype({"is_fraud": np.int8})
    frames = [known.frame[known.frame["labelled_at"] < moment], frame]
    later = replace(
        known, frame=pd.concat(frames).sort_values("labelled_at", kind="stable", ignore_index=True)
    )
    rows = town.days() - FIRST_DAY <= seen_from
    terminals = town.frame["terminal_id"].tolist()
    without, with_planted = (
        TerminalLabels(terminals, town.days(), each.known_in_time(), each.found_out_later()).as_of(
            terminals, town.days()
        )[rows]
        for each in (LabelledData(unlabelled(town), labels) for labels in (known.before(str(moment)), later))
    )
    assert np.array_equal(without, with_planted)


def test_what_is_trained_on_is_what_was_known_when_the_test_began(town: Dataset) -> None:
    labelled = LabelledData(unlabelled(town), given_after(town, 12), unlabelled_is_honest=True)
    found = prepare(labelled, train_days=28, test_days=7, validate=False).twin
    train, test = found.split.train, found.split.test
    begin = int(found.days[test][0])
    final = town.frame["is_fraud"].to_numpy()[-len(found.labels) :]
    was_known = found.days + 13 <= begin
    assert np.array_equal(found.labels[train], np.where(was_known, final, 0)[train])
    assert found.labels[train].sum() < final[train].sum()
    assert np.array_equal(found.labels[test], final[test])


def test_what_nobody_labelled_is_unknown_and_honest_only_after_the_delay_where_that_is_said(
    few: Dataset,
) -> None:
    labels = history(("a", 1, "2024-03-02"), ("b", 0, "2024-03-20"))
    for honest, known in ((False, [[], ["a"], ["a", "b"]]), (True, [[], ["a", "b"], ["a", "b", "c"]])):
        labelled = LabelledData(few, labels, unlabelled_is_honest=honest)
        on = [labelled.labelled_on(FIRST_DAY + day) for day in (7, 9, 20)]
        assert [few.frame["transaction_id"][each].tolist() for each in on] == known


def test_what_is_unknown_is_neither_learnt_from_nor_measured(town: Dataset) -> None:
    """Frauds alone are labelled, and every tenth honest transaction."""
    frauds = given_after(town, 3)
    honest = town.frame[town.frame["is_fraud"] == 0].iloc[::10]
    frame = honest[["transaction_id"]].assign(is_fraud=np.int8(0), labelled_at=honest["event_time"])
    frame = pd.concat([frauds.frame, frame]).sort_values("labelled_at", kind="stable", ignore_index=True)
    labelled = LabelledData(unlabelled(town), replace(frauds, frame=frame))
    twin = prepare(labelled, train_days=28, test_days=7).twin
    _, labels, _ = twin.learnt_from(twin.split.train)
    facts = twin.period("train", twin.split.train)
    assert labels.sum() == facts["train_frauds"] > 10
    assert 0.08 < (len(labels) - labels.sum()) / int(facts["train_transactions"] or 0) < 0.12
    tested = score_test(FOREST.fit(*twin.learnt_from(twin.split.train)), twin)
    assert len(tested.labelled().labels) < 0.2 * len(tested.labels)
    everywhere = alerting(tested, 0.0)
    assert everywhere["alerts_per_day"] == len(tested.labels) / 7
    assert everywhere["precision"] == tested.labels.sum() / tested.known.sum()


def test_frauds_alone_are_no_labels_to_train_on_unless_the_others_are_said_to_be_honest(
    town: Dataset,
) -> None:
    labelled = LabelledData(unlabelled(town), given_after(town, 3))
    with pytest.raises(DatasetError, match=r"the training part has .* --unlabelled honest"):
        check(labelled, 28, 7)
    check(replace(labelled, unlabelled_is_honest=True), 28, 7)


@pytest.mark.parametrize(("late_days", "days"), [(30, 120), (90, 230)])
def test_chargebacks_that_come_months_late_are_trained_on(late_days: int, days: int) -> None:
    """As on a lake: the last labels are those of transactions of months ago."""
    town = from_frame(simulate(customers=300, terminals=400, days=days, start=FIRST, seed=0), "town", "")
    now = np.datetime64(FIRST, "us") + np.timedelta64(days, "D")
    labels = given_after(town, late_days).before(str(now))
    labelled = LabelledData(unlabelled(town), labels, late_days, unlabelled_is_honest=True)
    check(labelled, 28, 7)
    assert abs(labelled.labelled_until_day - (FIRST_DAY + days - late_days)) <= 1
    prepared = prepare(labelled, 28, 7)
    final = town.frame["is_fraud"].to_numpy()[-len(prepared.twin.labels) :]
    for each in prepared:
        assert np.array_equal(each.labels[each.split.train], final[each.split.train])
        assert each.labels[each.split.train].sum() > 2
    assert np.array_equal(prepared.twin.labels[prepared.twin.split.test], final[prepared.twin.split.test])
    assert prepared.final.days[prepared.final.split.train][-1] == labelled.labelled_until_day - 1


def test_the_day_whose_labels_are_just_coming_in_is_not_taken_for_honest(town: Dataset) -> None:
    """As where a lake is read in the morning: labels of a week ago have come for its small hours only."""
    at = datetime(2024, 4, 20, 4, 30, tzinfo=UTC)
    today = (at.date() - date(1970, 1, 1)).days
    came, labels = unlabelled(town).between(None, at), given_after(town, 7).before(str(at))
    truth = town.between(None, at).frame["is_fraud"].to_numpy()
    data = LabelledData(came, labels, unlabelled_is_honest=True)
    assert (truth[data.labelled_by_now()] != data.known_by_now()[data.labelled_by_now()]).any()
    data = replace(data, today=today)
    known = data.labelled_by_now()
    assert (truth[known] == data.known_by_now()[known]).all()
    assert came.days()[known].max() == today - 8 == data.labelled_until_day - 1
    # a clock that is fast does not make it later
    early = came.frame.iloc[-1:].assign(event_time=came.frame["event_time"].iloc[-1] + np.timedelta64(1, "D"))
    fast = replace(data, transactions=replace(came, frame=pd.concat([came.frame, early], ignore_index=True)))
    assert fast.labelled_until_day == data.labelled_until_day
    assert not fast.labelled_by_now()[-1]


def test_a_label_that_is_given_today_counts_today(few: Dataset) -> None:
    today = FIRST_DAY + 19
    labelled = LabelledData(few, history(("b", 1, "2024-03-20T10:00")), today=today)
    assert labelled.labelled_by_now().tolist() == [False, True, False]
    assert not labelled.labelled_on(today).any()
    assert labelled.labelled_on(today + 1).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("until", "day"),
    [
        (["--until", "2024-03-20T04:30"], date(2024, 3, 20)),
        (["--until", "2024-03-20"], date(2024, 3, 20)),
        (["--until", "2999-01-01"], None),
        ([], None),
    ],
)
def test_what_is_read_ends_with_a_day_that_is_not_over(
    tmp_path: Path, few: Dataset, until: list[str], day: date | None
) -> None:
    few.frame.to_parquet(tmp_path / "few.parquet")
    parser = argparse.ArgumentParser()
    add_data(parser, tested="")
    before = datetime.now(UTC).date()
    data = read(parser.parse_args(["--data", str(tmp_path / "few.parquet"), *until]))
    days = {(each - date(1970, 1, 1)).days for each in ([day] if day else [before, datetime.now(UTC).date()])}
    assert data.today in days


def test_a_card_is_blocked_when_its_fraud_is_known_not_before(town: Dataset) -> None:
    end = FIRST_DAY + 60
    blocked = []
    for late in (3, 12):
        labels = given_after(town, late)
        labelled = LabelledData(unlabelled(town), labels, unlabelled_is_honest=True)
        blocked.append(prepare_each(labelled, 28, 7, [end])[end].known_compromised())
    assert (blocked[1] <= blocked[0]).all()
    assert 0 < blocked[1].sum() < blocked[0].sum()


# Where they are read from


def test_labels_are_read_from_the_lake_and_what_is_none_is_left_out(
    store: MemoryStore, settings_file: Path
) -> None:
    lake = store.objects["datalake"]
    lake["labels/dt=2024-06-01/part-1"] = parquet(
        [label("b", "2024-03-09T02:00:00+02:00"), b"\xff", {"is_fraud": 1}]
    )
    lake["labels/dt=2024-06-01/part-0"] = parquet([label("a", "2024-03-10T00:00:00Z", fraud=False)], 3)
    lake["labels/dt=2024-06-01/.part-2.inprogress"] = b"?"
    labels = read_label_history("s3://datalake/labels", settings_file)
    assert labels.frame["transaction_id"].tolist() == ["b", "a"]
    assert labels.frame["is_fraud"].tolist() == [1, 0]
    assert labels.frame["labelled_at"].astype(str).tolist() == ["2024-03-09", "2024-03-10"]
    assert labels.left_out == 2
    assert read_label_history("s3://datalake/labels/", settings_file).sha256 == labels.sha256


def test_a_lake_of_bad_labels_only_says_nothing_of_any_transaction(
    store: MemoryStore, settings_file: Path, few: Dataset
) -> None:
    ahead = [label("a", "9999-12-31T23:59:59-01:00"), label("b", "2999-01-01T00:00:00Z")]
    store.objects["datalake"]["labels/dt=2024-06-01/part-0"] = parquet(ahead)
    labels = read_label_history("s3://datalake/labels", settings_file)
    assert labels.left_out == 2
    assert not LabelledData(few, labels).known_by_now().any()


def test_of_a_lake_that_is_cut_no_earlier_labels_are_read(
    store: MemoryStore, settings_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = store.objects["datalake"]
    for folder in ("raw/transactions", "labels"):
        lake[f"{folder}/dt=2024-02-01/part-0"] = b"nothing that can be read"
    payment = {"customer_id": "c", "terminal_id": "t", "amount": 1.0, "event_time": "2024-03-01T12:00:00Z"}
    lake["raw/transactions/dt=2024-06-01/part-0"] = parquet(
        [payment | {"transaction_id": name} for name in ("a", "b")]
    )
    # of an earlier payment, and of one twice
    given = [
        label("before", "2024-03-02T00:00:00Z"),
        label("a", "2024-03-02T00:00:00Z"),
        label("b", "2024-03-02T00:00:00Z"),
        label("a", "2024-05-01T00:00:00Z", fraud=False),
    ]
    lake["labels/dt=2024-06-01/part-0"] = parquet(given)
    parser = argparse.ArgumentParser()
    add_data(parser, tested="")
    arguments = ["--data", "s3://datalake/raw/transactions", "--labels", "s3://datalake/labels"]
    arguments += ["--settings", str(settings_file), "--since", "2024-03-01T00:00:00Z"]
    data = read(parser.parse_args(arguments))
    assert data.known_in_time().tolist() == [1, 1]
    assert data.known_by_now().tolist() == [0, 1]
    shown = capsys.readouterr()
    assert "4 labels; 2 of 2 transactions have one, 1 of these are frauds" in shown.out
    assert "belong to a transaction" not in shown.err


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_labels_are_read_from_a_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"labels.{suffix}"
    frame = pd.DataFrame(
        {
            "transaction_id": ["007", "8"],
            "is_fraud": [1, 0],
            "labelled_at": ["2024-03-10T00:00:00Z", "2024-03-09T00:00:00Z"],
        }
    )
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    assert read_label_history(str(path)).frame["transaction_id"].tolist() == ["8", "007"]


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-01:00", "1777885200", "1969-12-31"])
def test_a_time_that_no_label_can_have_is_refused_in_a_file(tmp_path: Path, at: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"transaction_id,is_fraud,labelled_at\n1,1,{at}\n")
    with pytest.raises(DatasetError, match=r"labels\.csv: column labelled_at, row 1 is .*; expected "):
        read_label_history(str(path))


@pytest.mark.parametrize(
    ("data", "labels", "warned"),
    [
        (("288062.0", "288063.0"), ("288062", "288063"), False),
        (("tx-1", "tx-2"), ("1", "2"), True),
        (("1", "2"), ("1", "3", "4", "5"), True),
        (("1", "2"), ("1", "3"), False),
    ],
)
def test_labels_that_join_little_are_warned_of(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    data: tuple[str, ...],
    labels: tuple[str, ...],
    *,
    warned: bool,
) -> None:
    names = "transaction_id,event_time,customer_id,terminal_id,amount\n"
    rows = "".join(f"{name},2026-05-04T09:00:00Z,c,p,1\n" for name in data)
    (tmp_path / "data.csv").write_text(names + rows)
    rows = "".join(f"{name},1,2026-05-05\n" for name in labels)
    (tmp_path / "labels.csv").write_text(f"transaction_id,is_fraud,labelled_at\n{rows}")
    command = ["--data", str(tmp_path / "data.csv"), "--labels", str(tmp_path / "labels.csv"), "--trees", "1"]
    for cut in ([], ["--since", "2026-05-01"]):
        # a day is too little to train on
        assert main([*command, "--output", str(tmp_path / "model"), *cut]) == 1
        joined = len(set(data) & set(labels))
        said = f"warning: {tmp_path}/labels.csv: {joined} of {len(labels)} labels belong to a transaction"
        # of data that is cut, the others may be of what was left out
        assert (said in capsys.readouterr().err) == (warned and not (cut and joined))


def test_a_file_without_times_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("transaction_id,is_fraud\n1,1\n")
    with pytest.raises(DatasetError, match=r"labels\.csv: missing column labelled_at"):
        read_label_history(str(path))


def test_transactions_are_read_from_the_lake_as_they_were_scored(
    store: MemoryStore, settings_file: Path
) -> None:
    good = {
        "transaction_id": "2",
        "event_time": "2024-03-01T14:00:00.25+02:00",
        "customer_id": "c",
        "terminal_id": "t",
        "amount": 5.1,
    }
    rows = [
        good,
        good | {"transaction_id": "1", "event_time": "2024-03-01T00:00:00Z"},
        b"bad",
        good | {"amount": -1},
    ]
    lake = store.objects["datalake"]
    lake["raw/transactions/dt=2024-06-01/part-0"] = parquet(rows)
    # another of its id, a repeat in other words, refused for the type, without a customer
    more = [
        good | {"amount": 9.0},
        good | {"event_time": "2024-03-01T12:00:00.250Z", "amount": 5.10},
        good | {"transaction_id": "3", "amount": "5"},
        {**good, "customer_id": None},
    ]
    lake["raw/transactions/dt=2024-06-02/part-0"] = parquet(more, 10)
    data = load("s3://datalake/raw/transactions", settings_file)
    assert data.frame["transaction_id"].tolist() == ["1", "2", "2"]
    assert data.frame["amount"].tolist() == [5.1, 5.1, 9.0]
    assert data.frame["event_time"].astype(str).tolist()[1] == "2024-03-01 12:00:00.250"
    assert data.left_out == 5
    (note,) = data.notes
    assert "1 ids stand for several transactions each, 2 among them" in note
    assert data.label is None


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    pd.DataFrame({"a": [1]}).to_parquet(folder / "part")
    with pytest.raises(DatasetError, match="part has no column kafka_offset, kafka_partition"):
        load(folder)
    (folder / "part").write_text("text")
    with pytest.raises(DatasetError, match="part is no Parquet"):
        load(folder)


def test_the_lake_and_its_labels_train_a_model(
    store: MemoryStore,
    settings: Settings,
    settings_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    frame = simulate(customers=150, terminals=200, days=60, start=FIRST, seed=0)
    frame["TX_DATETIME"] = frame["TX_DATETIME"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    names = ["transaction_id", "event_time", "customer_id", "terminal_id", "amount"]
    columns = ["TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT"]
    texts = frame[columns].astype(dict.fromkeys(columns[:-1], str)).set_axis(names, axis=1)
    store.objects["datalake"]["raw/transactions/dt=2024-06-01/part-0"] = parquet(texts.to_dict("records"))
    frauds = frame[frame["TX_FRAUD"] == 1]
    times = pd.to_datetime(frauds["TX_DATETIME"]) + timedelta(days=3)
    given_at = times.dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    store.objects["datalake"]["labels/dt=2024-06-01/part-0"] = parquet(
        [label(str(name), at) for name, at in zip(frauds["TRANSACTION_ID"], given_at, strict=True)]
    )
    arguments = ["--data", "s3://datalake/raw/transactions", "--settings", str(settings_file), "--trees", "8"]
    arguments += ["--threshold", "0.5", "--output", str(tmp_path / "model")]
    assert main(arguments) == 1
    assert "--labels s3://datalake/labels" in capsys.readouterr().err
    arguments += ["--labels", "s3://datalake/labels"]
    assert main(arguments) == 1
    assert "unlabelled_is_honest in the settings" in capsys.readouterr().err
    honest = msgspec.structs.replace(settings, unlabelled_is_honest=True)
    settings_file.write_bytes(msgspec.json.encode(honest))
    assert main(arguments) == 0
    assert json.loads((tmp_path / "model/manifest.json").read_text())["data"]["unlabelled"] == "honest"
    shown = capsys.readouterr().out
    assert f"{len(frauds):,} of these are frauds" in shown
    assert "trained on" in shown
