import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from flink_jobs.domain.features import FEATURE_NAMES
from training.dataset import Dataset, from_frame
from training.evaluate import main
from training.evaluation import (
    Evaluation,
    Plan,
    evaluate_plan,
    importance,
    quality,
    spread,
    thresholds,
)
from training.forest import Forest
from training.labelled_data import LabelledData
from training.procedure import Scored
from training.tables import DatasetError
from training.threshold import Rule
from training.train_sklearn_model import main as train

SMALL = Forest(trees=8, max_depth=6)


@pytest.fixture(scope="module")
def data(handbook_frame: pd.DataFrame) -> Dataset:
    return from_frame(handbook_frame, "simulated", "")


@pytest.fixture(scope="module")
def evaluation(data: Dataset) -> Evaluation:
    return evaluate_plan(LabelledData(data), Plan(splits=2, train_days=14, test_days=7), SMALL.fit)


def test_each_test_week_follows_the_one_before(evaluation: Evaluation) -> None:
    periods = [
        [each.facts[name] for name in ("train_from", "train_to", "test_from", "test_to")]
        for each in evaluation.tested
    ]
    assert periods == [
        ["2024-03-26", "2024-04-08", "2024-04-16", "2024-04-22"],
        ["2024-04-02", "2024-04-15", "2024-04-23", "2024-04-29"],
    ]


def test_thresholds_are_chosen_on_labels_that_are_known_when_the_test_begins(evaluation: Evaluation) -> None:
    for tested, validated in zip(*evaluation, strict=True):
        assert validated.facts["chosen_to"] == tested.facts["train_to"]
        assert validated.model is not tested.model


def test_what_is_evaluated_is_how_models_to_serve_are_made(
    tmp_path: Path, handbook_frame: pd.DataFrame
) -> None:
    """The twin of a model has the figures that an evaluation of its test week gives."""
    handbook_frame.to_parquet(tmp_path / "data.parquet")
    command = ["--data", str(tmp_path / "data.parquet"), "--trees", "8", "--output", str(tmp_path)]
    assert train(command) == 0
    assert main([*command, "--splits", "1"]) == 0
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    evaluated = json.loads((tmp_path / "evaluation.json").read_text())
    best_f1 = evaluated["thresholds"][0]
    assert manifest["twin"]["threshold"] == best_f1["threshold"]["mean"]
    found = {name: best_f1[name]["mean"] for name in manifest["metrics"] if name in best_f1}
    found |= {name: evaluated[name]["mean"] for name in ("auc", "average_precision")}
    found["card_precision_at_100"] = evaluated["card_precision_100"]["mean"]
    assert manifest["metrics"] == {name: pytest.approx(value, abs=1e-4) for name, value in found.items()}
    (split,) = evaluated["splits"]
    assert split["train_to"] == manifest["twin"]["train_to"] == "2024-04-15"
    assert split["test_to"] == manifest["data"]["test_to"] == "2024-04-29"


def test_alerts_are_counted_as_the_job_raises_them_for_compromised_cards_too(evaluation: Evaluation) -> None:
    (bought,) = thresholds(evaluation, [Rule("given", 0.3)])
    alerts = [int((each.scores >= 0.3).sum()) / 7 for each in evaluation.tested]
    unblocked = [int((each.unblocked().scores >= 0.3).sum()) / 7 for each in evaluation.tested]
    assert bought["alerts_per_day"]["splits"] == alerts
    assert sum(unblocked) < sum(alerts)


def test_labels_of_the_delay_and_the_test_change_no_score(
    data: Dataset, handbook_frame: pd.DataFrame
) -> None:
    """Of what happens after the training period, only cards' and terminals' labels a week old may count."""
    plan = Plan(splits=1, train_days=14, test_days=7)
    before = evaluate_plan(LabelledData(data), plan, SMALL.fit)
    late = handbook_frame["TX_DATETIME"] >= "2024-04-22"  # eight days before the data ends
    changed = handbook_frame.assign(
        TX_FRAUD=handbook_frame["TX_FRAUD"].where(~late, 1 - handbook_frame["TX_FRAUD"])
    )
    after = evaluate_plan(LabelledData(from_frame(changed, "simulated", "")), plan, SMALL.fit)
    for one, other in zip(before, after, strict=True):
        assert np.array_equal(one[0].matrix, other[0].matrix)
        # trees are summed in any order
        assert np.allclose(one[0].scores, other[0].scores, atol=1e-12)


def test_figures_are_means_and_spreads_over_the_splits(evaluation: Evaluation) -> None:
    for value in quality(evaluation).values():
        assert len(value["splits"]) == 2
        assert value["mean"] == pytest.approx(np.mean(value["splits"]))
    assert spread([1.0, 3.0]) == {"mean": 2.0, "std": pytest.approx(2**0.5), "splits": [1.0, 3.0]}
    assert spread([1.0])["std"] == 0.0


def test_a_threshold_buys_the_amount_of_the_frauds_it_finds(evaluation: Evaluation) -> None:
    all_of_them, none = thresholds(evaluation, [Rule("given", 0.0), Rule("given", 1.1)])
    assert all_of_them["recall"]["mean"] == all_of_them["saved_share"]["mean"] == 1.0
    assert none["alerts_per_day"]["mean"] == none["saved_per_day"]["mean"] == 0.0
    lost = [
        each.matrix[each.labels == 1, FEATURE_NAMES.index("amount")].astype(float).sum() / 7
        for each in evaluation.tested
    ]
    assert all_of_them["saved_per_day"]["splits"] == pytest.approx(lost)


def test_a_feature_that_decides_alone_is_the_most_important(evaluation: Evaluation) -> None:
    class LargerIsWorse:
        def predict_proba(self, matrix: np.ndarray) -> np.ndarray:
            return np.stack([-matrix[:, 0], matrix[:, 0]], axis=1)

    def rescored(tested: Scored) -> Scored:
        model = LargerIsWorse()
        return Scored(**{**vars(tested), "model": model, "scores": model.predict_proba(tested.matrix)[:, 1]})

    values = importance(Evaluation([rescored(each) for each in evaluation.tested], evaluation.validated), 0)
    assert values["amount"]["mean"] > 0
    assert all(value["mean"] == 0 for name, value in values.items() if name != "amount")


def test_ready_columns_are_refused(ready_frame: pd.DataFrame) -> None:
    with pytest.raises(DatasetError, match="ready columns have no customers"):
        evaluate_plan(LabelledData(from_frame(ready_frame, "ready", "")), Plan(1, 7, 7), SMALL.fit)


@pytest.mark.parametrize("classifier", ["forest", "boosting"])
def test_the_command_writes_a_page_of_its_own_and_the_numbers(
    tmp_path: Path, handbook_frame: pd.DataFrame, capsys: pytest.CaptureFixture[str], classifier: str
) -> None:
    file = tmp_path / "transactions.parquet"
    handbook_frame.to_parquet(file)
    command = ["--data", str(file), "--splits", "2", "--train-days", "14", "--output", str(tmp_path / "out")]
    # boosting's threads wait for one another, long where other work holds the machine up
    with threadpool_limits(1):
        assert main([*command, "--classifier", classifier, "--trees", "8", "--max-depth", "6"]) == 0
    numbers = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    for name in ("average_precision", "card_precision_100"):
        assert set(numbers[name]) == {"mean", "std", "splits"}
        assert 0 < numbers[name]["mean"] <= 1
    assert set(numbers["importance"]) == set(FEATURE_NAMES)
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert page.count("data:image/png;base64,") == 6
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert f"{numbers['average_precision']['mean']:.3f} ± " in page
    assert f"average precision   {numbers['average_precision']['mean']:.3f}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change", [lambda frame: frame.drop(columns="TX_FRAUD"), lambda frame: frame.head(500)]
)
def test_data_that_cannot_be_evaluated_ends_with_one_line(
    tmp_path: Path,
    handbook_frame: pd.DataFrame,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[pd.DataFrame], pd.DataFrame],
) -> None:
    file = tmp_path / "bad.parquet"
    change(handbook_frame).to_parquet(file)
    assert main(["--data", str(file), "--output", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"fraud-evaluate: {file}: ")
    assert error.count("\n") == 1
