"""A model is served only if it is the published one and its features are known."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from flink_jobs.domain.manifest import Manifest, ModelKind
from flink_jobs.domain.model import ServedModel

Publish = Callable[[ModelKind], tuple[Manifest, bytes]]
Explainer = Callable[[ModelKind], bytes]


def test_onnxruntime_tells_its_maker_nothing(tmp_path: Path) -> None:
    """It notes an id of the machine before it tells anything; where it sees CI=true, it never does."""
    alone = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[3])}
    subprocess.run([sys.executable, "-c", "import flink_jobs.domain.model"], env=alone, check=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_published_model_scores_a_batch(published: Publish) -> None:
    manifest, onnx = published("history")
    matrix = np.zeros((2, len(manifest.features)), dtype=np.float32)
    matrix[1, 0] = 190
    low, high = ServedModel.from_onnx(manifest, onnx).score(matrix)
    assert low < 0.5 < high


def test_a_changed_file_is_refused(published: Publish) -> None:
    manifest, onnx = published("history")
    with pytest.raises(ValueError, match=r"model\.onnx of model .* has SHA-256"):
        ServedModel.from_onnx(manifest, onnx + b"\0")


def test_a_changed_explainer_is_refused(published: Publish, explainer: Explainer) -> None:
    with pytest.raises(ValueError, match=r"explainer\.onnx of model .* has SHA-256"):
        ServedModel.from_onnx(*published("history"), explainer("history") + b"\0")


def test_contributions_and_the_mean_score_of_the_training_data_are_the_score(
    published: Publish, explainer: Explainer
) -> None:
    model = ServedModel.from_onnx(*published("columns"), explainer("columns"))
    matrix = np.random.default_rng(1).uniform(0, 200, (50, 3)).astype(np.float32)
    contributions = model.explain(matrix)
    assert contributions.shape == (50, 3)
    bases = model.score(matrix) - contributions.sum(axis=1)
    assert np.ptp(bases) < 1e-6
    assert 0.4 < bases[0] < 0.6  # half of what the forest learned from are frauds


@pytest.mark.parametrize(
    ("features", "named"),
    [(["amount", "phase_of_the_moon"], "phase_of_the_moon"), (None, "their order")],
)
def test_unknown_features_are_refused_by_name(
    published: Publish, features: list[str] | None, named: str
) -> None:
    manifest, onnx = published("history")
    other = msgspec.structs.replace(manifest, features=features or manifest.features[::-1])
    with pytest.raises(ValueError, match=named):
        ServedModel.from_onnx(other, onnx)


def test_a_manifest_for_another_width_is_refused(published: Publish) -> None:
    manifest, onnx = published("columns")
    with pytest.raises(ValueError, match="takes 3 values, its manifest names 1"):
        ServedModel.from_onnx(msgspec.structs.replace(manifest, features=["V1"]), onnx)


def test_a_manifest_is_read_as_it_was_written(published: Publish) -> None:
    manifest, _ = published("columns")
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_a_broken_manifest_names_the_field(published: Publish) -> None:
    manifest, _ = published("columns")
    with pytest.raises(ValueError, match=r"manifest\.json: .*threshold"):
        Manifest.from_json(manifest.to_json().replace(b'"threshold": 0.5', b'"threshold": "high"'))
