"""Figures of what was served: unbiased from alerts and control transactions, unknown where nothing tells."""

from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from training import metrics
from training.performance import FIGURES, ServedScores, figures_of
from training.performance_draws import unknown

THRESHOLD = 0.6


class Truth(NamedTuple):
    """What is the case, whether or not anybody knows."""

    recall: float
    average_precision: float
    precision: float
    missed: float


def population(seed: int = 0, cards: int = 1_500, rows: int = 12_000) -> tuple[ServedScores, Truth]:
    """Three days; frauds hang together by card, and score higher."""
    random = np.random.default_rng(seed)
    owner = random.integers(0, cards, rows)
    risky = random.random(cards) < 0.03
    fraud = (risky[owner] & (random.random(rows) < 0.6)).astype(np.int8)
    scores = np.where(fraud == 1, random.beta(4, 2, rows), random.beta(1, 5, rows)).round(6)
    amounts = random.gamma(2.0, 40.0, rows).round(2)
    alerts = scores >= THRESHOLD
    served = ServedScores(
        np.sort(random.integers(20_000, 20_003, rows)).astype(np.int32),
        owner,
        amounts,
        scores,
        np.full(rows, THRESHOLD),
        alerts,
        np.full(rows, np.nan),
        fraud,
    )
    missed = (fraud == 1) & ~alerts
    return served, Truth(
        float(alerts[fraud == 1].mean()),
        metrics.average_precision(fraud, scores),
        float(fraud[alerts].mean()),
        float(amounts[missed].sum()),
    )


def sampled(served: ServedScores, share: float, random: np.random.Generator) -> ServedScores:
    """Labels for alerts, and for a sample of the others."""
    chosen = ~served.alerted & (random.random(len(served.scores)) < share)
    return served._replace(
        control=np.where(chosen, share, np.nan),
        verdicts=np.where(chosen | served.alerted, served.verdicts, -1).astype(np.int8),
    )


@pytest.mark.parametrize(
    "share",
    [
        0.25,
        0.02,  # one or two frauds among the control transactions, often none
    ],
)
def test_figures_from_control_transactions_are_unbiased_and_their_intervals_cover_the_truth(
    share: float,
) -> None:
    served, truth = population()
    random = np.random.default_rng(1)
    found = [figures_of(sampled(served, share, random), 10, 100) for _ in range(60)]
    for name, true in (
        ("recall", truth.recall),
        ("average_precision", truth.average_precision),
        ("money_missed", truth.missed),
    ):
        values = np.array([each[name].value for each in found])
        error = values.std() / len(values) ** 0.5
        # a ratio of which only the mean of the denominator is true is above the truth, by so much at least
        skew = 0.0 if name == "money_missed" else values.var()
        assert abs(values.mean() - true) < 3 * error + skew, name
        # intervals are of 90 %
        covered = np.mean([each[name].lower <= true <= each[name].upper for each in found])
        assert covered >= 0.85, name


def test_those_with_a_label_stand_for_the_others_of_their_kind() -> None:
    """Never honest by silence: half of the labels tell of as many missed frauds as all."""
    served, truth = population()
    random = np.random.default_rng(2)
    values = []
    for _ in range(40):
        chosen = sampled(served, 0.4, random)
        verdicts = chosen.verdicts.copy()
        for kind in (chosen.alerted, chosen.chosen):
            rows = random.permutation(np.flatnonzero(kind))
            verdicts[rows[: len(rows) // 2]] = -1
        values.append(figures_of(chosen._replace(verdicts=verdicts), 10, 2))
    for name, true in (
        ("recall", truth.recall),
        ("precision", truth.precision),
        ("money_missed", truth.missed),
    ):
        each = np.array([found[name].value for found in values])
        assert abs(each.mean() - true) < 3 * each.std() / len(each) ** 0.5 + 0.01, name


def test_where_all_are_labelled_figures_are_those_of_training() -> None:
    served, truth = population(rows=4_000)
    found = figures_of(served, 10, 20)
    assert found["estimated_from"] == "all"
    assert found["labelled_share"] == 1.0
    at = metrics.at_threshold(served.verdicts, served.scores, THRESHOLD)
    assert found["alerts"].value == at.alerts
    assert found["precision"].value == pytest.approx(at.precision)
    assert found["recall"].value == pytest.approx(at.recall) == pytest.approx(truth.recall)
    assert found["average_precision"].value == pytest.approx(truth.average_precision)
    assert found["money_missed"].value == pytest.approx(truth.missed)
    columns = (served.days, served.cards.astype(object), served.verdicts, served.scores)
    assert found["card_precision"].value == pytest.approx(metrics.card_precision_top_k(*columns, k=10))
    for name in FIGURES:
        assert found[name].lower <= found[name].value <= found[name].upper
        assert found[name].lower < found[name].upper


def test_labels_that_chance_did_not_choose_say_nothing() -> None:
    """A fraud below the threshold that its customer reported stands for no others, nor for itself."""
    served, _ = population(rows=4_000)
    chosen = sampled(served, 0.1, np.random.default_rng(3))
    reported = np.where(
        (served.verdicts == 1) & ~served.alerted & np.isnan(chosen.control), 1, chosen.verdicts
    )
    found = figures_of(chosen._replace(verdicts=reported.astype(np.int8)), 10, 20)
    assert found == figures_of(chosen, 10, 20) | {
        name: found[name] for name in ("labelled", "labelled_share", "card_precision")
    }
    assert found["labelled"] > figures_of(chosen, 10, 20)["labelled"]


def test_a_kind_of_which_only_frauds_are_labelled_tells_nothing() -> None:
    """Whoever hears of frauds alone leaves no label that says honest, so chance chose no label."""
    served, _ = population()
    full = sampled(served, 0.1, np.random.default_rng(4))
    expected = figures_of(full, 2, 20)

    def heard(silent: NDArray[np.bool_]) -> dict[str, Any]:
        verdicts = np.where(silent & (full.verdicts == 0), -1, full.verdicts).astype(np.int8)
        return figures_of(full._replace(verdicts=verdicts), 2, 20)

    frauds, alerts = int((full.verdicts[full.alerted] == 1).sum()), int(full.alerted.sum())
    of_alerts = unknown(f"only frauds are labelled, {frauds:,} of {alerts:,} alerts")
    missed, control = int((full.verdicts[full.chosen] == 1).sum()), int(full.chosen.sum())
    of_control = unknown(f"only frauds are labelled, {missed:,} of {control:,} control transactions")
    assert 0 < missed < control
    for silent, reasons in (
        (
            full.alerted,
            dict.fromkeys(("precision", "recall", "average_precision", "money_caught"), of_alerts),
        ),
        (full.chosen, dict.fromkeys(("recall", "average_precision", "money_missed"), of_control)),
        (
            full.alerted | full.chosen,
            {"precision": of_alerts, "money_caught": of_alerts, "money_missed": of_control}
            | dict.fromkeys(("recall", "average_precision"), of_alerts),
        ),
    ):
        found = heard(silent)
        told = set(FIGURES) - set(reasons) - {"card_precision"}
        assert {name: found[name] for name in reasons} == reasons
        assert {name: found[name].value for name in told} == {
            name: pytest.approx(expected[name].value) for name in told
        }


def week() -> ServedScores:
    """A week: of 100 alerts 70 are frauds, of 100 control transactions one was reported; none is honest."""
    rows = 100_000
    numbers = np.arange(rows)
    alerts = numbers < 100
    return ServedScores(
        np.full(rows, 20_000, np.int32),
        numbers,
        np.full(rows, 10.0),
        np.where(alerts, 0.9, 0.1),
        np.full(rows, THRESHOLD),
        alerts,
        np.where((numbers >= 100) & (numbers < 200), 0.001, np.nan),
        np.where((numbers < 70) | (numbers == 100), 1, -1).astype(np.int8),
    )


def test_only_reported_frauds_among_many_are_not_taken_for_all() -> None:
    found = figures_of(week(), 100, 2)
    assert found["alerts"].value == 100
    assert [name for name in FIGURES if found[name].value is not None] == ["alerts"]
    assert found["card_precision"].reason == "only frauds are labelled, 70 of 100 alerts"
    assert found["money_missed"].reason == "only frauds are labelled, 1 of 100 control transactions"
    assert found["alerts_labelled_share"] == 0.7


@pytest.mark.parametrize(("labelled", "told"), [(4, False), (49, False), (50, True), (100, True)])
@pytest.mark.parametrize(
    ("first", "kind", "names"),
    [
        (100, "control transactions", {"recall", "average_precision", "money_missed"}),
        (0, "alerts", {"precision", "recall", "average_precision", "money_caught", "card_precision"}),
    ],
)
def test_a_few_labels_are_no_sample_though_one_says_honest(
    first: int, kind: str, names: set[str], labelled: int, *, told: bool
) -> None:
    """What somebody gives unasked is mostly fraud; who labels a sample labels nearly all of it."""
    served = week()
    verdicts = served.verdicts.copy()
    verdicts[:200] = np.arange(200) % 100 < 70
    verdicts[first : first + 100] = -1
    verdicts[first : first + labelled] = 1
    verdicts[first] = 0
    found = figures_of(served._replace(verdicts=verdicts), 100, 2)
    unknown_ones = {name for name in FIGURES if found[name].value is None}
    assert unknown_ones == (set() if told else names)
    for name in unknown_ones:
        assert found[name].reason == f"only {labelled} of 100 {kind} are labelled"


def test_where_few_have_a_label_yet_those_whose_delay_is_over_tell() -> None:
    """Of each kind, 30 are due and labelled; early labels tell of four frauds, and that one is none."""
    served, place = week(), np.arange(100_000) % 100
    due = place < 30

    def figures(early_from: int, labelled: NDArray[np.bool_] = due) -> dict[str, Any]:
        verdicts = np.full(100_000, -1, np.int8)
        verdicts[:100][labelled[:100]] = (place < 20)[:100][labelled[:100]]
        verdicts[100:200][labelled[:100]] = (place == 0)[:100][labelled[:100]]
        early = (place >= early_from) & (np.arange(100_000) < 200)
        verdicts[early] = place[early] > early_from
        return figures_of(served._replace(verdicts=verdicts), 1, 2, due)

    found, without = figures(95), figures(100)
    assert {name: found[name] for name in FIGURES} == {name: without[name] for name in FIGURES}
    assert (found["alerts_labelled_share"], without["alerts_labelled_share"]) == (0.35, 0.3)
    assert found["precision"].value == pytest.approx(20 / 30)
    assert found["money_missed"].value == pytest.approx(10 * 100_000 / 30)
    # once half of all are labelled, each label counts
    assert figures(75)["precision"].value == pytest.approx((20 + 24) / (30 + 25))
    # where few of those that are due are labelled, or none
    some = (place >= 15) & (place < 25)
    assert figures(95, some)["precision"].reason == "only 10 of 30 alerts whose labels are due are labelled"
    assert figures(95, place < 0)["precision"].reason == "only 5 of 100 alerts are labelled"


def small(**columns: list[float]) -> ServedScores:
    """Six transactions of six cards on a day: two alerts, then a control transaction, then others."""
    served = ServedScores(
        np.full(6, 20_000, np.int32),
        np.arange(6),
        np.array([10.0, 20.0, 30.0, 40.0, 50.0, 60.0]),
        np.array([0.9, 0.8, 0.5, 0.4, 0.3, 0.2]),
        np.full(6, THRESHOLD),
        np.array([True, True, *[False] * 4]),
        np.array([np.nan, np.nan, 0.25, np.nan, np.nan, np.nan]),
        np.array([1, 0, 1, -1, -1, -1], np.int8),
    )
    return served._replace(**{name: np.array(column) for name, column in columns.items()})


def test_a_control_transaction_stands_for_as_many_as_its_probability_says() -> None:
    found = figures_of(small(), 2)
    assert found["alerts"].value == 2
    assert found["precision"].value == 0.5
    assert found["recall"].value == 1 / (1 + 4)
    assert found["money_caught"].value == 10
    assert found["money_missed"].value == 4 * 30
    # at the alert 1; at the control transaction, itself and one of the two before it
    assert found["average_precision"].value == pytest.approx((1 + 4 * 2 / 3) / 5)
    assert found["card_precision"].value == 0.5


def test_no_fraud_among_few_control_transactions_does_not_mean_that_none_is_missed() -> None:
    found = figures_of(small(verdicts=[1, 0, 0, -1, -1, -1]), 2)
    assert found["recall"].value == 1
    assert found["recall"].lower < 0.3
    # no more than all that lies below the threshold
    assert found["money_missed"] == (0.0, 0.0, 180.0, None)


@pytest.mark.parametrize(
    ("columns", "names", "reason"),
    [
        (
            {"verdicts": [-1, -1, 1, -1, -1, -1]},
            ("precision", "recall", "average_precision", "money_caught"),
            "none of 2 alerts is labelled",
        ),
        (
            {"verdicts": [1, 0, -1, -1, -1, -1]},
            ("recall", "average_precision", "money_missed"),
            "no control transaction is labelled, of 1 among 4 transactions without an alert",
        ),
        (
            {"control": [np.nan] * 6, "verdicts": [1, 0, 1, 1, 1, -1]},
            ("recall", "average_precision", "money_missed"),
            "there is no control transaction among 4 transactions without an alert",
        ),
        ({"verdicts": [0, 0, 0, -1, -1, -1]}, ("recall", "average_precision"), "no fraud is known"),
        (
            {"thresholds": [0.95] * 6, "alerted": [False] * 6, "control": [0.5] * 6},
            ("precision",),
            "there is no alert",
        ),
        (
            {"thresholds": [np.nan] * 6, "alerted": [False] * 6},
            ("alerts", "precision", "recall", "money_caught", "money_missed"),
            "the threshold is not known for 6 transactions",
        ),
        # the challenger alerts of what the champion did not
        (
            {
                "thresholds": [0.35] * 6,
                "control": [np.nan] * 4 + [0.25, np.nan],
                "verdicts": [1, 0, -1, -1, 0, -1],
            },
            ("precision", "money_caught"),
            "there is no control transaction among 2 of its alerts that the served model did not raise",
        ),
    ],
)
def test_what_cannot_be_told_is_unknown_with_the_reason(
    columns: dict[str, list[float]], names: tuple[str, ...], reason: str
) -> None:
    found = figures_of(small(**columns), 2)
    for name in names:
        assert found[name] == (None, None, None, reason), name
    others = set(FIGURES) - set(names) - {"card_precision"}
    assert all(found[name].value is not None for name in others)


def test_the_first_cards_of_a_day_are_unknown_where_one_has_neither_an_alert_nor_a_label() -> None:
    assert figures_of(small(), 3)["card_precision"].value == pytest.approx(2 / 3)
    assert figures_of(small(), 4)["card_precision"].reason == (
        "of the 4 first cards of each day, 1 have neither an alert nor a label"
    )
    # two of three alerts tell of the third
    alerts: list[float] = [True, True, True, False, False, False]
    assert (
        figures_of(small(alerted=alerts, verdicts=[1, 0, -1, -1, -1, -1]), 3)["card_precision"].value == 0.5
    )
    # a fraud tells of no other alert, but of itself
    frauds = small(verdicts=[1, -1, 1, -1, -1, -1])
    assert figures_of(frauds, 2)["card_precision"].reason == "only frauds are labelled, 1 of 2 alerts"
    assert figures_of(frauds, 1)["card_precision"].value == 1.0


def test_where_all_alerts_agree_the_interval_says_how_few_they_are() -> None:
    found = figures_of(small(verdicts=[1, 1, 0, -1, -1, -1]), 2)["precision"]
    assert found == (1.0, pytest.approx(0.05**0.5), 1.0, None)
