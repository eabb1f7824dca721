"""One look of the continuous audit: at where topics end, and at the files that came into the lake."""

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from kafka import TopicPartition
from numpy.typing import NDArray

from clients.kafka_clients import partitions_of
from clients.process import ClientError
from flink_jobs.domain.audit_state import AuditState, Offsets, TopicEnds
from flink_jobs.domain.offset_set import OffsetSet
from flink_jobs.store.kafka_servers import answered
from flink_jobs.store.lake import (
    DEAD_LETTERS_FOLDER,
    PREDICTIONS_FOLDER,
    TRANSACTIONS_FOLDER,
    LakeError,
    days_touched,
    folders_of,
)
from flink_jobs.store.lake_arrivals import ANSWER_COLUMNS, NoteRows, names_of_days, read_arrivals
from flink_jobs.store.lake_files import PLACE_COLUMNS, LakeFiles
from flink_jobs.store.settings import Settings

AUDITED_FOLDERS = (TRANSACTIONS_FOLDER, PREDICTIONS_FOLDER, DEAD_LETTERS_FOLDER)
_READ_TIMEOUT_S = 60.0
# The clocks of hosts may differ, and a prediction is sent up to two minutes after the time that it bears.
_CLOCK_SLACK = timedelta(minutes=5)


class Looked(NamedTuple):
    """What a look gave: the state after it, and what it read.

    Attributes:
        answers: predictions and dead letters that were read.
        rows: transactions that were read.
        begun_anew: why the audit began anew; "" where it went on, or began for the first time.
        lake_unread: why the lake could not be read; "" where it was.

    """

    state: AuditState
    answers: int
    rows: int
    begun_anew: str
    lake_unread: str


class Look:
    """One look at topics and lake."""

    def __init__(
        self,
        consumer: Any,  # noqa: ANN401 - kafka-python ships no types
        settings: Settings,
        lake: Mapping[str, LakeFiles],
        now_s: float,
    ) -> None:
        """Take where to look.

        Args:
            consumer: of Kafka.
            settings: name the topics.
            lake: the files of AUDITED_FOLDERS.
            now_s: the time, in seconds since 1970.

        """
        self._consumer = consumer
        self._settings = settings
        self._topics = {folder: topic for topic, folder in folders_of(settings.topics).items()}
        self._lake = lake
        self._now_s = now_s
        self._answers = self._rows = 0

    def run(self, state: AuditState | None, lag_s: float) -> Looked:
        """Go on from a state, or begin where there is none, or none that fits.

        Raises:
            ClientError: a topic is not there, or Kafka does not give what it has.
            LakeError: the audit begins, and the lake cannot be read.

        """
        answers = {
            each: self._offsets(each, "end_offsets") for each in (PREDICTIONS_FOLDER, DEAD_LETTERS_FOLDER)
        }
        ends = self._transactions_at("end_offsets")
        why = state.misfit(ends) if state else ""
        if state is None or why:
            days = self._days(self._now_s)
            read = {folder: names_of_days(files, days) for folder, files in self._lake.items()}
            # transactions last: of those that come from then on, nothing is in the topics and the lake yet
            ends = self._transactions_at("end_offsets")
            return Looked(AuditState.begun(TopicEnds(self._now_s, ends, answers), read), 0, 0, why, "")
        state.note_ends(TopicEnds(self._now_s, ends, answers))
        lake_unread = self._read_lake(state)
        if not lake_unread:
            spans = state.to_judge(self._transactions_at("beginning_offsets"), self._now_s - lag_s)
            state.judge(spans, *self._read_transactions(spans))
        return Looked(state, self._answers, self._rows, "", lake_unread)

    def _transactions_at(self, find: str) -> Offsets:
        return self._offsets(TRANSACTIONS_FOLDER, find)

    def _offsets(self, folder: str, find: str) -> Offsets:
        """Give offsets of a folder's topic by partition, as the consumer's method of that name finds them."""
        topic = self._topics[folder]
        partitions = partitions_of(self._consumer, self._settings.kafka, [topic])
        found = answered(lambda: getattr(self._consumer, find)(partitions))
        return {each.partition: at for each, at in found.items()}

    def _days(self, since_s: float) -> list[str]:
        since, now = (datetime.fromtimestamp(each, UTC) for each in (since_s, self._now_s))
        return days_touched(since - _CLOCK_SLACK, now + _CLOCK_SLACK)

    def _read_lake(self, state: AuditState) -> str:
        """Read the files that came; say why that did not work, or "" where it did."""
        days = self._days(state.settled_at_s)
        try:
            for folder, files in self._lake.items():
                read = state.read.setdefault(folder, {})
                if folder == TRANSACTIONS_FOLDER:
                    read_arrivals(files, days, PLACE_COLUMNS, read, self._note_rows(state))
                else:
                    read_arrivals(files, days, ANSWER_COLUMNS, read, self._note_answers(state, folder))
        except LakeError as error:
            return str(error)
        state.note_settled()
        state.read = {
            folder: {day: names for day, names in read.items() if day in days}
            for folder, read in state.read.items()
        }
        return ""

    def _note_rows(self, state: AuditState) -> NoteRows:
        def note(file: str, *columns: NDArray[np.int64], partly_known: bool) -> None:
            partitions, offsets = columns
            self._rows += len(offsets)
            state.note_rows(file, partitions, offsets, partly_known=partly_known)

        return note

    def _note_answers(self, state: AuditState, folder: str) -> NoteRows:
        def note(_: str, *columns: NDArray[np.int64], partly_known: bool) -> None:
            partitions, offsets, own_partitions, own_offsets = columns
            self._answers += len(offsets)
            state.note_answers(partitions, offsets, partly_known=partly_known)
            state.note_reached(folder, own_partitions, own_offsets)

        return note

    def _read_transactions(self, spans: dict[int, tuple[int, int]]) -> tuple[dict[int, OffsetSet], Offsets]:
        """Give the offsets of the records in spans, and up to where these were read."""
        found: dict[int, OffsetSet] = {partition: OffsetSet() for partition in spans}
        topic = self._topics[TRANSACTIONS_FOLDER]
        at = {TopicPartition(topic, each): span for each, span in spans.items()}
        for records in self._read(at):
            found[records[0].partition].add(np.array([record.offset for record in records], dtype=np.int64))
        return found, {each.partition: self._consumer.position(each) for each in at}

    def _read(self, spans: dict[TopicPartition, tuple[int, int]]) -> Iterator[list[Any]]:
        """Give the records of spans, those of a partition some at a time, and some more after the ends."""
        open_spans = {each: span for each, span in spans.items() if span[0] < span[1]}
        if not open_spans:
            return
        self._consumer.assign(list(open_spans))
        for each, (first, _) in open_spans.items():
            self._consumer.seek(each, first)
        quiet_since = time.monotonic()
        while any(self._consumer.position(each) < end for each, (_, end) in open_spans.items()):
            batches = self._consumer.poll(timeout_ms=500, max_records=20_000)
            if batches:
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > _READ_TIMEOUT_S:
                behind = next(e for e, (_, end) in open_spans.items() if self._consumer.position(e) < end)
                raise ClientError(
                    f"Kafka gave nothing of {behind.topic}-{behind.partition} for {_READ_TIMEOUT_S:g} s; "
                    "`kafka-health` on its hosts says what is amiss"
                )
            for each, records in batches.items():
                end = open_spans[each][1]
                if kept := [record for record in records if record.offset < end]:
                    yield kept
