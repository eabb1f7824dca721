"""Training on fewer rows than there are: the same features, all frauds, and a word about it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from training.dataset import Dataset, from_frame
from training.examples import Examples, prepare
from training.labelled_data import LabelledData
from training.sample import honest_share, sample_weights
from training.tables import DatasetError
from training.train_sklearn_model import main

MOST_ROWS = 1_500


@pytest.fixture(scope="module")
def town(handbook_frame: pd.DataFrame) -> Dataset:
    return from_frame(handbook_frame, "town", "")


@pytest.fixture(scope="module")
def whole(town: Dataset) -> Examples:
    return prepare(LabelledData(town), 28, 7).twin


@pytest.fixture(scope="module")
def fewer(town: Dataset) -> Examples:
    return prepare(LabelledData(town), 28, 7, max_rows=MOST_ROWS).twin


def test_what_is_learnt_from_has_the_features_that_it_has_among_all(whole: Examples, fewer: Examples) -> None:
    """Though most rows of its histories, and of its terminal, are not learnt from."""
    matrix, labels, weights = fewer.learnt_from(fewer.split.train)
    assert weights is not None
    everything = {row.tobytes() for row in whole.matrix[whole.split.train]}
    assert {row.tobytes() for row in matrix} <= everything
    assert abs(len(labels) - MOST_ROWS) < 0.1 * MOST_ROWS < 0.1 * len(everything)
    frauds = labels == 1
    assert frauds.sum() == whole.labels[whole.split.train].sum() > 10
    assert (weights[frauds] == 1).all()
    assert weights[~frauds] == pytest.approx(1 / fewer.honest_share)
    assert weights.sum() == pytest.approx(len(whole.labels[whole.split.train]), rel=0.1)


def test_what_is_measured_on_is_whole(whole: Examples, fewer: Examples) -> None:
    for part in ("validation", "test"):
        rows, of_all = getattr(fewer.split, part), getattr(whole.split, part)
        assert np.array_equal(fewer.matrix[rows], whole.matrix[of_all])
        assert np.array_equal(fewer.labels[rows], whole.labels[of_all])
    for part in ("train", "test"):
        rows, of_all = getattr(fewer.split, part), getattr(whole.split, part)
        assert fewer.period(part, rows) == whole.period(part, of_all)
    assert np.array_equal(fewer.known_compromised(), whole.known_compromised())
    assert whole.known_compromised().any()
    assert fewer.terminal_risk is not None
    assert whole.terminal_risk is not None
    assert fewer.terminal_risk.equals(whole.terminal_risk)
    assert len(fewer.matrix) < 0.75 * len(whole.matrix)


def test_the_same_transactions_are_learnt_from_whatever_is_beside_them() -> None:
    ids = pd.Series([f"t-{n}" for n in range(10_000)])
    frauds = (np.arange(10_000) % 100 == 0).astype(np.int8)

    def weights_of(
        of: "pd.Series[str]" = ids, bad: NDArray[np.int8] = frauds, rows: int = 1_000
    ) -> NDArray[np.float32]:
        return sample_weights(of, bad, honest_share(bad, rows, "data"))

    weights = weights_of()
    assert honest_share(frauds, 1_000, "data") == pytest.approx(900 / 9_900)
    order = np.random.default_rng(0).permutation(10_000)
    assert np.array_equal(weights_of(ids.iloc[order], frauds[order]), weights[order])
    packed = ids.astype("string[pyarrow]")
    assert np.array_equal(weights_of(packed), weights)
    # more rows are these and others
    assert (weights_of(rows=2_000)[weights > 0] > 0).all()
    assert (weights_of(rows=20_000) == 1).all()


def test_too_few_rows_for_the_frauds_are_refused() -> None:
    frauds = (np.arange(100) < 40).astype(np.int8)
    assert honest_share(frauds, 80, "data") == pytest.approx(40 / 60)
    with pytest.raises(
        DatasetError, match="data: 40 of the training rows are frauds, which leave too few of 79"
    ):
        honest_share(frauds, 79, "data")


def test_manifest_and_command_say_what_was_learnt_from(
    handbook_frame: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handbook_frame.to_parquet(tmp_path / "town.parquet")
    arguments = ["--data", str(tmp_path / "town.parquet"), "--trees", "4", "--threshold", "0.5"]
    assert main([*arguments, "--output", str(tmp_path / "all")]) == 0
    assert "learnt from all frauds" not in capsys.readouterr().out
    assert main([*arguments, "--max-rows", str(MOST_ROWS), "--output", str(tmp_path / "some")]) == 0
    whole, some = (
        json.loads((tmp_path / name / "manifest.json").read_text())["data"] for name in ("all", "some")
    )
    assert some["train_transactions"] == whole["train_transactions"]
    assert abs(some["train_rows"] - MOST_ROWS) < 0.1 * MOST_ROWS
    assert 0 < some["train_honest_share"] < 0.5
    assert "train_rows" not in whole
    share = some["train_honest_share"]
    told = f"learnt from all frauds and {share:.1%} of the honest transactions, {some['train_rows']:,} rows"
    assert told in capsys.readouterr().out


def test_tables_of_ready_columns_are_not_sampled(ready_frame: pd.DataFrame) -> None:
    data = LabelledData(replace(from_frame(ready_frame, "ready", ""), source="ready"))
    with pytest.raises(DatasetError, match="ready: --max-rows is for transactions of customers"):
        prepare(data, 28, 7, max_rows=100)
