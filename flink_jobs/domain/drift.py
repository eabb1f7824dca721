"""How far the scored transactions have moved from those that the model was tested on.

The measure is the population stability index (PSI): over the bins of a distribution, the sum of
(share now - share then) * ln(share now / share then). `reading` says what a PSI means.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

# The score's name among those of the features.
SCORE = "score"
BINS = 10
# An empty bin counts as one in ten thousand, or its logarithm would be infinite.
SMALLEST_SHARE = 1e-4
SOME, LARGE = 0.1, 0.25
# By chance alone, PSI comes to about (bins - 1) / transactions: 0.02 here.
FEWEST_TRANSACTIONS = 500
# Live counts are halved at twice this number, so that the past fades.
WINDOW_TRANSACTIONS = 50_000
# One live batch in four is counted, at random: every fourth might always be of the same shard.
SAMPLED_SHARE = 0.25

_EITHER_SIDE = np.array([-np.inf, np.inf], dtype=np.float32)
_COUNTED_AT_ONCE = 1024


class Distribution(msgspec.Struct, frozen=True):
    """Shares of values in bins.

    Attributes:
        edges: ascending; a bin holds the values from one edge on to below the next; the first bin has no
            lower edge, the last no upper one.
        shares: one more than edges; their sum is 1.

    """

    edges: list[float]
    shares: list[float]


def distribution(values: NDArray[Any], more_edges: Sequence[float] = ()) -> Distribution:
    """Find bins that hold about equally many values, and the share that each holds.

    If there are few distinct values, each has a bin of its own. A frequent value has one too; the other bins
    divide the rest: most terminals have no fraud, and the others matter.

    Args:
        values: [transactions]
        more_edges: added to the edges.

    """
    distinct, counts = np.unique(values.astype(np.float64), return_counts=True)
    starts = np.arange(1, len(distinct))
    if len(distinct) == 1:
        # an edge on either side tells other values from the only one
        more_edges = [*more_edges, *np.nextafter(distinct.astype(np.float32), _EITHER_SIDE)]
    if len(distinct) > BINS:
        frequent = counts >= len(values) / BINS
        others = np.cumsum(np.where(frequent, 0, counts))
        starts = np.searchsorted(others, others[-1] * np.arange(1, BINS) / BINS) + 1
        alone = np.flatnonzero(frequent)
        starts = np.union1d(starts, np.union1d(alone, alone + 1))
        starts = starts[(starts > 0) & (starts < len(distinct))]
    # edges lie between two values, so that rounding moves no value across
    middles = [float(f"{middle:.6g}") for middle in (distinct[starts - 1] + distinct[starts]) / 2]
    edges = np.union1d(middles, np.asarray(more_edges, dtype=np.float64))
    # as float32, like DriftCounts
    above = np.searchsorted(edges.astype(np.float32), values.astype(np.float32), side="right")
    bins = np.bincount(above, minlength=len(edges) + 1)
    return Distribution(edges.tolist(), np.round(bins / len(values), 6).tolist())


def stability_index(then: Sequence[float], now: Sequence[float]) -> float:
    """PSI between the shares of the same bins; 0 where they are the same."""
    before, after = (np.maximum(shares, SMALLEST_SHARE) for shares in (then, now))
    return float(np.sum((after - before) * np.log(after / before)))


def reading(index: float) -> str:
    """Say what a PSI means: "none", "some" or "large" change.

    The limits are those of practice (B. Yurdakul and J. Naranjo, "Statistical properties of the population
    stability index", 2020, discuss them); no test of significance stands behind them.
    """
    if index < SOME:
        return "none"
    return "some" if index <= LARGE else "large"


class DriftCounts:
    """Counts scored transactions, or a sample of them, in the bins that a model was published with.

    Attributes:
        then: the model's published distributions: of its features, in order, and of SCORE.

    """

    def __init__(
        self,
        then: Mapping[str, Distribution],
        window: int | None = WINDOW_TRANSACTIONS,
        sampled_share: float = SAMPLED_SHARE,
    ) -> None:
        """Begin with nothing.

        Args:
            then: see the attribute.
            window: all counts are halved at twice as many transactions; None: never.
            sampled_share: the share of batches that is counted; 1: all.

        """
        self.then = then
        self._counted = 0.0
        self._window = window
        self._sampled_share = sampled_share
        most = max(len(each.edges) for each in then.values())
        # rows with fewer edges end with infinity, which no value reaches
        self._edges = np.array(
            [each.edges + [np.inf] * (most - len(each.edges)) for each in then.values()], dtype=np.float32
        )
        self._above = np.zeros(self._edges.shape)
        self._waiting: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
        self._rows_waiting = 0

    @property
    def transactions(self) -> float:
        """How many were counted; with a window, the past counts less and less."""
        return self._counted + self._rows_waiting

    def add(self, matrix: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
        """Count a batch if it is drawn, now or together with later ones: many rows at once cost less.

        Args:
            matrix: [transactions, features] in the order of `then`.
            scores: [transactions]

        """
        if random.random() >= self._sampled_share:  # noqa: S311 - nobody gains by foreseeing it
            return
        self._waiting.append((matrix, scores))
        self._rows_waiting += len(scores)
        if self._rows_waiting >= _COUNTED_AT_ONCE:
            self._count()

    def share_from(self, name: str, edge: float) -> tuple[float, float]:
        """Give the share of values from one of the edges on, then and now."""
        first = 1 + self.then[name].edges.index(edge)
        return sum(self.then[name].shares[first:]), sum(self.shares()[name][first:])

    def moved(self, name: str) -> tuple[float | None, float | None, float, float]:
        """Give the bin whose share changed most: from, to (None: open), share then, share now."""
        then, now = self.then[name].shares, self.shares()[name]
        number = int(np.argmax(np.abs(np.subtract(now, then))))
        edges = [None, *self.then[name].edges, None]
        return edges[number], edges[number + 1], then[number], now[number]

    def shares(self) -> dict[str, list[float]]:
        """Give the shares of the bins now, by name."""
        self._count()
        total = max(self._counted, 1.0)
        found = {}
        for (name, each), above in zip(self.then.items(), self._above, strict=True):
            reached = np.concatenate(([total], above[: len(each.edges)], [0.0]))
            found[name] = (-np.diff(reached) / total).tolist()
        return found

    def indexes(self) -> dict[str, float]:
        """Give the PSI of each feature and of the score, by name."""
        now = self.shares()
        return {name: stability_index(each.shares, now[name]) for name, each in self.then.items()}

    def _count(self) -> None:
        if not self._waiting:
            return
        matrices, scores = zip(*self._waiting, strict=True)
        rows = np.column_stack([np.concatenate(matrices), np.concatenate(scores)])
        # comparing along the memory's order takes half the time
        columns = np.ascontiguousarray(rows.T)
        self._above += np.count_nonzero(columns[:, None, :] >= self._edges[:, :, None], axis=2)
        self._counted += self._rows_waiting
        self._waiting, self._rows_waiting = [], 0
        if self._window is not None and self._counted >= 2 * self._window:
            self._above /= 2
            self._counted /= 2
