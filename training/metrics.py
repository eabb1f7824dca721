"""How good scores are, in the terms of the Fraud Detection Handbook (Le Borgne et al., 2022, chapter 4)."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

CARDS_A_DAY = 100


class AtThreshold(NamedTuple):
    """The effect of a threshold.

    Attributes:
        alerts: their number.
        precision: share of the alerts that are frauds.
        recall: share of the frauds that raise an alert.
        false_positive_rate: share of the honest transactions that raise one.

    """

    alerts: int
    precision: float
    recall: float
    false_positive_rate: float


def auc(labels: NDArray[np.int8], scores: NDArray[np.float64]) -> float:
    """Area under the ROC curve."""
    return float(roc_auc_score(labels, scores))


def average_precision(labels: NDArray[np.int8], scores: NDArray[np.float64]) -> float:
    """Area under the precision-recall curve, as a sum over its steps."""
    return float(average_precision_score(labels, scores))


def card_precision_top_k(
    days: NDArray[np.int32],
    customer_ids: NDArray[np.object_],
    labels: NDArray[np.int8],
    scores: NDArray[np.float64],
    k: int = CARDS_A_DAY,
) -> float:
    """CardPrecision@k: of the k cards with the highest score of a day, the share defrauded that day.

    Averaged over the days. A card found on one day is blocked and left out on later days, as in the Handbook;
    the caller leaves out cards that were known to be compromised before (`known_compromised`).
    """
    cards = pd.DataFrame({"day": days, "card": customer_ids, "label": labels, "score": scores})
    cards = cards.groupby(["day", "card"], sort=True).max().reset_index("card")
    found: set[object] = set()
    shares = []
    for day in np.unique(days):
        of_day = cards.loc[[day]]
        top = of_day[~of_day["card"].isin(found)].nlargest(k, "score")
        hits = top.loc[top["label"] == 1, "card"]
        found.update(hits)
        shares.append(len(hits) / k)
    return float(np.mean(shares))


def known_compromised(
    days: NDArray[np.int32],
    customer_ids: NDArray[np.object_],
    known_as_fraud_from: NDArray[np.int32],
) -> NDArray[np.bool_]:
    """Which transactions are of cards that are blocked by then, because a fraud of theirs is known.

    Args:
        days: [transactions], since 1970-01-01.
        customer_ids: [transactions].
        known_as_fraud_from: [transactions], see `LabelledData`.

    """
    frame = pd.DataFrame({"day": days, "card": customer_ids, "known": known_as_fraud_from})
    return (frame["day"] >= frame.groupby("card")["known"].transform("min")).to_numpy()


def at_threshold(labels: NDArray[np.int8], scores: NDArray[np.float64], threshold: float) -> AtThreshold:
    """Count the frauds and the honest transactions that raise an alert at a threshold."""
    alerted = scores >= threshold
    hits, alerts, frauds = int(labels[alerted].sum()), int(alerted.sum()), int(labels.sum())
    honest = len(labels) - frauds
    return AtThreshold(alerts, hits / max(alerts, 1), hits / max(frauds, 1), (alerts - hits) / max(honest, 1))


def threshold_of_best_f1(labels: NDArray[np.int8], scores: NDArray[np.float64]) -> float:
    """Find the threshold with the highest F1, the harmonic mean of precision and recall."""
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    return float(thresholds[np.argmax(f1[:-1])])


def threshold_of_alerts(scores: NDArray[np.float64], alerts: int) -> float:
    """Find the threshold at which this many of the scores raise an alert (fewer where scores tie)."""
    if alerts >= len(scores):
        return 0.0
    ranked = np.sort(scores)[::-1]
    return float(np.nextafter(ranked[alerts], np.inf))


def threshold_of_false_positive_rate(
    labels: NDArray[np.int8], scores: NDArray[np.float64], rate: float
) -> float:
    """Find the lowest threshold at which at most this share of honest transactions raises an alert.

    Where a share above 0 is less than a single one of them, one may; and the threshold is never above all
    frauds, as a model that alerts of nothing is none.
    """
    honest, frauds = scores[labels == 0], scores[labels == 1]
    allowed = int(rate * len(honest))
    threshold = threshold_of_alerts(honest, max(allowed, 1) if rate > 0 else 0)
    return min(threshold, float(frauds.max())) if rate > 0 and len(frauds) else threshold
