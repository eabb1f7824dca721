"""A set of offsets of one partition, as ranges: what came in order takes one range, however much it is."""

from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

# First offset, and the one after the last.
Range = tuple[int, int]


class OffsetSet(msgspec.Struct):
    """The set.

    Attributes:
        ranges: ascending; between two of them lies an offset that is not in the set.

    """

    ranges: list[Range] = []

    def __len__(self) -> int:
        return size(self.ranges)

    def add(self, offsets: NDArray[np.int64]) -> int:
        """Add offsets, in any order; return how many of them were in the set already, or come twice here."""
        if not len(offsets):
            return 0
        before = len(self)
        distinct = np.unique(offsets)
        ends = np.flatnonzero(np.diff(distinct) > 1)
        firsts, lasts = distinct[np.r_[0, ends + 1]], distinct[np.r_[ends, len(distinct) - 1]]
        self.add_ranges(zip(firsts.tolist(), (lasts + 1).tolist(), strict=True))
        return len(offsets) - (len(self) - before)

    def add_ranges(self, ranges: Iterable[Range]) -> None:
        """Add all offsets of ranges, which may overlap."""
        merged: list[Range] = []
        for first, end in sorted([*self.ranges, *ranges]):
            if merged and first <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((first, end))
        self.ranges = merged

    def gaps(self, first: int, end: int) -> list[Range]:
        """List what is not in the set, of the offsets from `first` to the one before `end`."""
        found = []
        for begins, ends in self.ranges:
            if begins >= end:
                break
            if begins > first:
                found.append((first, begins))
            first = max(first, ends)
        return [*found, (first, end)] if first < end else found


def size(ranges: Iterable[Range]) -> int:
    """Count the offsets of ranges that do not overlap."""
    return sum(end - first for first, end in ranges)
