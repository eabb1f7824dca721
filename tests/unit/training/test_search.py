"""The search for the forest's parameters, on examples whose answer is known."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from training import search as command
from training.dataset import from_frame
from training.examples import Examples, prepare
from training.forest import Forest
from training.labelled_data import LabelledData
from training.search import search


@pytest.fixture(scope="module")
def examples(handbook_frame: pd.DataFrame) -> Examples:
    return prepare(LabelledData(from_frame(handbook_frame, "town", "")), 28, 7).twin


def test_each_parameter_is_sought_with_the_best_of_those_before(examples: Examples) -> None:
    begin = Forest(trees=5, max_depth=1)
    tried = search([examples], begin, {"max_depth": (1, 8), "trees": (5, 9)})
    assert [each.forest for each in tried] == [
        begin,
        begin._replace(max_depth=8),
        begin._replace(max_depth=8, trees=9),
    ]
    assert tried[1].mean > tried[0].mean + 0.02
    # run again, it finds the same
    assert search([examples], begin, {"max_depth": (1, 8), "trees": (5, 9)}) == tried


def test_parameters_stay_where_others_are_no_better(
    examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        command, "ranking", lambda tested: {"average_precision": 0.5 + 0.001 * len(tested.model)}
    )
    begin = Forest(trees=2)
    tried = search([examples], begin, {"trees": (1, 3, 4)})
    assert command._best(tried).forest == begin  # noqa: SLF001
    tried = search([examples], begin, {"trees": (1, 6)})
    assert command._best(tried).forest.trees == 6  # noqa: SLF001


def test_the_command_says_what_it_found_and_leaves_out_what_is_reported(
    handbook_frame: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    handbook_frame.to_parquet(tmp_path / "town.parquet")
    monkeypatch.setattr(command, "VALUES", {"fraud_weight": (1, 4)})
    arguments = ["--data", str(tmp_path / "town.parquet"), "--trees", "4", "--splits", "1"]
    assert command.main([*arguments, "--until", "2024-04-25", "--output", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "search.json").read_text())
    assert [each["fraud_weight"] for each in found["tried"]] == [1, 4]
    assert found["splits"][0]["test_to"] == "2024-04-24"
    assert f"fraud_weight {found['found']['fraud_weight']}" in capsys.readouterr().out
    assert command.main([*arguments, "--until", "2024-03-05"]) == 1
    assert capsys.readouterr().err.startswith("fraud-search: ")


def test_a_weight_makes_frauds_count_more(examples: Examples) -> None:
    means = [
        np.mean(
            Forest(trees=4, fraud_weight=weight)
            .fit(*examples.learnt_from(examples.split.train))
            .predict_proba(examples.matrix[examples.split.test])[:, 1]
        )
        for weight in (1, 20)
    ]
    assert means[1] > 1.2 * means[0]
