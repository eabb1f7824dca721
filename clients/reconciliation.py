"""Holds what came out of a run against what went in, record by record."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

OffsetRanges = dict[int, tuple[int, int]]


class OffsetCounts:
    """How often each record of a run was met; a record is a partition and an offset.

    Attributes:
        met: all meetings within the ranges.
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
        """Count one meeting; False where the record is none of the run's."""
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
        """Offsets by partition of the records met neither here nor in `other`, which has the same ranges."""
        return {
            partition: np.flatnonzero(~(counts.astype(bool) | other._counts[partition].astype(bool)))  # noqa: SLF001 - same class
            + self._first[partition]
            for partition, counts in self._counts.items()
        }


def total(ranges: OffsetRanges) -> int:
    """Count the records of a run."""
    return sum(end - first for first, end in ranges.values())
