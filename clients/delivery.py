"""Sends records and accounts for each of them."""

import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from kafka.errors import KafkaError

from clients.pacing import Pacer, Schedule
from clients.process import Stop
from clients.progress import Progress
from clients.reports import ProducerReport

# Unconfirmed records that may be on their way; more would only wait in this process' memory.
MAX_UNCONFIRMED = 20_000
FLUSH_TIMEOUT_S = 130.0


class KeyedMessage(NamedTuple):
    """A transaction ready to be sent.

    Attributes:
        key: chooses the partition.
        value: the message.
        event_time_s: seconds since 1970.
        transaction_id: as in the message.
        is_fraud: None where nobody knows.

    """

    key: bytes
    value: bytes
    event_time_s: float
    transaction_id: str
    is_fraud: bool | None


class _Partition:
    """The records of this run in one partition."""

    def __init__(self, offset: int) -> None:
        self.first = offset
        self.end = offset + 1
        self.count = 0
        # offsets only grow, unless a leader lacks what another had confirmed
        self.overwritten = 0

    def add(self, offset: int) -> None:
        self.overwritten += self.count > 0 and offset < self.end
        self.first = min(self.first, offset)
        self.end = max(self.end, offset + 1)
        self.count += 1


class Delivery:
    """Sends to one topic and keeps the account; used by one thread.

    Confirmations are collected in the order of sending by `settle`, not by callbacks, which would come
    from the Kafka client's thread.

    Attributes:
        sent: records that Kafka confirmed.
        failed: records that it refused or never confirmed.
        first_error: why the first of them failed; empty without any.

    """

    def __init__(self, producer: Any, topic: str) -> None:  # noqa: ANN401 - kafka-python ships no types
        self._producer = producer
        self._topic = topic
        self._unconfirmed: deque[tuple[Any, KeyedMessage]] = deque()
        self._partitions: dict[int, _Partition] = {}
        self._fraud_ids: list[str] = []
        self._labelled = False
        self._started_at = datetime.now(UTC)
        self.sent = 0
        self.failed = 0
        self.first_error = ""

    def send(self, record: KeyedMessage) -> None:
        """Hand one record to the Kafka client; waits while too many are unconfirmed."""
        while len(self._unconfirmed) >= MAX_UNCONFIRMED:
            time.sleep(0.001)
            self.settle()
        try:
            future = self._producer.send(self._topic, record.value, record.key)
        except KafkaError as error:
            self._fail(error)
            return
        self._unconfirmed.append((future, record))

    def settle(self) -> None:
        """Account for the records that have been confirmed or refused by now."""
        while self._unconfirmed and self._unconfirmed[0][0].is_done:
            self._account(*self._unconfirmed.popleft())

    def finish(self) -> ProducerReport:
        """Wait until every record is confirmed or given up, and report."""
        try:
            self._producer.flush(FLUSH_TIMEOUT_S)
        except KafkaError as error:
            self.first_error = self.first_error or str(error)
        self.settle()
        ended_at = datetime.now(UTC)
        self.failed += len(self._unconfirmed)
        seconds = (ended_at - self._started_at).total_seconds()
        partitions = sorted(self._partitions.items())
        return ProducerReport(
            started_at=self._started_at,
            ended_at=ended_at,
            sent=self.sent,
            failed=self.failed,
            rate_tps=round(self.sent / seconds, 1) if seconds else 0.0,
            topic=self._topic,
            offsets={number: (part.first, part.end) for number, part in partitions},
            contiguous=all(part.end - part.first == part.count - part.overwritten for _, part in partitions),
            fraud_ids=self._fraud_ids if self._labelled else None,
            overwritten=sum(part.overwritten for _, part in partitions),
        )

    def _account(self, future: Any, record: KeyedMessage) -> None:  # noqa: ANN401 - kafka-python ships no types
        if future.failed():
            self._fail(future.exception)
            return
        metadata = future.value
        self.sent += 1
        partition = self._partitions.get(metadata.partition)
        if partition is None:
            partition = self._partitions[metadata.partition] = _Partition(metadata.offset)
        partition.add(metadata.offset)
        if record.is_fraud is not None:
            self._labelled = True
            if record.is_fraud:
                self._fraud_ids.append(record.transaction_id)

    def _fail(self, error: Exception) -> None:
        self.failed += 1
        self.first_error = self.first_error or str(error)


def produce(
    records: Iterator[KeyedMessage],
    schedule: Schedule,
    delivery: Delivery,
    progress: Progress,
    stop: Stop,
) -> ProducerReport:
    """Send each record when it is due until none is left or `stop`; returns when all are accounted for."""
    pacer = Pacer()
    try:
        for number, record in enumerate(records):
            pacer.wait_for(schedule(number, record.event_time_s), stop.__bool__)
            if stop:
                break
            delivery.send(record)
            delivery.settle()
            progress.update(delivery.sent)
        return delivery.finish()
    finally:
        progress.close(delivery.sent)
