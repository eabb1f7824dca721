"""What the continuous audit knows: which transactions there are, which were answered, and which are stored.

Answered is a transaction with a prediction or a dead letter, stored one with a row in the lake. It is asked
about only once it is older than a lag; from then on it is lost, or missing from the lake, until it comes
after all. Offsets are kept as ranges, so the state stays small, and is written after each look.
"""

from collections.abc import Iterator, Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from flink_jobs.domain.offset_set import OffsetSet, Range, size

# Partition -> offset.
Offsets = dict[int, int]
_NAMED_FILES = 5


class TopicEnds(msgspec.Struct, frozen=True):
    """Where the topic ended at a time, in seconds since 1970."""

    at_s: float
    ends: Offsets


class AuditState(msgspec.Struct, kw_only=True):
    """The state; partitions are those of `transactions` unless it is said otherwise.

    Attributes:
        began_at_s: when it began.
        begin: what lies before these offsets is not asked about; 0 of partitions that came later.
        due: transactions before these ends are older than the lag.
        samples: ends that are younger, in their order.
        judged: transactions before these offsets are known to be records, or were left out.
        answered: by partition.
        stored: by partition.
        settled_at_s: what there was then is all stored.
        positions: of the topics that answer, by name: the next offset to read of each of their partitions.
        read: files of the lake whose rows are counted, by day.
        repeated: predictions and dead letters beyond the first of a transaction, since the beginning.
        stored_twice: rows beyond the first of a transaction, since this was accepted last.
        stored_twice_in: files with such rows, the first few.
        deleted: transactions that their topic deleted before they could be judged.

    """

    began_at_s: float
    begin: Offsets
    due: TopicEnds
    samples: list[TopicEnds] = []
    judged: Offsets = {}
    answered: dict[int, OffsetSet] = {}
    stored: dict[int, OffsetSet] = {}
    settled_at_s: float
    positions: dict[str, Offsets]
    read: dict[str, set[str]] = {}
    repeated: int = 0
    stored_twice: int = 0
    stored_twice_in: list[str] = []
    deleted: int = 0

    @classmethod
    def begun(
        cls, at_s: float, ends: Offsets, positions: dict[str, Offsets], read: dict[str, set[str]]
    ) -> "AuditState":
        """Begin: transactions from `ends` on are asked about.

        Args:
            at_s: the time.
            ends: of the transactions; looked up after the two below, so that these have none of later ones.
            positions: where the topics that answer end.
            read: the files that lie in the lake.

        """
        return cls(
            began_at_s=at_s,
            begin=ends,
            due=TopicEnds(at_s, ends),
            settled_at_s=at_s,
            positions=positions,
            read=read,
        )

    def misfit(
        self, ends: Offsets, answers_begin: Mapping[str, Offsets], answers_end: Mapping[str, Offsets]
    ) -> str:
        """Say why this state is not of these topics, or lacks a part of them; "" where it fits.

        Args:
            ends: of the transactions.
            answers_begin: of the topics that answer, by name.
            answers_end: the same.

        """
        for partition, known in (self.samples[-1] if self.samples else self.due).ends.items():
            if ends.get(partition, 0) < known:
                return f"the transactions of partition {partition} end before {known:,}, where they ended"
        if self.positions.keys() != answers_end.keys():
            return f"other topics answer now: {', '.join(answers_end)}"
        for topic, positions in self.positions.items():
            for partition, position in positions.items():
                if answers_end[topic].get(partition, 0) < position:
                    return f"{topic}-{partition} ends before {position:,}, up to where it was read"
                if (begin := answers_begin[topic].get(partition, 0)) > position:
                    return f"{topic}-{partition} was deleted up to {begin:,}, and read up to {position:,}"
        return ""

    def note_ends(self, ends: Offsets, at_s: float, lag_s: float) -> None:
        """Note where the transactions end now, and what is older than the lag by now."""
        self.samples.append(TopicEnds(at_s, ends))
        while self.samples[0].at_s <= at_s - lag_s:
            self.due = self.samples.pop(0)

    def note_answers(self, partitions: NDArray[np.int64], offsets: NDArray[np.int64]) -> None:
        """Note transactions that have a prediction or a dead letter: two arrays of equal length."""
        self.repeated += self._add(self.answered, partitions, offsets)

    def note_rows(
        self, file: str, partitions: NDArray[np.int64], offsets: NDArray[np.int64], *, partly_known: bool
    ) -> None:
        """Note the rows of a file of the lake: two arrays of equal length.

        Args:
            file: its name.
            partitions: of the rows.
            offsets: of the rows.
            partly_known: it was merged of files some of which were noted: its rows repeat theirs.

        """
        twice = self._add(self.stored, partitions, offsets)
        if twice and not partly_known:
            self.stored_twice += twice
            if len(self.stored_twice_in) < _NAMED_FILES:
                self.stored_twice_in.append(file)

    def note_settled(self) -> None:
        """Note up to when all is stored, once the lake was read."""
        for sample in (self.due, *self.samples):
            if self._gaps(self.stored, sample.ends):
                return
            self.settled_at_s = max(self.settled_at_s, sample.at_s)

    def to_judge(self, begins: Offsets) -> dict[int, Range]:
        """Tell, by partition, from where to where to look whether offsets are records of transactions.

        What the topic has deleted before it could be judged is left out.

        Args:
            begins: of the transactions.

        """
        spans = {}
        for partition, end in self.due.ends.items():
            first = self._judged(partition)
            kept = min(max(begins.get(partition, 0), first), end)
            self.deleted += size(self._of(self.answered, partition).gaps(first, kept))
            self._leave_out(partition, [(first, kept)])
            gaps = [
                gap
                for noted in (self.answered, self.stored)
                for gap in self._of(noted, partition).gaps(kept, end)
            ]
            if gaps:
                spans[partition] = (min(gaps)[0], max(gap[1] for gap in gaps))
            else:
                self.judged[partition] = end
        return spans

    def judge(self, spans: Mapping[int, Range], records: Mapping[int, OffsetSet], read_to: Offsets) -> None:
        """Leave out offsets that are no records, such as ends of Kafka's own transactions.

        Args:
            spans: as `to_judge` gave them.
            records: offsets of the records that were read from there on.
            read_to: all before these offsets were read.

        """
        for partition, (first, end) in spans.items():
            known = min(max(first, read_to[partition]), end)
            self._leave_out(partition, records.get(partition, OffsetSet()).gaps(first, known))
            self.judged[partition] = known

    def accept(self) -> None:
        """Ask no more about what is lost, missing or repeated now."""
        for noted in (self.answered, self.stored):
            for partition, gaps in self._gaps(noted, self.judged).items():
                self._of(noted, partition).add_ranges(gaps)
        self.stored_twice, self.stored_twice_in = 0, []

    @property
    def audited(self) -> int:
        """Offsets that were asked about."""
        return sum(max(end - self.begin.get(each, 0), 0) for each, end in self.judged.items())

    @property
    def lost(self) -> dict[int, list[Range]]:
        """Transactions older than the lag without prediction and dead letter, by partition."""
        return self._gaps(self.answered, self.judged)

    @property
    def missing(self) -> dict[int, list[Range]]:
        """Transactions older than the lag that are not in the lake, by partition."""
        return self._gaps(self.stored, self.judged)

    def _judged(self, partition: int) -> int:
        return self.judged.get(partition, self.begin.get(partition, 0))

    def _leave_out(self, partition: int, ranges: list[Range]) -> None:
        for noted in (self.answered, self.stored):
            self._of(noted, partition).add_ranges(each for each in ranges if each[0] < each[1])

    def _gaps(self, noted: dict[int, OffsetSet], ends: Offsets) -> dict[int, list[Range]]:
        found = {
            partition: self._of(noted, partition).gaps(self.begin.get(partition, 0), end)
            for partition, end in ends.items()
        }
        return {partition: gaps for partition, gaps in found.items() if gaps}

    def _add(
        self, noted: dict[int, OffsetSet], partitions: NDArray[np.int64], offsets: NDArray[np.int64]
    ) -> int:
        return sum(
            self._of(noted, partition).add(of_it[of_it >= self.begin.get(partition, 0)])
            for partition, of_it in _by_partition(partitions, offsets)
        )

    @staticmethod
    def _of(noted: dict[int, OffsetSet], partition: int) -> OffsetSet:
        return noted.setdefault(partition, OffsetSet())


def _by_partition(
    partitions: NDArray[np.int64], offsets: NDArray[np.int64]
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    for partition in np.unique(partitions).tolist():
        yield partition, offsets[partitions == partition].astype(np.int64)
