"""Kafka's topics, as they are watched during a fault and read after it."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any

import msgspec
from checks import Identified
from darkness import Place
from kafka import TopicPartition
from kafka.errors import KafkaError

from clients.kafka_clients import make_consumer, partitions_of
from clients.reconciliation import OffsetCounts, OffsetRanges, total
from flink_jobs.domain.json_errors import NOT_THE_JSON
from flink_jobs.domain.scoring import Prediction, Record
from flink_jobs.store.kafka_servers import answered
from flink_jobs.store.lake import folders_of
from flink_jobs.store.settings import Settings

# without a record; a poll gives nothing for as long as a leader is elected
READ_TIMEOUT_S = 120.0

Offsets = dict[str, dict[int, int]]


class NotReadError(RuntimeError):
    """A topic did not give its records in time."""


class _Coordinates(msgspec.Struct, gc=False):
    partition: int
    offset: int


class _OfTransaction(msgspec.Struct, gc=False):
    """A prediction, an alert or a label."""

    transaction_id: str


class Ends:
    """Tells where each topic begins and ends, by partition, as often as it is asked.

    Raises:
        NotReadError: Kafka did not tell in time.

    """

    def __init__(self, settings: Settings) -> None:
        self._consumer: Any = make_consumer(settings.kafka)
        self._parts = partitions_of(self._consumer, settings.kafka, folders_of(settings.topics))

    def now(self) -> Offsets:
        """Give the offset after the last record of each partition."""
        return self._asked(self._consumer.end_offsets)

    def first(self) -> Offsets:
        """Give the offset of the first record that each partition still has."""
        return self._asked(self._consumer.beginning_offsets)

    def close(self) -> None:
        """Ask no more."""
        self._consumer.close()

    def _asked(self, ask: Callable[[Any], Mapping[Any, int]]) -> Offsets:
        try:
            offsets = answered(lambda: ask(self._parts), READ_TIMEOUT_S)
        except KafkaError as error:
            raise NotReadError(f"Kafka did not tell where its topics end: {error}") from error
        found: Offsets = {}
        for part, offset in offsets.items():
            found.setdefault(part.topic, {})[part.partition] = offset
        return found


def ends(settings: Settings) -> Offsets:
    """Tell where each topic ends, by partition."""
    with closing(Ends(settings)) as found:
        return found.now()


def ranges(begin: Mapping[int, int], end: Mapping[int, int]) -> OffsetRanges:
    """Give each partition's records between two ends of a topic; none of one that `went_back`."""
    return {part: (first, end[part]) for part, first in begin.items() if end[part] > first}


def went_back(begin: Offsets, end: Offsets) -> list[str]:
    """Say which partitions end before where they ended: they lost records."""
    return [
        f"{topic}-{part} ends at {end[topic][part]}, and ended at {first} before"
        for topic, parts in begin.items()
        for part, first in sorted(parts.items())
        if end[topic][part] < first
    ]


def read(settings: Settings, topic: str, wanted: OffsetRanges) -> Iterator[Any]:
    """Give the records of these offsets, as Kafka's client gives them.

    Raises:
        NotReadError: some are missing, and for READ_TIMEOUT_S none came.

    """
    if not wanted:
        return
    consumer = make_consumer(settings.kafka)
    try:
        consumer.assign([TopicPartition(topic, part) for part in wanted])
        for part, (first, _) in wanted.items():
            consumer.seek(TopicPartition(topic, part), first)
        counts, deadline = OffsetCounts(wanted), time.monotonic() + READ_TIMEOUT_S
        while counts.distinct < total(wanted):
            if time.monotonic() > deadline:
                missing = total(wanted) - counts.distinct
                raise NotReadError(f"{missing} records of {topic} did not come in {READ_TIMEOUT_S:g} s")
            for records in consumer.poll(timeout_ms=500, max_records=5_000).values():
                for record in records:
                    if counts.add(record.partition, record.offset):
                        yield record
                        # whoever asked may have worked on it for long
                        deadline = time.monotonic() + READ_TIMEOUT_S
    finally:
        consumer.close()


def transactions(records: Iterable[Any]) -> list[Record]:
    """Take records of the topic `transactions` as the job does."""
    return [
        Record(each.partition, each.offset, each.timestamp, len(each.value or b""), each.value or b"")
        for each in records
    ]


def predictions(records: Iterable[Any]) -> list[Prediction]:
    """Decode predictions."""
    return [msgspec.json.decode(each.value, type=Prediction) for each in records]


def places(records: Iterable[Any]) -> set[Place]:
    """Tell of which transactions dead letters or predictions are."""
    found = (msgspec.json.decode(each.value, type=_Coordinates) for each in records)
    return {(each.partition, each.offset) for each in found}


def alerted(records: Iterable[Any], mark: str) -> set[str]:
    """Give ids of the alerts on a row's transactions."""
    found = (msgspec.json.decode(each.value, type=_OfTransaction).transaction_id for each in records)
    return {each for each in found if each.startswith(f"{mark}-")}


def labelled(records: Iterable[tuple[int, int, bytes]], mark: str) -> set[Identified]:
    """Tell which labels of a row's transactions are among records: partition, offset and payload of each."""
    decode = msgspec.json.Decoder(_OfTransaction).decode
    found = set()
    for partition, offset, payload in records:
        try:
            name = decode(payload).transaction_id
        except NOT_THE_JSON:
            # of somebody else
            continue
        if name.startswith(f"{mark}-"):
            found.add((partition, offset, name))
    return found


class Watcher:
    """Notes when predictions come; it reads from the end on, in a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        self._consumer: Any = make_consumer(settings.kafka)
        parts = partitions_of(self._consumer, settings.kafka, [settings.topics.predictions])
        self._consumer.assign(parts)
        self._consumer.seek_to_end()
        for part in parts:
            self._consumer.position(part)
        self._decode = msgspec.json.Decoder(_OfTransaction).decode
        self._first: dict[str, float] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watcher", daemon=True)
        self._error: Exception | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more.

        Raises:
            RuntimeError: watching had ended by itself, because of an error.

        """
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._consumer.close()
        if self._error is not None:
            raise RuntimeError(f"predictions were not watched: {self._error!r}") from self._error

    def first_s(self) -> dict[str, float]:
        """Give when the first prediction of each transaction came, by its id, in seconds since 1970."""
        return self._first.copy()

    def _look(self) -> None:
        try:
            while not self._done.is_set():
                batches = self._consumer.poll(timeout_ms=200)
                now_s = time.time()
                for record in (each for records in batches.values() for each in records):
                    try:
                        of = self._decode(record.value or b"")
                    except NOT_THE_JSON:
                        continue
                    self._first.setdefault(of.transaction_id, now_s)
        except Exception as error:  # noqa: BLE001 - told by `stop`
            self._error = error
