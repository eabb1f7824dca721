"""`fraud-evaluate`: train and test on consecutive weeks, and write the figures as a page and as JSON."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sklearn
from sklearn.ensemble import HistGradientBoostingClassifier

from flink_jobs.store.settings import SettingsError
from training.evaluation import Evaluation, Plan, evaluate_plan, importance, quality, thresholds
from training.evaluation_page import evaluation_page
from training.labelled_data import LabelledData
from training.options import add_data, add_forest, forest_of, positive, read
from training.printable import printable
from training.procedure import Fit
from training.steps import step
from training.tables import DatasetError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when page and numbers were written."""
    options = _parser().parse_args(argv)
    try:
        return _run(options)
    except (DatasetError, OSError, SettingsError) as error:
        print(f"fraud-evaluate: {printable(str(error))}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    data = read(options)
    plan = Plan(options.splits, options.train_days, options.test_days)
    name, fit = _classifier(options)
    rows = len(data.transactions.frame)
    with step(f"Training and testing {name} on {plan.splits} splits of {rows:,} transactions"):
        evaluation = evaluate_plan(data, plan, fit, options.max_rows)
    with step("Measuring what each feature is good for"):
        numbers = _numbers(data, plan, name, evaluation, options.seed)
    with step(f"Writing {options.output}/evaluation.html and evaluation.json"):
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "evaluation.json").write_text(json.dumps(numbers, indent=2) + "\n")
        (options.output / "evaluation.html").write_text(evaluation_page(evaluation, numbers))
    _report(numbers)
    return 0


def _classifier(options: argparse.Namespace) -> tuple[str, Fit]:
    if options.classifier == "boosting":
        boosting = {"learning_rate": 0.05, "max_iter": 200, "max_leaf_nodes": 15, "early_stopping": False}
        return "histogram gradient boosting", HistGradientBoostingClassifier(
            **boosting, random_state=options.seed
        ).fit
    forest = forest_of(options)
    return f"a random forest of {forest.trees} trees", forest.fit


def _numbers(data: LabelledData, plan: Plan, name: str, evaluation: Evaluation, seed: int) -> dict[str, Any]:
    """All figures, ready for JSON: each with mean, std and the splits' values, the earliest split first."""
    return {
        **quality(evaluation),
        "model": name,
        "plan": {**plan._asdict(), "delay_days": data.label_delay_days},
        "data": {
            "source": data.transactions.source,
            "sha256": data.sha256,
            "transactions": len(data.transactions.frame),
        },
        "splits": [tested.facts for tested in evaluation.tested],
        "thresholds": thresholds(evaluation),
        "importance": importance(evaluation, seed),
        "importance_kind": "permutation: fall of average precision on the test period",
        "libraries": {"scikit-learn": sklearn.__version__},
    }


def _report(numbers: dict[str, Any]) -> None:
    print()
    for label, name in (
        ("average precision", "average_precision"),
        ("CardPrecision@100", "card_precision_100"),
        ("AUC", "auc"),
    ):
        found = numbers[name]
        each = "  ".join(f"{value:.3f}" for value in found["splits"])
        print(f"  {label:<20}{found['mean']:.3f} ± {found['std']:.3f}   ({each})")
    print()
    print(f"  {'threshold':<38}{'alerts a day':>14}{'precision':>11}{'recall':>9}{'saved':>8}")
    for bought in numbers["thresholds"]:
        print(
            f"  {bought['words']:<38}{bought['alerts_per_day']['mean']:>14.0f}"
            f"{bought['precision']['mean']:>11.0%}{bought['recall']['mean']:>9.0%}"
            f"{bought['saved_share']['mean']:>8.0%}"
        )
    print()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fraud-evaluate", description=__doc__)
    add_data(
        parser,
        tested="after the labels' delay; the last one ends with the data, the others "
        "end where the next begins",
    )
    parser.add_argument(
        "--splits", type=positive, default=4, metavar="N", help="how many test periods (default: %(default)s)"
    )
    add_forest(parser)
    parser.add_argument(
        "--classifier",
        choices=("forest", "boosting"),
        default="forest",
        help="boosting: scikit-learn's HistGradientBoostingClassifier, to compare (default: %(default)s)",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("build"), metavar="DIR", help="(default: %(default)s)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
