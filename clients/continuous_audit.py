"""The continuous audit: a look at what came since the last one, with a state that is kept on disk."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from kafka import TopicPartition

from clients.continuous_report import ContinuousReport, metrics
from clients.kafka_clients import make_consumer, partitions_of
from clients.process import ClientError, write_file
from clients.run_outcome import Coordinates
from flink_jobs.domain.audit_state import AuditState, Offsets
from flink_jobs.domain.json_errors import NOT_THE_JSON
from flink_jobs.domain.offset_set import OffsetSet, size
from flink_jobs.store.folders import BucketFolder
from flink_jobs.store.lake import TRANSACTIONS_FOLDER, LakeError, days_touched
from flink_jobs.store.lake_arrivals import names_of_days, read_arrivals
from flink_jobs.store.lake_files import LakeFiles
from flink_jobs.store.object_store import s3_client
from flink_jobs.store.settings import S3, Settings, Topics

STATE_FILE = "state.json"
BROKEN_STATE_FILE = "state.broken"
REPORT_FILE = "audit.json"
METRICS_FILE = "audit.prom"
# A run begins each minute.
STALE_AFTER = timedelta(minutes=5)
_READ_TIMEOUT_S = 60.0
# The clocks of this host, of brokers and of MinIO may differ by so much.
_CLOCK_SLACK = timedelta(minutes=5)
_NAMED = 5

_decode = msgspec.json.Decoder(Coordinates).decode


def look(settings: Settings, folder: Path, lag_s: float) -> ContinuousReport:
    """Audit what came since the last run with this folder; state and result are written there.

    Raises:
        ClientError: Kafka cannot be reached, or the folder not be written.
        LakeError: MinIO cannot be reached, and there is no state yet.

    """
    state, broken = read_state(folder)
    client = s3_client(_own_access(settings.s3))
    requests = 0

    def count(**_: Any) -> None:  # noqa: ANN401 - boto3's own arguments
        nonlocal requests
        requests += 1

    client.meta.events.register("before-send.s3", count)
    lake = LakeFiles(BucketFolder(client, settings.buckets.datalake, TRANSACTIONS_FOLDER))
    consumer = make_consumer(settings.kafka, group_id=None, enable_auto_commit=False)
    try:
        looked = Look(consumer, settings, lake, time.time()).run(state, lag_s)
    finally:
        consumer.close()
    if broken:
        looked = looked._replace(begun_anew=broken)
        write_file(folder / BROKEN_STATE_FILE, (folder / STATE_FILE).read_bytes())
    report = report_of(looked, lake_requests=requests)
    write_file(folder / STATE_FILE, msgspec.json.encode(looked.state))
    write_file(folder / METRICS_FILE, metrics(report).encode())
    write_file(folder / REPORT_FILE, msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    return report


def last_report(folder: Path) -> ContinuousReport:
    """Read what the last run found.

    Raises:
        ClientError: no run has ended yet.

    """
    path = folder / REPORT_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=ContinuousReport)
    except OSError as error:
        raise ClientError(
            f"cannot read {path}: {error.strerror}; the timer continuous-audit writes it each minute"
        ) from None
    except NOT_THE_JSON as error:
        raise ClientError(f"{path}: {error}; the next run writes it anew") from None


def check_fresh(report: ContinuousReport) -> None:
    """Refuse an old result.

    Raises:
        ClientError: no run has ended for minutes.

    """
    if datetime.now(UTC) - report.at > STALE_AFTER:
        raise ClientError(
            f"the last run ended at {report.at:%Y-%m-%d %H:%M:%S} UTC; "
            "`journalctl -u continuous-audit` says what came of those after it"
        )


def accept(folder: Path) -> str:
    """Ask no more about what was found to be lost, missing or repeated, and say what that is.

    Raises:
        ClientError: there is no state, or it cannot be written.

    """
    state, broken = read_state(folder)
    if state is None:
        raise ClientError(broken or f"{folder / STATE_FILE}: no run has ended yet")
    lost, missing, twice = _count(state.lost), _count(state.missing), state.stored_twice
    state.accept()
    write_file(folder / STATE_FILE, msgspec.json.encode(state))
    return f"accepted: {lost:,} lost, {missing:,} missing from the lake, {twice:,} rows there twice"


def read_state(folder: Path) -> tuple[AuditState | None, str]:
    """Read the state; None where there is none, with a reason where it is broken.

    Raises:
        ClientError: it cannot be read.

    """
    path = folder / STATE_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=AuditState), ""
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        raise ClientError(f"cannot read {path}: {error.strerror}") from None
    except NOT_THE_JSON as error:
        return None, f"{path} cannot be read: {error}"


class Looked(NamedTuple):
    """What a look gave: the state after it, and what it read.

    Attributes:
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

    def __init__(self, consumer: Any, settings: Settings, lake: LakeFiles, now_s: float) -> None:  # noqa: ANN401 - kafka-python ships no types
        self._consumer = consumer
        self._settings = settings
        self._topics: Topics = settings.topics
        self._lake = lake
        self._now_s = now_s
        self._answers = self._rows = 0

    def run(self, state: AuditState | None, lag_s: float) -> Looked:
        """Go on from a state, or begin where there is none, or none that fits.

        Raises:
            ClientError: a topic is not there, or Kafka does not give what it has.
            LakeError: the audit begins, and the lake cannot be read.

        """
        begins, ends = (self._answers_at(find) for find in ("beginning_offsets", "end_offsets"))
        transactions_end = self._transactions_at("end_offsets")
        why = state.misfit(transactions_end, begins, ends) if state else ""
        if state is None or why:
            return Looked(self._begun(), 0, 0, why, "")
        self._read_answers(state, begins, ends)
        state.note_ends(transactions_end, self._now_s, lag_s)
        lake_unread = self._read_lake(state)
        spans = state.to_judge(self._transactions_at("beginning_offsets"))
        if spans:
            state.judge(spans, *self._read_transactions(spans))
        return Looked(state, self._answers, self._rows, "", lake_unread)

    def _begun(self) -> AuditState:
        # transactions last: of those that come from then on, nothing is in topics and lake yet
        positions = self._answers_at("end_offsets")
        read = names_of_days(self._lake, self._days(self._now_s))
        return AuditState.begun(self._now_s, self._transactions_at("end_offsets"), positions, read)

    def _answers_at(self, find: str) -> dict[str, Offsets]:
        return {
            topic: self._offsets(topic, find)
            for topic in (self._topics.predictions, self._topics.transactions_dlq)
        }

    def _transactions_at(self, find: str) -> Offsets:
        return self._offsets(self._topics.transactions, find)

    def _offsets(self, topic: str, find: str) -> Offsets:
        """Give offsets by partition, as the consumer's method of that name finds them."""
        found = getattr(self._consumer, find)(partitions_of(self._consumer, self._settings.kafka, [topic]))
        return {each.partition: at for each, at in found.items()}

    def _days(self, since_s: float) -> list[str]:
        since, now = (datetime.fromtimestamp(each, UTC) for each in (since_s, self._now_s))
        return days_touched(since - _CLOCK_SLACK, now + _CLOCK_SLACK)

    def _read_answers(self, state: AuditState, begins: dict[str, Offsets], ends: dict[str, Offsets]) -> None:
        spans = {
            TopicPartition(topic, partition): (
                state.positions[topic].get(partition, begins[topic][partition]),
                end,
            )
            for topic, of_topic in ends.items()
            for partition, end in of_topic.items()
        }
        for records in self._read(spans):
            places = [place for record in records if (place := _place(record.value)) is not None]
            if places:
                state.note_answers(*np.array(places, dtype=np.int64).T)
            self._answers += len(records)
        state.positions = ends

    def _read_lake(self, state: AuditState) -> str:
        """Read the files that came; say why that did not work, or "" where it did."""

        def note(file: str, partitions: Any, offsets: Any, *, partly_known: bool) -> None:  # noqa: ANN401 - arrays
            self._rows += len(offsets)
            state.note_rows(file, partitions, offsets, partly_known=partly_known)

        days = self._days(state.settled_at_s)
        try:
            read_arrivals(self._lake, days, state.read, note)
        except LakeError as error:
            return str(error)
        state.note_settled()
        state.read = {day: names for day, names in state.read.items() if day in days}
        return ""

    def _read_transactions(self, spans: dict[int, tuple[int, int]]) -> tuple[dict[int, OffsetSet], Offsets]:
        """Give the offsets of the records in spans, and up to where these were read."""
        found: dict[int, OffsetSet] = {partition: OffsetSet() for partition in spans}
        at = {TopicPartition(self._topics.transactions, each): span for each, span in spans.items()}
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


def report_of(looked: Looked, *, lake_requests: int) -> ContinuousReport:
    """Put a look's result together."""
    state = looked.state
    return ContinuousReport(
        at=datetime.now(UTC),
        began_at=datetime.fromtimestamp(state.began_at_s, UTC),
        audited_to=datetime.fromtimestamp(state.due.at_s, UTC),
        audited=state.audited,
        lost=_count(state.lost),
        lake_missing=_count(state.missing),
        lake_repeated=state.stored_twice,
        repeated=state.repeated,
        deleted=state.deleted,
        first_lost=_first(state.lost),
        first_missing=_first(state.missing),
        repeated_in=state.stored_twice_in,
        begun_anew=looked.begun_anew,
        lake_unread=looked.lake_unread,
        answers_read=looked.answers,
        rows_read=looked.rows,
        lake_requests=lake_requests,
        processor_s=round(time.process_time(), 3),
    )


def _own_access(s3: S3) -> S3:
    """Give the access of a user of its own, where the environment has one."""
    access, secret = (os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    if not access or not secret:
        return s3
    return msgspec.structs.replace(s3, access_key=access, secret_key=secret)


def _place(value: bytes | None) -> tuple[int, int] | None:
    try:
        at = _decode(value or b"")
    except NOT_THE_JSON:
        return None
    return at.partition, at.offset


def _count(gaps: dict[int, list[tuple[int, int]]]) -> int:
    return sum(map(size, gaps.values()))


def _first(gaps: dict[int, list[tuple[int, int]]]) -> list[str]:
    """Name the first few offsets: partition-offset."""
    return [f"{partition}-{first}" for partition, ranges in gaps.items() for first, _ in ranges][:_NAMED]
