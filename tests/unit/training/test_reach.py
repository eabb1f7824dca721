"""What is read of a lake reaches back as far as features do, however late labels come."""

from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from training.dataset import Dataset, from_frame
from training.examples import days_to_prepare, prepare, rows_from
from training.gate import MOST_DAYS, first_day_needed
from training.label_history import LabelHistory
from training.labelled_data import LabelledData

FIRST, DAYS = date(2024, 1, 1), 340
LAST = FIRST + timedelta(days=DAYS - 1)
FIRST_DAY = (FIRST - date(1970, 1, 1)).days
TRAIN_DAYS, TEST_DAYS = 28, 7
DELAYS = pytest.mark.parametrize("delay_days", [7, 30, 60])


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Twelve payments a day, by twenty cards at three terminals."""
    random, rows = np.random.default_rng(0), 12 * DAYS
    begin = pd.Timestamp(FIRST, tz="UTC")
    return pd.DataFrame(
        {
            "transaction_id": [str(n) for n in range(rows)],
            "event_time": [str(begin + pd.Timedelta(hours=2 * n)) for n in range(rows)],
            "customer_id": [f"c{n}" for n in random.integers(0, 20, rows)],
            "terminal_id": [f"t{n}" for n in random.integers(0, 3, rows)],
            "amount": random.integers(1, 90, rows).astype(float),
            "is_fraud": (random.random(rows) < 0.15).astype(np.int64),
        }
    )


@pytest.fixture(scope="module")
def whole(frame: pd.DataFrame) -> Dataset:
    return from_frame(frame.drop(columns="is_fraud"), "lake", "")


@pytest.fixture(scope="module")
def labels(frame: pd.DataFrame, whole: Dataset) -> LabelHistory:
    """Given the day after."""
    given = pd.DataFrame(
        {
            "transaction_id": whole.frame["transaction_id"],
            "is_fraud": frame["is_fraud"].astype(np.int8),
            "labelled_at": whole.frame["event_time"] + np.timedelta64(1, "D"),
        }
    )
    return LabelHistory(given, "labels", "")


def from_day(whole: Dataset, labels: LabelHistory, delay_days: int, first: date | None) -> LabelledData:
    return LabelledData(whole.between(first and first.isoformat(), None), labels, delay_days)


@DELAYS
@pytest.mark.parametrize("learnt_until", [0, 250])
def test_the_gate_compares_on_the_features_that_all_of_the_lake_gives(
    whole: Dataset, labels: LabelHistory, delay_days: int, learnt_until: int
) -> None:
    train_to = {"train_to": (FIRST + timedelta(days=learnt_until)).isoformat()}
    manifest: Any = SimpleNamespace(version="one", label_delay_days=delay_days, data=train_to)
    needed = first_day_needed(manifest, manifest, LAST)
    assert needed > FIRST
    everything, cut = (from_day(whole, labels, delay_days, first) for first in (None, needed))
    end = everything.labelled_until_day
    assert cut.labelled_until_day == end
    first_day = max(FIRST_DAY + learnt_until + 1, end - MOST_DAYS)
    expected, found = (rows_from(data, first_day, end) for data in (everything, cut))
    assert len(found.days) == 12 * (end - first_day)
    assert np.array_equal(found.matrix, expected.matrix)


@DELAYS
def test_training_learns_from_the_features_that_all_of_the_lake_gives(
    whole: Dataset, labels: LabelHistory, delay_days: int
) -> None:
    needed = LAST - timedelta(days=days_to_prepare(TRAIN_DAYS, TEST_DAYS, delay_days))
    assert needed > FIRST
    everything, cut = (
        prepare(from_day(whole, labels, delay_days, first), TRAIN_DAYS, TEST_DAYS) for first in (None, needed)
    )
    for expected, found in zip(everything, cut, strict=True):
        for wanted, part in zip(expected.split, found.split, strict=True):
            assert np.array_equal(found.days[part], expected.days[wanted])
            assert np.array_equal(found.matrix[part], expected.matrix[wanted])
