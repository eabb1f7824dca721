"""What explains a score adds up to it, and is what the trees' own paths tell."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from flink_jobs.domain.model import onnxruntime
from training.explainer import base_score, explainer_onnx
from training.publish import OPSETS, to_onnx_bytes


def explain(forest: RandomForestClassifier, matrix: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(explainer_onnx(forest, OPSETS))
    (contributions,) = session.run(None, {"features": matrix})
    return np.asarray(contributions)


def explained_by_paths(forest: RandomForestClassifier, matrix: np.ndarray) -> np.ndarray:
    """Walk each row through each tree, by scikit-learn's own account of where it goes."""
    contributions = np.zeros(matrix.shape)
    for tree in forest.estimators_:
        probability = tree.tree_.value[:, 0, 1] / tree.tree_.value[:, 0, :].sum(axis=1)
        visits = tree.decision_path(matrix)
        for row in range(len(matrix)):
            path = visits.indices[visits.indptr[row] : visits.indptr[row + 1]]
            for here, there in pairwise(path):
                moved = probability[there] - probability[here]
                contributions[row, tree.tree_.feature[here]] += moved / len(forest.estimators_)
    return contributions


@pytest.mark.parametrize("seed", range(3))
def test_contributions_are_those_of_the_paths_and_add_up_to_the_score(seed: int) -> None:
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(600, 5)).astype(np.float32)
    labels = (matrix[:, 0] + matrix[:, 1] * matrix[:, 2] + random.normal(size=600) > 1).astype(np.int8)
    forest = RandomForestClassifier(12, max_depth=7, max_samples=400, random_state=seed).fit(matrix, labels)
    contributions = explain(forest, matrix)
    assert contributions == pytest.approx(explained_by_paths(forest, matrix), abs=1e-6)
    scores = base_score(forest) + contributions.sum(axis=1)
    assert scores == pytest.approx(forest.predict_proba(matrix)[:, 1], abs=1e-6)


def test_a_value_on_a_threshold_goes_the_way_that_the_model_goes() -> None:
    """Thresholds lie between float32 values, and must not be rounded up onto one."""
    random = np.random.default_rng(0)
    low = random.uniform(1, 2, 200).astype(np.float32)
    matrix = np.stack([np.concatenate([low, np.nextafter(low, np.float32(3))])], axis=1)
    labels = random.integers(0, 2, len(matrix))
    forest = RandomForestClassifier(20, random_state=0).fit(matrix, labels)
    session = onnxruntime.InferenceSession(to_onnx_bytes(forest))
    scores = session.run(None, {"features": matrix})[1][:, 1]
    assert base_score(forest) + explain(forest, matrix).sum(axis=1) == pytest.approx(scores, abs=1e-6)


def test_a_feature_that_no_tree_asks_about_contributes_nothing() -> None:
    random = np.random.default_rng(0)
    matrix = random.normal(size=(300, 3)).astype(np.float32)
    matrix[:, 1] = 7
    forest = RandomForestClassifier(10, random_state=0).fit(matrix, matrix[:, 0] > 0)
    contributions = explain(forest, matrix)
    assert not contributions[:, 1].any()
    assert np.abs(contributions[:, 0]).mean() > 5 * np.abs(contributions[:, 2]).mean()


def test_trees_that_ask_nothing_explain_nothing() -> None:
    matrix = np.ones((20, 2), dtype=np.float32)
    forest = RandomForestClassifier(3, random_state=0).fit(matrix, np.arange(20) % 2)
    assert not explain(forest, matrix).any()
