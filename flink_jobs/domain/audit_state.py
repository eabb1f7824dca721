"""What the continuous audit knows: which transactions there are, which were answered, and which are stored.

Answered is a transaction whose prediction or dead letter lies in the lake, stored one with a row of its own
there. It is asked about only once it is older than a lag. If it is not answered by then, it is lost, provided
that the lake has all answers that there were while it was young; else it is undecided, as its answer may be
on its way into the lake. If it is not stored, it is missing. What comes after all is none of these any more.
Offsets are kept as ranges, so the state stays small, and is written after each look.
"""

from collections.abc import Iterator, Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from flink_jobs.domain.offset_set import OffsetSet, Range, size

# Partition -> offset.
Offsets = dict[int, int]
# Of what is written; who reads another one begins anew.
STATE_VERSION = 2
_NAMED_FILES = 5


class TopicEnds(msgspec.Struct, frozen=True):
    """Where topics ended at a time.

    Attributes:
        at_s: the time, in seconds since 1970.
        ends: of the transactions.
        answers: of predictions and of dead letters, each by the name of its folder in the lake.

    """

    at_s: float
    ends: Offsets
    answers: dict[str, Offsets]


class AuditState(msgspec.Struct, kw_only=True):
    """The state; partitions are those of `transactions` unless it is said otherwise.

    Attributes:
        version: of its format.
        began_at_s: when it began.
        begin: what lies before these offsets is not asked about; 0 of partitions that came later.
        due: transactions before these ends are older than the lag.
        samples: ends that are younger, in their order.
        judged: transactions before these offsets are known to be records, or were left out.
        decided: those before these offsets are lost if they are not answered.
        answered: by partition.
        stored: by partition.
        settled_at_s: what there was then is all answered and stored.
        reached: up to where the lake has the answers, by folder and partition of their own topic.
        complete_at_s: the lake has all answers that there were then.
        read: files of the lake whose rows are counted, by folder and day.
        repeated: predictions and dead letters beyond the first of a transaction, since the beginning.
        stored_twice: rows beyond the first of a transaction, since this was accepted last.
        stored_twice_in: files with such rows, the first few.
        deleted: transactions that their topic deleted before they could be judged.

    """

    version: int = STATE_VERSION
    began_at_s: float
    begin: Offsets
    due: TopicEnds
    samples: list[TopicEnds] = []
    judged: Offsets = {}
    decided: Offsets = {}
    answered: dict[int, OffsetSet] = {}
    stored: dict[int, OffsetSet] = {}
    settled_at_s: float
    reached: dict[str, Offsets]
    complete_at_s: float
    read: dict[str, dict[str, set[str]]] = {}
    repeated: int = 0
    stored_twice: int = 0
    stored_twice_in: list[str] = []
    deleted: int = 0

    @classmethod
    def begun(cls, ends: TopicEnds, read: dict[str, dict[str, set[str]]]) -> "AuditState":
        """Begin: transactions from `ends` on are asked about.

        Args:
            ends: of the topics, the transactions' looked up after answers' and files, so that these have
                none of later ones.
            read: the files that lie in the lake, by folder and day.

        """
        return cls(
            began_at_s=ends.at_s,
            begin=ends.ends,
            due=ends,
            settled_at_s=ends.at_s,
            reached={folder: dict(reached) for folder, reached in ends.answers.items()},
            complete_at_s=ends.at_s,
            read=read,
        )

    def misfit(self, ends: Offsets) -> str:
        """Say why this state is not of the topic whose transactions end there; "" where it fits."""
        for partition, known in self._latest.ends.items():
            if ends.get(partition, 0) < known:
                return f"the transactions of partition {partition} end before {known:,}, where they ended"
        return ""

    def note_ends(self, now: TopicEnds) -> None:
        """Note where topics end; called before the lake is read."""
        self.samples.append(now)
        for folder, ends in now.answers.items():
            reached = self.reached.setdefault(folder, {})
            for partition, end in ends.items():
                # a topic of answers that was made anew begins at 0 again
                reached[partition] = min(reached.get(partition, 0), end)

    def note_answers(
        self, partitions: NDArray[np.int64], offsets: NDArray[np.int64], *, partly_known: bool
    ) -> None:
        """Note the transactions of a file's predictions or dead letters.

        Args:
            partitions: of the transactions, one for each row; -1 where a row names none.
            offsets: the same.
            partly_known: as for `note_rows`.

        """
        named = (partitions >= 0) & (offsets >= 0)
        twice = self._add(self.answered, partitions[named], offsets[named])
        self.repeated += 0 if partly_known else twice

    def note_reached(self, folder: str, partitions: NDArray[np.int64], offsets: NDArray[np.int64]) -> None:
        """Note the places of predictions or dead letters in their own topic: two arrays of equal length."""
        reached = self.reached.setdefault(folder, {})
        for partition, of_it in _by_partition(partitions, offsets):
            reached[partition] = max(reached.get(partition, 0), int(of_it.max()) + 1)

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
        """Note up to when all is there, once the lake was read."""
        known = (self.due, *self.samples)
        self.complete_at_s = max(
            [self.complete_at_s, *(each.at_s for each in known if not self._lacks(each.answers))]
        )
        for each in known:
            if self._gaps(self.stored, each.ends) or self._gaps(self.answered, each.ends):
                return
            self.settled_at_s = max(self.settled_at_s, each.at_s)

    def to_judge(self, begins: Offsets, before_s: float) -> dict[int, Range]:
        """Tell, by partition, from where to where to look whether offsets are records of transactions.

        What the topic has deleted before it could be judged is left out.

        Args:
            begins: of the transactions.
            before_s: those that were seen by then are due, in seconds since 1970.

        """
        while self.samples and self.samples[0].at_s <= before_s:
            self.due = self.samples.pop(0)
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
        """Leave out offsets that are no records, such as ends of Kafka's own transactions, and decide.

        Args:
            spans: as `to_judge` gave them.
            records: offsets of the records that were read from there on.
            read_to: all before these offsets were read.

        """
        for partition, (first, end) in spans.items():
            known = min(max(first, read_to[partition]), end)
            self._leave_out(partition, records.get(partition, OffsetSet()).gaps(first, known))
            self.judged[partition] = known
        # The answers of what is due were there, at the latest, when the first look after it began.
        if not self._lacks((self.samples[0] if self.samples else self.due).answers):
            self.decided = dict(self.judged)

    def accept(self) -> None:
        """Ask no more about what is lost, missing or repeated now."""
        for noted, found in ((self.answered, self.lost), (self.stored, self.missing)):
            for partition, gaps in found.items():
                self._of(noted, partition).add_ranges(gaps)
        self.stored_twice, self.stored_twice_in = 0, []

    @property
    def audited(self) -> int:
        """Offsets that were asked about."""
        return sum(max(end - self.begin.get(each, 0), 0) for each, end in self.judged.items())

    @property
    def lost(self) -> dict[int, list[Range]]:
        """Transactions older than the lag without prediction and dead letter, by partition."""
        return self._gaps(self.answered, self.decided)

    @property
    def undecided(self) -> dict[int, list[Range]]:
        """Transactions older than the lag whose answers the lake may lack only, by partition."""
        return self._gaps(self.answered, self.judged, self.begin | self.decided)

    @property
    def missing(self) -> dict[int, list[Range]]:
        """Transactions older than the lag that are not in the lake, by partition."""
        return self._gaps(self.stored, self.judged)

    @property
    def behind(self) -> int:
        """Predictions and dead letters that their topics had at the last look, and the lake has not."""
        return self._lacks(self._latest.answers)

    @property
    def _latest(self) -> TopicEnds:
        return self.samples[-1] if self.samples else self.due

    def _lacks(self, answers: Mapping[str, Offsets]) -> int:
        """Count answers before these ends that come after those in the lake."""
        return sum(
            max(end - self.reached.get(folder, {}).get(partition, 0), 0)
            for folder, ends in answers.items()
            for partition, end in ends.items()
        )

    def _judged(self, partition: int) -> int:
        return self.judged.get(partition, self.begin.get(partition, 0))

    def _leave_out(self, partition: int, ranges: list[Range]) -> None:
        for noted in (self.answered, self.stored):
            self._of(noted, partition).add_ranges(each for each in ranges if each[0] < each[1])

    def _gaps(
        self, noted: dict[int, OffsetSet], ends: Offsets, firsts: Offsets | None = None
    ) -> dict[int, list[Range]]:
        firsts = self.begin if firsts is None else firsts
        found = {
            partition: self._of(noted, partition).gaps(firsts.get(partition, 0), end)
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
