"""What scores were worth while they served: figures of what was labelled since, each with its interval.

Whoever labels is offered all alerts, and of the transactions below the threshold a sample, the control
transactions, each of which stands for as many as the inverse of its probability. What nobody labelled is
unknown: those alerts and control transactions that have a label stand for the others of their kind, unless
only frauds of that kind have one, or fewer than half of it: then it was not chance that chose them, and what
the kind would tell is unknown. Other labelled transactions are left out for the same reason; only where all
of a period are labelled does each stand for itself.

Sums over alerts are drawn again card by card (`training.draws`), sums over control transactions as
`training.performance_draws` says.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.card_days import CardDays
from training.draws import PERCENTILES, draws
from training.performance_draws import Figure, WeightedRanking, limits, told, unknown

TIMES = 500
# Who labels a sample labels nearly all of it; what somebody hears of is mostly fraud. Where half have one, a
# kind has at least half the frauds that it is taken for, even if all the others are honest.
FEWEST_LABELLED = 0.5
FIGURES = (
    *("alerts", "precision", "recall", "average_precision", "card_precision"),
    *("money_caught", "money_missed"),
)
_Rows = NDArray[np.bool_]
# why there is no figure, else what gives it
_Told = tuple[str, Callable[[], Figure]]
# Sums that figures are made of, over rows with labels.
_CAUGHT, _MISSED, _FALSE, _MONEY_CAUGHT, _MONEY_MISSED = range(5)
_OF_ALERTS, _OF_MONEY = {_CAUGHT, _FALSE, _MONEY_CAUGHT}, {_MONEY_CAUGHT, _MONEY_MISSED}


class ServedScores(NamedTuple):
    """Transactions that one model scored, in columns of equal length.

    Attributes:
        days: since 1970-01-01.
        cards: numbers.
        amounts: in the deployment's currency.
        scores: of the model.
        thresholds: from which score on it alerts; NaN where that is not known.
        alerted: whether the model that served raised an alert, which somebody was to label.
        control: the probability with which it was chosen as a control transaction; NaN where it was not.
        verdicts: 1 fraud, 0 honest, -1 unknown.

    """

    days: NDArray[np.int32]
    cards: NDArray[np.int64]
    amounts: NDArray[np.float64]
    scores: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    alerted: NDArray[np.bool_]
    control: NDArray[np.float64]
    verdicts: NDArray[np.int8]

    def where(self, rows: _Rows) -> "ServedScores":
        """Give some of the rows."""
        return ServedScores(*(column[rows] for column in self))  # type: ignore[arg-type] # each of its own

    @property
    def chosen(self) -> _Rows:
        """Which are control transactions."""
        return ~np.isnan(self.control) & ~self.alerted


class _Sample(NamedTuple):
    """Which labels figures are estimated from, [rows] each.

    Attributes:
        certain: labelled because they were alerts, or because all are.
        control: labelled control transactions.
        rest: what `control` stands for, these included.
        weights: how many rows each stands for.

    """

    certain: _Rows
    control: _Rows
    rest: _Rows
    weights: NDArray[np.float64]

    @classmethod
    def of(cls, served: ServedScores, due: _Rows) -> "_Sample":
        labelled = served.verdicts >= 0
        weights = np.zeros(len(labelled))
        if labelled.all():
            return cls(labelled, ~labelled, ~labelled, weights + 1)
        certain, control = (
            labelled & _judged_by(served.verdicts, kind, due) for kind in (served.alerted, served.chosen)
        )
        if certain.any():
            weights[certain] = served.alerted.sum() / certain.sum()
        if control.any():
            stands_for = 1 / served.control
            weights[control] = stands_for[control] * (
                stands_for[served.chosen].sum() / stands_for[control].sum()
            )
        return cls(certain, control, ~served.alerted, weights)


class _Sums(NamedTuple):
    """Sums by the numbers above: estimates, and draws for lower and upper bounds, [draws] each."""

    values: list[float]
    low: list[NDArray[np.float64]]
    high: list[NDArray[np.float64]]

    def total(self, number: int) -> Figure:
        """Give a sum as a figure."""
        return told(self.values[number], self.low[number], self.high[number])

    def share(self, part: int, other: int, cards: int) -> Figure:
        """Give the share of a part among it and another, of so many cards."""
        with np.errstate(invalid="ignore"):
            low, high = (
                some[part] / (some[part] + more[other])
                for some, more in ((self.low, self.high), (self.high, self.low))
            )
        found = told(self.values[part] / (self.values[part] + self.values[other]), low, high)
        if found.lower == found.upper:
            # all cards agree, so all draws do; a share nearer to a half would have shown otherwise
            end = (1 - PERCENTILES[1] / 100) ** (1 / max(cards, 1))
            return found._replace(lower=end) if found.value else found._replace(upper=1 - end)
        return found


def figures_of(served: ServedScores, k: int, times: int = TIMES, due: _Rows | None = None) -> dict[str, Any]:
    """Measure a period; equal arguments give equal figures.

    Args:
        served: of one model, a row at least.
        k: cards a day, for CardPrecision@k.
        times: draws for each interval.
        due: [rows], whether the delay of labels is over; None: it is for all.

    Returns:
        Numbers of transactions and shares that are labelled, and a Figure for each of FIGURES.

    """
    labelled = served.verdicts >= 0
    return {
        "transactions": len(labelled),
        "labelled": int(labelled.sum()),
        "labelled_share": float(labelled.mean()),
        "alerts_labelled_share": _share(labelled, served.scores >= served.thresholds),
        "control": int(served.chosen.sum()),
        "control_labelled_share": _share(labelled, served.chosen),
        "estimated_from": "all" if labelled.all() else "alerts and control",
        **_Measure(served, k, times, np.ones(len(labelled), np.bool_) if due is None else due).figures(),
    }


def no_sample(verdicts: NDArray[np.int8], kind: str) -> str:
    """Say why the rows with a label tell nothing of those without one; "" where they do, or there are none.

    Where none says honest, of frauds alone something is heard; where few have one, mostly of frauds.

    Args:
        verdicts: [rows] of a kind: 1 fraud, 0 honest, -1 unknown.
        kind: what it is called.

    """
    labelled = int((verdicts >= 0).sum())
    if labelled in {0, len(verdicts)}:
        return ""
    count = f"{labelled:,} of {len(verdicts):,} {kind}"
    if not (verdicts == 0).any():
        return f"only frauds are labelled, {count}"
    return f"only {count} are labelled" if labelled < FEWEST_LABELLED * len(verdicts) else ""


def _judged_by(verdicts: NDArray[np.int8], kind: _Rows, due: _Rows) -> _Rows:
    """Tell whose labels stand for a kind: all of it or, where few have one yet, those whose label is due."""
    labelled = verdicts >= 0
    if labelled[kind].sum() >= FEWEST_LABELLED * kind.sum() or not labelled[kind & due].any():
        return kind
    # chance does not choose what is labelled early
    return kind & due


def _share(part: _Rows, among: _Rows) -> float | None:
    return float(part[among].mean()) if among.any() else None


class _Drawn(NamedTuple):
    """What draws of cards give, [draws] each: of control transactions, nothing is in `sums`."""

    alerts: NDArray[np.float64]
    card_precision: NDArray[np.float64]
    precision_at_frauds: NDArray[np.float64]
    sums: list[NDArray[np.float64]]


class _Measure:
    """The figures of a period; rows that figures are made of are drawn again, card by card."""

    def __init__(self, served: ServedScores, k: int, times: int, due: _Rows) -> None:
        self._served, self._times, self._k, self._due = served, times, k, due
        self._sample = _Sample.of(served, due)
        self._alerts: _Rows = served.scores >= served.thresholds
        self._cards = CardDays(served.days, served.cards, served.scores, served.verdicts, served.alerted, k)
        self._rows = np.flatnonzero(self._sample.weights)
        self._control = self._sample.control[self._rows]
        self._parts = self._sum_parts()
        self._ranking = WeightedRanking(
            served.verdicts[self._rows],
            served.scores[self._rows],
            self._sample.weights[self._rows],
            self._control,
        )

    def figures(self) -> dict[str, Figure]:
        """Give FIGURES, each with its value or the reason why there is none."""
        drawn = self._drawn()
        sums = self._sums(drawn)
        number, share = float(self._alerts.sum()), self._cards.precision()
        threshold = self._no_threshold()
        of_alerts = threshold or self._unlabelled(
            self._alerts, "of its alerts that the served model did not raise"
        )
        without = "transactions without an alert"
        of_all = self._unlabelled(np.ones(len(self._alerts), np.bool_), without)
        no_fraud = "" if sums.values[_CAUGHT] + sums.values[_MISSED] else "no fraud is known"
        found: dict[str, _Told] = {
            "alerts": (threshold, lambda: told(number, drawn.alerts, drawn.alerts)),
            "precision": (
                of_alerts or ("" if number else "there is no alert"),
                lambda: sums.share(_CAUGHT, _FALSE, self._number_of_cards(self._alerts)),
            ),
            "recall": (
                threshold or of_all or no_fraud,
                lambda: sums.share(_CAUGHT, _MISSED, self._number_of_cards(self._served.verdicts == 1)),
            ),
            "average_precision": (of_all or no_fraud, lambda: self._average_precision(drawn, sums)),
            "card_precision": (
                self._unlabelled_cards(share),
                lambda: told(share, drawn.card_precision, drawn.card_precision),
            ),
            "money_caught": (of_alerts, lambda: sums.total(_MONEY_CAUGHT)),
            "money_missed": (
                threshold or self._unlabelled(~self._alerts, without),
                lambda: sums.total(_MONEY_MISSED),
            ),
        }
        return {name: unknown(reason) if reason else figure() for name, (reason, figure) in found.items()}

    def _number_of_cards(self, among: _Rows) -> int:
        """Count the cards of labelled rows."""
        return len(np.unique(self._served.cards[among & (self._sample.weights > 0)]))

    def _sum_parts(self) -> NDArray[np.float64]:
        """Give what each labelled row adds to each of the sums, [sums, rows]."""
        alerts, amounts = self._alerts[self._rows], self._served.amounts[self._rows]
        weights, fraud = self._sample.weights[self._rows], self._served.verdicts[self._rows] == 1
        caught, missed, false = (
            weights * part for part in (fraud & alerts, fraud & ~alerts, ~fraud & alerts)
        )
        return np.stack([caught, missed, false, caught * amounts, missed * amounts])

    def _drawn(self) -> _Drawn:
        """Draw the cards of labelled rows, of alerts, and of the most suspicious of each day."""
        cards = self._served.cards
        used = np.unique(np.concatenate([self._rows, np.flatnonzero(self._alerts), self._cards.rows]))
        at = np.searchsorted(used, self._rows)
        parts = np.where(self._control, 0.0, self._parts)
        alerts = self._alerts[used].astype(np.float64)
        times_of_card = np.zeros(int(cards.max()) + 1)
        found = []
        for counts in draws(cards[used].astype(object), len(used), self._times):
            times_of_card[cards[used]] = counts
            of_rows = counts[at]
            found.append(
                [
                    counts @ alerts,
                    self._cards.precision(times_of_card),
                    self._ranking.at_certain(of_rows),
                    *(parts @ of_rows),
                ]
            )
        all_alerts, card_precision, precision, *sums = np.array(found).T
        return _Drawn(all_alerts, card_precision, precision, sums)

    def _sums(self, drawn: _Drawn) -> _Sums:
        """Add what control transactions stand for."""
        sample, random = self._sample, np.random.default_rng(0)
        cards = np.unique(self._served.cards[self._rows[self._control]], return_inverse=True)[1]
        sums = _Sums([], [], [])
        for number, of_alerts in enumerate(drawn.sums):
            rest = sample.rest & (self._alerts if number in _OF_ALERTS else ~self._alerts)
            each = self._served.amounts if number in _OF_MONEY else np.ones(len(rest))
            largest = float((sample.weights * each)[rest].max(initial=0.0))
            by_card = np.bincount(cards, self._parts[number][self._control]).astype(np.float64)
            all_of_it = float(each[rest].sum())
            low, high = limits(by_card, largest, all_of_it, random, self._times)
            sums.values.append(float(self._parts[number].sum()))
            sums.low.append(of_alerts + low)
            sums.high.append(of_alerts + high)
        return sums

    def _average_precision(self, drawn: _Drawn, sums: _Sums) -> Figure:
        """Give it: a fraud more below the threshold lowers it."""
        frauds = drawn.sums[_CAUGHT] + drawn.sums[_MISSED]
        low, high = (each[_CAUGHT] + each[_MISSED] - frauds for each in (sums.low, sums.high))
        counted = self._parts[[_CAUGHT, _MISSED]].sum(axis=0)
        value = self._ranking.average(
            np.array([self._ranking.at_certain(np.ones(len(self._rows)))]),
            np.array([counted[~self._control].sum()]),
            np.array([counted[self._control].sum()]),
        )
        lower, upper = (
            self._ranking.average(drawn.precision_at_frauds, frauds, missed) for missed in (high, low)
        )
        return told(float(value[0]), lower, upper)

    def _no_threshold(self) -> str:
        missing = int(np.isnan(self._served.thresholds).sum())
        return f"the threshold is not known for {missing:,} transactions" if missing else ""

    def _unlabelled(self, among: _Rows, others: str) -> str:
        """Say why nothing can be told of frauds among these transactions; "" where something can.

        `others` names those of them that are no alerts of the model that served.
        """
        sample, served = self._sample, self._served
        alerts, rest = among & served.alerted, among & sample.rest
        if alerts.any() and not (alerts & sample.certain).any():
            return f"none of {int(alerts.sum()):,} alerts is labelled"
        if rest.any() and not (rest & sample.control).any():
            chosen = int((rest & served.chosen).sum())
            if chosen:
                return f"no control transaction is labelled, of {chosen:,} among {int(rest.sum()):,} {others}"
            return f"there is no control transaction among {int(rest.sum()):,} {others}"
        of_alerts = self._no_sample_of_alerts() if alerts.any() else ""
        of_rest = self._no_sample(served.chosen, "control transactions") if rest.any() else ""
        return of_alerts or of_rest

    def _no_sample_of_alerts(self) -> str:
        return self._no_sample(self._served.alerted, "alerts")

    def _no_sample(self, kind: _Rows, name: str) -> str:
        rows = _judged_by(self._served.verdicts, kind, self._due)
        due = " whose labels are due" if rows.sum() < kind.sum() else ""
        return no_sample(self._served.verdicts[rows], f"{name}{due}")

    def _unlabelled_cards(self, share: float) -> str:
        untold = self._cards.unlabelled(offered=False)
        if untold:
            return f"of the {self._k} first cards of each day, {untold:,} have neither an alert nor a label"
        if self._cards.unlabelled(offered=True) and (reason := self._no_sample_of_alerts()):
            return reason
        return "" if np.isfinite(share) else f"of the {self._k} first cards of a day, none is labelled"
