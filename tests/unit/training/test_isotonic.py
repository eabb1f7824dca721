"""A score becomes the probability that it turns out to be, on transactions that were not learnt from."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from flink_jobs.domain.calibration import Calibration
from training.isotonic import calibrate
from training.train_sklearn_model import main


def drawn(seed: int, rows: int = 30_000) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Scores that say too much: of those near 0.8, two thirds are frauds."""
    random = np.random.default_rng(seed)
    scores = np.round(random.beta(0.3, 2, rows), 3)
    return (random.random(rows) < scores**2).astype(np.int8), scores


def probabilities(calibration: Calibration, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([calibration.probability(score) for score in scores.tolist()])


def test_each_tenth_of_the_scores_that_alert_comes_true_as_told() -> None:
    calibration = calibrate(*drawn(0))
    labels, scores = drawn(1, 60_000)
    alerted = scores >= 0.3
    told, came = probabilities(calibration, scores[alerted]), labels[alerted]
    for tenth in np.array_split(np.argsort(scores[alerted]), 10):
        assert abs(told[tenth].mean() - came[tenth].mean()) < 0.05
    # the score itself says too much
    assert abs(scores[alerted].mean() - came.mean()) > 0.1


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 20)), min_size=2, max_size=200),
)
def test_a_higher_score_is_never_less_probable(rows: list[tuple[int, int]]) -> None:
    labels = np.array([label for label, _ in rows], dtype=np.int8)
    calibration = calibrate(labels, np.array([score / 20 for _, score in rows]))
    assert calibration.scores == sorted(set(calibration.scores))
    assert calibration.probabilities == sorted(calibration.probabilities)
    told = probabilities(calibration, np.linspace(0, 1, 50))
    assert (np.diff(told) >= 0).all()
    assert 0 <= told.min() <= labels.mean() + 1e-6
    assert labels.mean() - 1e-6 <= told.max() <= 1


def test_between_two_knots_it_lies_on_the_line() -> None:
    calibration = Calibration([0.2, 0.6], [0.1, 0.5])
    assert [calibration.probability(score) for score in (0, 0.2, 0.4, 0.6, 1)] == pytest.approx(
        [0.1, 0.1, 0.3, 0.5, 0.5]
    )


def test_the_manifest_has_the_knots(handbook_frame: pd.DataFrame, tmp_path: Path) -> None:
    handbook_frame.to_parquet(tmp_path / "town.parquet")
    assert main(["--data", str(tmp_path / "town.parquet"), "--trees", "20", "--output", str(tmp_path)]) == 0
    calibration = json.loads((tmp_path / "manifest.json").read_text())["calibration"]
    assert len(calibration["scores"]) == len(calibration["probabilities"]) > 5
    assert calibration["probabilities"][0] < 0.05
    assert calibration["probabilities"][-1] > 0.5
