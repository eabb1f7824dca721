from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from flink_jobs.domain.features import NO_RISK, no_fraud_days
from flink_jobs.domain.terminal_risk import SCHEMA, TerminalRisk
from training.dataset import Dataset, from_frame
from training.examples import prepare
from training.labelled_data import LabelledData
from training.terminal_labels import TerminalLabels, to_parquet


@pytest.fixture
def data(handbook_frame: pd.DataFrame) -> Dataset:
    return from_frame(handbook_frame, "simulated", "")


def labels_of(data: Dataset, delay_days: int = 7) -> TerminalLabels:
    frame = data.frame
    return TerminalLabels(
        frame["terminal_id"].tolist(),
        data.days(),
        frame["is_fraud"].to_numpy(),
        label_delay_days=delay_days,
    )


@pytest.mark.parametrize("delay_days", [7, 3, 0])
def test_values_are_those_of_a_plain_count(data: Dataset, delay_days: int) -> None:
    terminals = data.frame["terminal_id"].to_numpy()
    frauds = data.frame["is_fraud"].to_numpy()
    days = data.days()
    # at random, and where there is something to tell
    rows = np.random.default_rng(1).integers(0, len(days), 200)
    rows = np.concatenate((rows, np.flatnonzero(frauds)[-200:]))
    values = labels_of(data, delay_days).as_of(terminals[rows].tolist(), days[rows])
    for row, value in zip(rows, values, strict=True):
        expected: list[float] = []
        for window in (1, 7, 30):
            end = days[row] - delay_days
            seen = frauds[(terminals == terminals[row]) & (days >= end - window) & (days < end)]
            expected += [len(seen), seen.mean() if len(seen) else 0.0]
        month = np.flatnonzero((terminals == terminals[row]) & (days >= end - 30) & (days < end))
        expected.append(frauds[month[-3:]].mean() if len(month) else 0.0)
        first = days[month[frauds[month] == 1]]
        expected.append(days[row] - first[0] if len(first) else no_fraud_days(delay_days))
        assert value.tolist() == np.array(expected, dtype=np.float32).tolist()


@pytest.mark.parametrize("delay_days", [7, 3])
def test_the_snapshot_serves_what_training_saw(data: Dataset, delay_days: int) -> None:
    labels = labels_of(data, delay_days)
    first = labels.last_day + 1
    content = to_parquet(labels.snapshot(first))
    risk = TerminalRisk.from_parquet(content)
    assert risk.days.tolist() == list(range(first, first + delay_days + 1))
    assert risk.label_delay_days == delay_days
    terminals = [*labels.terminal_ids, "nowhere"]
    for day in range(first, first + delay_days + 1):
        values = labels.as_of(terminals, np.full(len(terminals), day, dtype=np.int32))
        served = risk.as_of(terminals, np.full(len(terminals), day))
        assert served.tobytes() == values.tobytes()
        assert served[:, -1].min() < no_fraud_days(delay_days) == served[-1, -1]


def test_the_snapshot_has_the_columns_that_serving_knows(data: Dataset) -> None:
    table = labels_of(data).snapshot(19_900, 2)
    assert table.schema == SCHEMA
    assert table.num_rows == 2 * len(set(data.frame["terminal_id"]))


def test_an_unknown_terminal_has_no_past(data: Dataset) -> None:
    labels = labels_of(data)
    values = labels.as_of(["nowhere"], np.array([labels.last_day], dtype=np.int32))
    assert values.tolist() == [list(NO_RISK)]


def test_days_outside_the_data_count_nothing(data: Dataset) -> None:
    labels = labels_of(data)
    terminal = data.frame["terminal_id"].iloc[0]
    days = np.array([0, 1_000_000], dtype=np.int32)
    assert labels.as_of([terminal] * 2, days).tolist() == [list(NO_RISK)] * 2


@pytest.mark.parametrize("planted_day", [35, 45, 59])
def test_a_label_of_the_future_moves_no_feature(data: Dataset, planted_day: int) -> None:
    """Whatever is known of a day and the seven before it may not be seen in that day's features."""
    before = prepare(LabelledData(data), train_days=14, test_days=7, validate=False).twin
    days = data.days() - data.days()[0]
    labels = data.frame["is_fraud"]
    planted = data.frame.assign(is_fraud=labels.where(days < planted_day, 1 - labels).astype(np.int8))
    after = prepare(
        LabelledData(replace(data, frame=planted)), train_days=14, test_days=7, validate=False
    ).twin
    untouched = before.days - data.days()[0] < planted_day + 8
    assert np.array_equal(before.matrix[untouched], after.matrix[untouched])
    assert untouched.any()
    if planted_day == 35:
        moved = before.days[(before.matrix != after.matrix).any(axis=1)] - data.days()[0]
        assert moved.min() == planted_day + 8
