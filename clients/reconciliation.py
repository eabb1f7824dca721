"""Compares a run's results with the records sent, one by one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

OffsetRanges = dict[int, tuple[int, int]]


class OffsetCounts:
    """Counts how often each record of a run was met; a record is a partition and an offset.

    Attributes:
        met: all meetings with records of the run.
        distinct: records met at least once.

    """

    def __init__(self, ranges: OffsetRanges) -> None:
        self._first = {partition: first for partition, (first, _) in ranges.items()}
        self._counts = {
            partition: np.zeros(end - first, dtype=np.uint32) for partition, (first, end) in ranges.items()
        }
        self.met = 0
        self.distinct = 0

    def add(self, partition: int, offset: int) -> bool:
        """Count one meeting; False if the record is not of the run."""
        counts = self._counts.get(partition)
        if counts is None or not 0 <= (place := offset - self._first[partition]) < len(counts):
            return False
        self.met += 1
        self.distinct += int(counts[place] == 0)
        counts[place] += 1
        return True

    def add_all(self, partitions: NDArray[Any], offsets: NDArray[Any]) -> None:
        """Count many meetings: two arrays of equal length."""
        for partition, counts in self._counts.items():
            places = offsets[partitions == partition].astype(np.int64) - self._first[partition]
            inside = places[(places >= 0) & (places < len(counts))]
            before = np.count_nonzero(counts)
            np.add.at(counts, inside, 1)
            self.met += len(inside)
            self.distinct += int(np.count_nonzero(counts) - before)

    @property
    def repeated(self) -> int:
        """Meetings beyond the first of a record."""
        return self.met - self.distinct

    def missing_from_both(self, other: "OffsetCounts") -> dict[int, NDArray[np.int64]]:
        """By partition, offsets of the records met neither here nor in `other`, which is of the same run."""
        return {
            partition: np.flatnonzero(~(counts.astype(bool) | other._counts[partition].astype(bool)))  # noqa: SLF001 - same class
            + self._first[partition]
            for partition, counts in self._counts.items()
        }


def total(ranges: OffsetRanges) -> int:
    """Count the records of a run."""
    return sum(end - first for first, end in ranges.values())
