"""Dark time and lag, from when records were acknowledged and when their predictions came."""

import math
from bisect import bisect_left
from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import NamedTuple, TypeVar

# partition and offset of a transaction
Place = tuple[int, int]
# whatever tells a record from the others
Record = TypeVar("Record")
# A prediction that comes later than this after its acknowledgement belongs to a lag: a window and a poll take
# tenths of it, a checkpoint on two busy cores a second.
LATE_S = 3.0


class Span(NamedTuple):
    """A time of a row, in seconds since 1970."""

    begin_s: float
    end_s: float

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end_s - self.begin_s


def owed(
    acknowledged_s: Mapping[Record, float], predicted_s: Mapping[Record, float], since_s: float
) -> list[float]:
    """Give when predictions were owed: at each acknowledgement, and at `since_s` if a record waited then.

    Args:
        acknowledged_s: when Kafka confirmed each record.
        predicted_s: when the first prediction of each came, if it did.
        since_s: the begin of what is watched; a record that was confirmed before it waits if it gets its
            prediction over LATE_S after it, or never.

    """
    waited = any(
        at < since_s and predicted_s.get(record, math.inf) > since_s + LATE_S
        for record, at in acknowledged_s.items()
    )
    return [*acknowledged_s.values(), *([since_s] if waited else [])]


def dark(owed_s: Collection[float], predicted_s: Collection[float], since_s: float, until_s: float) -> Span:
    """Find the longest time without a prediction while one was owed.

    A darkness begins with the first acknowledgement after the last prediction: a system that takes no record
    owes none. It ends with the next prediction, whichever record that is of.

    Args:
        owed_s: as from `owed`.
        predicted_s: when the first prediction of each record came.
        since_s: what came before does not count.
        until_s: the end of what was watched; a darkness that lasts until then is told as that long.

    Returns:
        The longest; of no length where there was none.

    """
    asked = sorted(owed_s)
    lights = [since_s, *sorted(at for at in predicted_s if since_s < at < until_s), until_s]
    longest = Span(since_s, since_s)
    for last_s, next_s in pairwise(lights):
        first = bisect_left(asked, last_s)
        if first < len(asked) and asked[first] < next_s:
            found = Span(asked[first], next_s)
            longest = max(longest, found, key=lambda span: span.seconds)
    return longest


def lag(
    acknowledged_s: Mapping[Record, float],
    predicted_s: Mapping[Record, float],
    since_s: float,
    until_s: float,
) -> Span:
    """Find the longest time for which acknowledged records waited for a prediction, one after another.

    Args:
        acknowledged_s: when Kafka confirmed each record.
        predicted_s: when the first prediction of each came; a record without one waits until `until_s`.
        since_s: what was over before does not count.
        until_s: the end of what was watched.

    Returns:
        From when the first of these records was acknowledged, or `since_s`, until the last had its
        prediction; of no length where none waited for over LATE_S.

    """
    waits = sorted(
        Span(max(at, since_s), predicted_s.get(record, until_s))
        for record, at in acknowledged_s.items()
        if predicted_s.get(record, until_s) > max(at + LATE_S, since_s)
    )
    longest = Span(since_s, since_s)
    current: Span | None = None
    for wait in waits:
        joined = current is not None and wait.begin_s <= current.end_s
        current = Span(current.begin_s, max(current.end_s, wait.end_s)) if joined and current else wait
        longest = max(longest, current, key=lambda span: span.seconds)
    return longest
