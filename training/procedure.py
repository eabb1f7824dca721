"""How a model is made: for serving, and in the same way to be measured.

A forest learns from the days of training. Its threshold is chosen by another forest, made in the same way of
earlier days, on the last of these days. What is measured is the twin of what is served: the same procedure,
as it would have been run before the test period began.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from flink_jobs.domain.features import FEATURE_NAMES
from training import metrics
from training.examples import Examples
from training.threshold import Rule

# What is evaluated is what is served: one length for all.
TRAIN_DAYS, TEST_DAYS = 28, 7


class Classifier(Protocol):
    """A trained model of scikit-learn's."""

    def predict_proba(self, matrix: NDArray[np.float32], /) -> NDArray[np.float64]:
        """Give [rows, 2] probabilities, of honest and of fraud."""


Fit = Callable[[NDArray[np.float32], NDArray[np.int8], NDArray[np.float32] | None], Classifier]


@dataclass(frozen=True)
class Scored:
    """A period that a model has scored, which was not trained on it.

    Attributes:
        model: trained on the period before it.
        matrix: [rows, features].
        labels: [rows], 1 for fraud.
        known: [rows], whether it is known that the label is right.
        scores: [rows], 0 (honest) to 1 (fraud).
        days: [rows], since 1970-01-01.
        customers: [rows]; None where the data names none.
        blocked: [rows], whether the card was known to be compromised by then.
        facts: periods, numbers of transactions and frauds.

    """

    model: Classifier
    matrix: NDArray[np.float32]
    labels: NDArray[np.int8]
    known: NDArray[np.bool_]
    scores: NDArray[np.float64]
    days: NDArray[np.int32]
    customers: NDArray[np.object_] | None
    blocked: NDArray[np.bool_]
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

    def labelled(self) -> "Scored":
        """Leave out transactions of which it is not known whether they were fraud."""
        return self if self.known.all() else self._only(self.known)

    def unblocked(self) -> "Scored":
        """Of these, leave out the cards that were known to be compromised, as the Handbook does."""
        return self._only(self.known & ~self.blocked)

    def threshold(self, rule: Rule) -> float:
        """Choose a threshold; of alerts a day, all count."""
        among = self if rule.name == "alerts_per_day" else self.labelled()
        return rule.threshold(among.labels, among.scores, self.number_of_days)

    def during(self, begin: int, end: int) -> "Scored":
        """Give the transactions of the days from one on to before another."""
        return self._only((self.days >= begin) & (self.days < end))

    def _only(self, rows: NDArray[np.bool_]) -> "Scored":
        return replace(
            self,
            matrix=self.matrix[rows],
            labels=self.labels[rows],
            known=self.known[rows],
            scores=self.scores[rows],
            days=self.days[rows],
            customers=None if self.customers is None else self.customers[rows],
            blocked=self.blocked[rows],
        )


class Learnt(NamedTuple):
    """A trained model, and what its threshold is chosen on.

    Attributes:
        model: trained on the whole training period.
        validated: the end of that period, scored by a model trained before it; None where none is needed.

    """

    model: Classifier
    validated: Scored | None


def learn(examples: Examples, fit: Fit, *, validate: bool = True) -> Learnt:
    """Train on the training part; where `validate`, score its end by a model of what came before."""
    split = examples.split
    validated = None
    if validate:
        nobody = np.zeros(split.validation.stop - split.validation.start, dtype=np.bool_)
        earlier = fit(*examples.learnt_from(split.fit))
        validated = _score(earlier, examples, "chosen", split.validation, nobody)
    return Learnt(fit(*examples.learnt_from(split.train)), validated)


def test(model: Classifier, examples: Examples) -> Scored:
    """Score the test part."""
    blocked = examples.known_compromised()
    tested = _score(model, examples, "test", examples.split.test, blocked)
    return replace(tested, facts={**tested.facts, "test_left_out": int(blocked.sum())})


def _score(
    model: Classifier, examples: Examples, part: str, rows: slice, blocked: NDArray[np.bool_]
) -> Scored:
    matrix = examples.matrix[rows]
    return Scored(
        model=model,
        matrix=matrix,
        labels=np.where(examples.known[rows], examples.labels[rows], 0).astype(np.int8),
        known=examples.known[rows],
        scores=model.predict_proba(matrix)[:, 1],
        days=examples.days[rows],
        customers=None if examples.customers is None else examples.customers[rows],
        blocked=blocked,
        facts=examples.period(part, rows),
    )


def ranking(tested: Scored) -> dict[str, float]:
    """Measure what depends on no threshold, without the cards known to be compromised.

    Nothing where that leaves no fraud, or nothing else: no order of these is better than another.
    """
    free = tested.unblocked()
    if len(np.unique(free.labels)) == 1:
        return {}
    measured = {
        "auc": metrics.auc(free.labels, free.scores),
        "average_precision": metrics.average_precision(free.labels, free.scores),
    }
    if free.customers is not None:
        measured["card_precision_at_100"] = metrics.card_precision_top_k(
            free.days, free.customers, free.labels, free.scores
        )
    return measured


def alerting(tested: Scored, threshold: float) -> dict[str, float]:
    """Measure what a threshold brings, of compromised cards too: the job knows no blocked cards.

    Alerts a day are those of all transactions, shares those among transactions with a label.
    """
    labelled = tested.labelled()
    at = metrics.at_threshold(labelled.labels, labelled.scores, threshold)
    return {
        "precision": at.precision,
        "recall": at.recall,
        "false_positive_rate": at.false_positive_rate,
        "alerts_per_day": int((tested.scores >= threshold).sum()) / tested.number_of_days,
    }
