"""Same data, seed and versions: the same bytes of the forest, and the same report."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from training.evaluate import main as evaluate
from training.forest import Forest
from training.train_sklearn_model import main as train


@pytest.fixture
def arguments(handbook_frame: pd.DataFrame, tmp_path: Path) -> list[str]:
    handbook_frame.to_parquet(tmp_path / "town.parquet")
    return ["--data", str(tmp_path / "town.parquet"), "--trees", "12"]


def nameless(files: dict[str, bytes]) -> dict[str, bytes]:
    """Leave out when a model was made, which its name has too; and digests of what says so."""
    manifest = json.loads(files["manifest.json"])
    for name in ("card.json", "card.html"):
        digest = manifest["files"][name]
        for word in (digest, manifest["version"], manifest["created_at"]):
            files = {file: content.replace(word.encode(), b"") for file, content in files.items()}
    return files


def test_a_model_that_is_trained_again_is_the_same_to_the_byte(arguments: list[str], tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("once", "again")]
    for folder in folders:
        assert train([*arguments, "--output", str(folder)]) == 0
    once, again = (
        nameless({path.name: path.read_bytes() for path in folder.iterdir()}) for folder in folders
    )
    described = [json.loads(files.pop("manifest.json")) for files in (once, again)]
    assert once.keys() >= {"model.joblib", "model.onnx", "explainer.onnx", "terminal_risk.parquet"}
    assert once == again
    assert described[0] == described[1]


def test_an_evaluation_that_is_run_again_is_the_same_to_the_byte(
    arguments: list[str], tmp_path: Path
) -> None:
    pages = []
    for name in ("once", "again"):
        assert evaluate([*arguments, "--splits", "1", "--output", str(tmp_path / name)]) == 0
        pages.append([(tmp_path / name / f"evaluation.{kind}").read_bytes() for kind in ("json", "html")])
    assert pages[0] == pages[1]


def test_the_scores_of_trees_are_added_in_their_order() -> None:
    """In another order, as threads have it, the last digits differ."""
    matrix = np.random.default_rng(0).normal(size=(4_000, 5)).astype(np.float32)
    forest = Forest(trees=50).fit(matrix, (matrix[:, 0] + matrix[:, 1] > 1).astype(np.int8))
    added = np.zeros((len(matrix), 2))
    for tree in forest.estimators_:
        added += tree.predict_proba(matrix)
    for _ in range(20):
        assert np.array_equal(forest.predict_proba(matrix), added / 50)
