import numpy as np
import pytest

from training.labelled_data import NEVER
from training.metrics import (
    at_threshold,
    auc,
    average_precision,
    card_precision_top_k,
    known_compromised,
    threshold_of_alerts,
    threshold_of_best_f1,
    threshold_of_false_positive_rate,
)

LABELS = np.array([0, 0, 1, 1], dtype=np.int8)
SCORES = np.array([0.1, 0.4, 0.35, 0.8])


def test_areas_are_those_of_a_worked_example() -> None:
    assert auc(LABELS, SCORES) == 0.75
    assert average_precision(LABELS, SCORES) == pytest.approx(5 / 6)


def test_card_precision_looks_at_the_best_cards_of_each_day() -> None:
    days = np.array([1, 1, 1, 1, 2, 2, 2], dtype=np.int32)
    cards = np.array(["a", "a", "b", "c", "a", "b", "d"], dtype=object)
    labels = np.array([0, 1, 0, 1, 0, 0, 1], dtype=np.int8)
    scores = np.array([0.9, 0.1, 0.8, 0.2, 0.1, 0.2, 0.9])
    # day 1: a (a fraud that day) and b; day 2: d (a fraud) and b
    assert card_precision_top_k(days, cards, labels, scores, k=2) == 0.5
    assert card_precision_top_k(days, cards, labels, scores, k=1) == 1.0
    # fewer cards than k: the missing ones count as misses
    assert card_precision_top_k(days, cards, labels, scores, k=4) == pytest.approx((2 / 4 + 1 / 4) / 2)


def test_card_precision_blocks_a_card_once_it_is_found() -> None:
    days = np.array([1, 1, 2, 2], dtype=np.int32)
    cards = np.array(["a", "b", "a", "b"], dtype=object)
    labels = np.array([1, 0, 1, 1], dtype=np.int8)
    scores = np.array([0.9, 0.2, 0.9, 0.3])
    # day 2: a was found the day before, so b is the best card left
    assert card_precision_top_k(days, cards, labels, scores, k=1) == 1.0
    assert card_precision_top_k(days, cards, labels, scores, k=2) == 0.5


def test_a_card_is_blocked_once_its_fraud_is_known() -> None:
    days = np.array([1, 2, 8, 9, 9], dtype=np.int32)
    cards = np.array(["a", "a", "a", "a", "b"], dtype=object)
    known_from = np.array([9, NEVER, NEVER, 17, 17], dtype=np.int32)
    assert known_compromised(days, cards, known_from).tolist() == [False, False, False, True, False]


def test_alerts_at_a_threshold_include_it() -> None:
    assert at_threshold(LABELS, SCORES, 0.35) == (3, 2 / 3, 1.0, 0.5)
    assert at_threshold(LABELS, SCORES, 0.9) == (0, 0.0, 0.0, 0.0)


def test_the_best_f1_is_found() -> None:
    assert threshold_of_best_f1(LABELS, SCORES) == 0.35


@pytest.mark.parametrize(("alerts", "raised"), [(0, 0), (1, 1), (3, 3), (4, 4), (9, 4)])
def test_the_number_of_alerts_is_kept(alerts: int, raised: int) -> None:
    assert (threshold_of_alerts(SCORES, alerts) <= SCORES).sum() == raised


def test_ties_raise_fewer_alerts_rather_than_more() -> None:
    scores = np.array([0.9, 0.5, 0.5, 0.5, 0.1])
    assert (threshold_of_alerts(scores, 2) <= scores).sum() == 1


@pytest.mark.parametrize(
    ("rate", "false_alerts", "found"), [(0.0, 0, 1), (0.24, 1, 1), (0.25, 1, 1), (0.6, 2, 2), (1.0, 4, 2)]
)
def test_the_false_positive_rate_is_kept_by_the_lowest_threshold(
    rate: float, false_alerts: int, found: int
) -> None:
    labels = np.array([1, 0, 0, 1, 0, 0], dtype=np.int8)
    scores = np.array([0.9, 0.8, 0.5, 0.4, 0.3, 0.1])
    threshold = threshold_of_false_positive_rate(labels, scores, rate)
    assert ((scores >= threshold) & (labels == 0)).sum() == false_alerts
    assert ((scores >= threshold) & (labels == 1)).sum() == found


@pytest.mark.parametrize("highest_honest", [[0.95], [0.95, 0.95], [1.0, 1.0, 1.0]])
def test_a_small_share_of_false_positives_never_switches_alerting_off(highest_honest: list[float]) -> None:
    honest = [*np.linspace(0, 0.2, 1_500 - len(highest_honest)), *highest_honest]
    scores = np.array([*honest, 0.9, 0.8, 0.7])
    labels = np.array([0] * 1_500 + [1] * 3, dtype=np.int8)
    at = at_threshold(labels, scores, threshold_of_false_positive_rate(labels, scores, 0.0005))
    assert at.recall > 0
    # one of 1,500 is as little as can be; what costs no more is taken
    assert at.recall == 1.0 or len(highest_honest) > 1
