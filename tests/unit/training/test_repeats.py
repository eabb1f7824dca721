"""A file that tells a transaction twice is folded as the job folds it."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from training.dataset import Dataset, load
from training.examples import prepare
from training.labelled_data import LabelledData
from training.simulate import simulate
from training.tables import DatasetError

HEADER = "transaction_id,event_time,customer_id,terminal_id,amount,is_fraud"
Read = Callable[..., Dataset]
FIRST = "t1,2026-05-04T09:00:00Z,c1,p1,12.50,0"


@pytest.fixture
def csv(tmp_path: Path) -> Read:
    def read(*lines: str) -> Dataset:
        path = tmp_path / "data.csv"
        path.write_text("\n".join([HEADER, *lines, ""]))
        return load(path)

    return read


def test_a_row_that_repeats_another_is_dropped_and_counted(csv: Read) -> None:
    # the same moment, amount and id in other words
    data = csv(
        FIRST, "t2,2026-05-04T10:30:00Z,c2,p1,7.00,1", FIRST, "t1,2026-05-04T11:00:00+02:00,c1,p1,12.5,0"
    )
    assert data.frame["transaction_id"].tolist() == ["t1", "t2"]
    (note,) = data.notes
    assert "left out 2 rows that repeat an earlier one; the first is row 3, transaction t1" in note


@pytest.mark.parametrize(
    "other",
    [
        "t1,2026-05-06T09:00:00Z,c9,p9,99.00,1",
        "t1,2026-05-04T09:00:00Z,c1,p1,12.51,0",
        "t1,2026-05-04T09:00:00Z,c1,p2,12.50,0",
        "t1,2026-05-04T09:00:00Z,c2,p1,12.50,1",
    ],
)
def test_two_transactions_of_one_id_are_named_and_stay(csv: Read, other: str) -> None:
    data = csv("t0,2026-05-04T08:00:00Z,c1,p1,1,0", FIRST, other, FIRST)
    assert data.frame["transaction_id"].tolist() == ["t0", "t1", "t1"]
    repeats, conflict = data.notes
    assert "left out 1 rows" in repeats
    assert "1 ids stand for several transactions each, t1 for those of rows 2, 3" in conflict


def test_a_transaction_cannot_be_fraud_and_honest(csv: Read) -> None:
    with pytest.raises(
        DatasetError, match=r"transaction t1 is a fraud by one row and honest by another, rows 1, 3;"
    ):
        csv(FIRST, FIRST.replace("t1", "t2"), FIRST[:-1] + "1", FIRST)


def test_a_file_twice_over_trains_the_same_model(tmp_path: Path) -> None:
    frame = simulate(customers=100, terminals=100, days=50, start=date(2024, 3, 1), seed=0)
    frame.to_parquet(tmp_path / "once.parquet")
    twice = frame.loc[frame.index.repeat(2)]
    twice.to_parquet(tmp_path / "twice.parquet", index=False)
    once, again = (
        prepare(LabelledData(load(tmp_path / name)), train_days=14, test_days=7, validate=False).twin
        for name in ("once.parquet", "twice.parquet")
    )
    assert once.matrix.tobytes() == again.matrix.tobytes()
    assert once.labels.tobytes() == again.labels.tobytes()
    assert once.terminal_risk == again.terminal_risk
