"""Train and test models on consecutive weeks: how good they are, and what each threshold would bring."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from flink_jobs.domain.features import FEATURE_NAMES
from training import metrics
from training.examples import prepare_each
from training.labelled_data import LabelledData
from training.procedure import Fit, Scored, alerting, learn, ranking, test
from training.tables import DatasetError
from training.threshold import Rule

RULES = (
    Rule("best_f1"),
    *(Rule("alerts_per_day", alerts) for alerts in (25, 50, 100, 200)),
    *(Rule("false_positive_rate", rate) for rate in (0.0005, 0.001, 0.005)),
)


class Plan(NamedTuple):
    """Number of test periods, one after another up to the end of the data, and lengths of the periods."""

    splits: int
    train_days: int
    test_days: int


class Evaluation(NamedTuple):
    """Test periods, the earliest first, and for each what its thresholds are chosen on.

    That is the end of the training period, so that its labels are known when the test begins.
    """

    tested: list[Scored]
    validated: list[Scored]


def evaluate_plan(data: LabelledData, plan: Plan, fit: Fit, max_rows: int | None = None) -> Evaluation:
    """Train and test on consecutive periods, each time as `fraud-train` does.

    Args:
        data: labelled, of kind `history`.
        plan: the periods.
        fit: trains a model on [rows, features], [rows] labels and weights.
        max_rows: to learn from; None: all.

    Raises:
        DatasetError: no labels, too few days, or a period without frauds.

    """
    dataset = data.transactions
    last = data.labelled_until_day if len(dataset.frame) else 0
    ends = [last - number * plan.test_days for number in reversed(range(plan.splits))]
    examples = prepare_each(data, plan.train_days, plan.test_days, ends, max_rows=max_rows)
    evaluation = Evaluation([], [])
    for end in ends:
        learnt = learn(examples[end], fit)
        tested = test(learnt.model, examples[end])
        facts = {**examples[end].period("train", examples[end].split.train), **tested.facts}
        evaluation.tested.append(replace(tested, facts=facts))
        if learnt.validated is not None:
            evaluation.validated.append(learnt.validated)
    return evaluation


def quality(evaluation: Evaluation) -> dict[str, Any]:
    """Mean and spread over the splits, of the metrics that depend on no threshold."""
    ranked = [ranking(tested) for tested in evaluation.tested]
    for tested, measured in zip(evaluation.tested, ranked, strict=True):
        if not measured:
            raise DatasetError(
                f"the test from {tested.facts['test_from']} has no fraud of a card that was not known to be "
                "compromised by then; give more data or more --test-days"
            )
    found = _spreads(ranked)
    # as programs have read it since the first version
    return {"card_precision_100": found.pop("card_precision_at_100"), **found}


def thresholds(evaluation: Evaluation, rules: Sequence[Rule] = RULES) -> list[dict[str, Any]]:
    """Measure each rule's threshold: chosen on the earlier period, measured on the test period."""
    return [
        {"rule": rule.name, "limit": rule.limit, "words": str(rule)}
        | _spreads([_bought(rule, *pair) for pair in zip(*evaluation, strict=True)])
        for rule in rules
    ]


def _bought(rule: Rule, tested: Scored, validated: Scored) -> dict[str, float]:
    threshold = validated.threshold(rule)
    amounts = tested.fraud_amounts
    saved = float(amounts[tested.scores >= threshold].sum())
    return {
        "threshold": threshold,
        **alerting(tested, threshold),
        "saved_per_day": saved / tested.number_of_days,
        "saved_share": saved / max(float(amounts.sum()), 0.01),
    }


def importance(evaluation: Evaluation, seed: int) -> dict[str, Any]:
    """Permutation importance: by how much average precision falls when a feature's values are shuffled.

    Measured on each test period; a feature shows less than it tells if another tells the same.
    """
    random = np.random.default_rng(seed)
    falls = [list(_falls(tested, random)) for tested in evaluation.tested]
    return {
        name: spread(list(values))
        for name, values in zip(FEATURE_NAMES, zip(*falls, strict=True), strict=True)
    }


def _falls(tested: Scored, random: np.random.Generator) -> Iterator[float]:
    tested = tested.unblocked()
    whole = metrics.average_precision(tested.labels, tested.scores)
    matrix = tested.matrix.copy()
    for number in range(matrix.shape[1]):
        kept = matrix[:, number].copy()
        random.shuffle(matrix[:, number])
        yield whole - metrics.average_precision(tested.labels, tested.model.predict_proba(matrix)[:, 1])
        matrix[:, number] = kept


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, sample standard deviation (0 for a single value), and the values, the earliest first."""
    return {
        "mean": float(np.mean(values)),
        "std": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0,
        "splits": list(values),
    }


def _spreads(rows: Sequence[dict[str, float]]) -> dict[str, Any]:
    return {name: spread([row[name] for row in rows]) for name in rows[0]}
