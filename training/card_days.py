"""CardPrecision@k where not every card's label is known."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# In a draw some cards count not at all, and cards that were found are left out on later days.
_DAYS_AHEAD = 4


class _Day(NamedTuple):
    """The cards of a day, the highest score first.

    Attributes:
        rows: of each card, the row with its highest score.
        cards: their numbers.
        verdicts: 1 defrauded that day, 0 honest, -1 unknown.
        offered: whether that row was an alert, so that somebody was to label it.

    """

    rows: NDArray[np.int64]
    cards: NDArray[np.int64]
    verdicts: NDArray[np.int8]
    offered: NDArray[np.bool_]


class CardDays:
    """The most suspicious cards of each day.

    A card is defrauded if a payment of that day is labelled as fraud, and honest if the payment with its
    highest score is labelled as honest. A card that was found is blocked, and left out on later days.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - columns of a table
        self,
        days: NDArray[np.int32],
        cards: NDArray[np.int64],
        scores: NDArray[np.float64],
        verdicts: NDArray[np.int8],
        offered: NDArray[np.bool_],
        k: int,
    ) -> None:
        """Take rows: day, card, score, verdict (-1: unknown), and whether it was an alert; and how many."""
        self._k = k
        self._cards = int(cards.max()) + 1 if len(cards) else 0
        order = np.lexsort((-scores, cards, days))
        begins = np.flatnonzero(
            np.append([True], (np.diff(days[order]) != 0) | (np.diff(cards[order]) != 0))[: len(order)]
        )
        tops = order[begins]
        fraud = np.maximum.reduceat(verdicts[order], begins) == 1 if len(begins) else np.array([], np.bool_)
        found = np.where(fraud, 1, verdicts[tops]).astype(np.int8)
        self._days: list[_Day] = []
        for number, day in enumerate(np.unique(days)):
            of_day = np.flatnonzero(days[tops] == day)
            of_day = of_day[np.argsort(-scores[tops[of_day]], kind="stable")][: k * (number + _DAYS_AHEAD)]
            rows = tops[of_day]
            self._days.append(_Day(rows, cards[rows].astype(np.int64), found[of_day], offered[rows]))

    @property
    def rows(self) -> NDArray[np.int64]:
        """Rows that the figure goes by."""
        found: NDArray[np.int64] = np.unique(
            np.concatenate([np.array([], np.int64), *(day.rows for day in self._days)])
        )
        return found

    def unlabelled(self, *, offered: bool) -> int:
        """Count cards among the k of a day whose payment nobody labelled, alerts (offered) or others."""
        found = 0
        for day, _, counts in self._walk(None):
            found += int(((counts > 0) & (day.verdicts < 0) & (day.offered == offered)).sum())
        return found

    def precision(self, times: NDArray[np.float64] | None = None) -> float:
        """Give the share, the mean of the days; NaN where no card of a day is known.

        Args:
            times: [cards], how often each counts; None: once.

        """
        shares = []
        for day, taken, counts in self._walk(times):
            known = counts * (day.verdicts >= 0)
            hits = float((counts * (day.verdicts == 1)).sum())
            shares.append(hits / known.sum() * taken / self._k if known.sum() else np.nan)
        return float(np.mean(shares)) if shares else float("nan")

    def _walk(self, times: NDArray[np.float64] | None) -> Iterator[tuple[_Day, float, NDArray[np.float64]]]:
        """Give each day, how many cards of it count, and how often each card does."""
        blocked = np.zeros(self._cards, np.bool_)
        for day in self._days:
            each = np.ones(len(day.cards)) if times is None else times[day.cards]
            each = np.where(blocked[day.cards], 0.0, each)
            before = np.cumsum(each) - each
            counts = np.clip(self._k - before, 0.0, each)
            blocked[day.cards[(counts > 0) & (day.verdicts == 1)]] = True
            yield day, float(counts.sum()), counts
