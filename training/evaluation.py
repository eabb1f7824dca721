"""Train and test models on consecutive weeks: how good they are, and what each threshold would bring."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from flink_jobs.domain.features import FEATURE_NAMES
from training import metrics
from training.examples import Examples, prepare_each
from training.labelled_data import LabelledData
from training.threshold import Rule

RULES = (
    Rule("best_f1"),
    *(Rule("alerts_per_day", alerts) for alerts in (25, 50, 100, 200)),
    *(Rule("false_positive_rate", rate) for rate in (0.0005, 0.001, 0.005)),
)


class Classifier(Protocol):
    """A trained model of scikit-learn's."""

    def predict_proba(self, matrix: NDArray[np.float32], /) -> NDArray[np.float64]:
        """Give [rows, 2] probabilities, of honest and of fraud."""


Fit = Callable[[NDArray[np.float32], NDArray[np.int8]], Classifier]


class Plan(NamedTuple):
    """Number of test periods, one after another up to the end of the data, and lengths of the periods."""

    splits: int
    train_days: int
    test_days: int


@dataclass(frozen=True)
class Scored:
    """A test period that a model has scored, without the cards that were known to be compromised.

    Attributes:
        model: trained on the period before it.
        matrix: [rows, features].
        labels: [rows], 1 for fraud.
        scores: [rows], 0 (honest) to 1 (fraud).
        days: [rows], since 1970-01-01.
        customers: [rows].
        facts: periods, numbers of transactions and frauds.

    """

    model: Classifier
    matrix: NDArray[np.float32]
    labels: NDArray[np.int8]
    scores: NDArray[np.float64]
    days: NDArray[np.int32]
    customers: NDArray[np.object_]
    facts: dict[str, str | int | float | None]

    @property
    def number_of_days(self) -> int:
        """Days with transactions."""
        return len(np.unique(self.days))

    @property
    def fraud_amounts(self) -> NDArray[np.float64]:
        """[rows] the amount of each fraud, 0 for honest transactions."""
        return self.labels * self.matrix[:, FEATURE_NAMES.index("amount")].astype(np.float64)

    def by_score(self) -> NDArray[np.int64]:
        """Rows in the order of their scores, the highest first."""
        return np.argsort(-self.scores, kind="stable")


class Evaluation(NamedTuple):
    """Test periods, the earliest first, and for each the earlier period that its thresholds are chosen on.

    The earlier period ends with the training period, so that its labels are known when the test begins.
    """

    tested: list[Scored]
    earlier: list[Scored]


def evaluate_plan(data: LabelledData, plan: Plan, fit: Fit) -> Evaluation:
    """Train and test on consecutive periods.

    Args:
        data: labelled, of kind `history`.
        plan: the periods.
        fit: trains a model on [rows, features] and [rows] labels.

    Raises:
        DatasetError: no labels, too few days, or a period without frauds.

    """
    dataset = data.transactions
    last = int(dataset.days()[-1]) + 1 if len(dataset.frame) else 0
    ends = [last - number * plan.test_days for number in reversed(range(plan.splits))]
    before = plan.test_days + data.label_delay_days
    every = sorted({*ends, *(end - before for end in ends)})
    examples = prepare_each(data, plan.train_days, plan.test_days, every)
    tested = {end: score_period(examples[end], fit) for end in every}
    return Evaluation([tested[end] for end in ends], [tested[end - before] for end in ends])


def score_period(examples: Examples, fit: Fit) -> Scored:
    """Train on the training part, score the test part."""
    train, rows = examples.split.train, examples.split.test
    if examples.customers is None:
        raise ValueError("examples without customers cannot be tested card by card")
    model = fit(examples.matrix[train], examples.labels[train])
    left_out = examples.known_compromised()
    kept = np.flatnonzero(~left_out) + rows.start
    return Scored(
        model=model,
        matrix=examples.matrix[kept],
        labels=examples.labels[kept],
        scores=model.predict_proba(examples.matrix[kept])[:, 1],
        days=examples.days[kept],
        customers=examples.customers[kept],
        facts={
            **examples.period("train", train),
            **examples.period("test", rows),
            "test_left_out": int(left_out.sum()),
        },
    )


def quality(evaluation: Evaluation) -> dict[str, Any]:
    """Mean and spread over the splits, of the metrics that depend on no threshold."""
    tested = evaluation.tested
    return {
        "average_precision": spread([metrics.average_precision(each.labels, each.scores) for each in tested]),
        "card_precision_100": spread(
            [
                metrics.card_precision_top_k(each.days, each.customers, each.labels, each.scores)
                for each in tested
            ]
        ),
        "auc": spread([metrics.auc(each.labels, each.scores) for each in tested]),
    }


def thresholds(evaluation: Evaluation, rules: Sequence[Rule] = RULES) -> list[dict[str, Any]]:
    """Measure each rule's threshold: chosen on the earlier period, measured on the test period."""
    return [
        {"rule": rule.name, "limit": rule.limit, "words": str(rule)}
        | _spreads([_bought(rule, *pair) for pair in zip(*evaluation, strict=True)])
        for rule in rules
    ]


def _bought(rule: Rule, tested: Scored, earlier: Scored) -> dict[str, float]:
    threshold = rule.threshold(earlier.labels, earlier.scores, earlier.number_of_days)
    at = metrics.at_threshold(tested.labels, tested.scores, threshold)
    amounts = tested.fraud_amounts
    saved = float(amounts[tested.scores >= threshold].sum())
    return {
        "threshold": threshold,
        "alerts_per_day": at.alerts / tested.number_of_days,
        "precision": at.precision,
        "recall": at.recall,
        "false_positive_rate": at.false_positive_rate,
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
