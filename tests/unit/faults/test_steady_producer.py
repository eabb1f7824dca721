"""What the steady producer sends, and what it keeps of it."""

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

import pytest
import steady_producer
import topics
from kafka.errors import KafkaTimeoutError
from nobodys_settings import SETTINGS
from steady_producer import POISON, SteadyProducer

from flink_jobs.domain.label import parse_label
from flink_jobs.domain.transaction import parse_transaction


class Metadata(NamedTuple):
    partition: int
    offset: int


class Sent(NamedTuple):
    topic: str
    value: bytes
    key: bytes
    timestamp_ms: int


class Future:
    """Is confirmed at once, or refused where it has an offset that is."""

    def __init__(self, metadata: Metadata, *, refused: bool) -> None:
        self._metadata, self._refused = metadata, refused

    def add_callback(self, confirmed: Callable[[Metadata], None]) -> None:
        if not self._refused:
            confirmed(self._metadata)

    def add_errback(self, refused: Callable[[Exception], None]) -> None:
        if self._refused:
            refused(KafkaTimeoutError("too slow"))


class Kafkas:
    """Kafka's own producer, whose every tenth record is refused, and each that comes after `full`."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.full = 10**9

    def send(self, topic: str, value: bytes, key: bytes, timestamp_ms: int) -> Future:
        if len(self.sent) >= self.full:
            raise KafkaTimeoutError("no room")
        self.sent.append(Sent(topic, value, key, timestamp_ms))
        number = len(self.sent)
        return Future(Metadata(0, number), refused=number % 10 == 0)

    def flush(self, _timeout_s: float) -> None:
        pass

    def close(self, timeout: float) -> None:
        assert timeout == 0


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafkas:
    found = Kafkas()
    monkeypatch.setattr(steady_producer, "make_producer", lambda _kafka, _rate_tps: found)
    return found


def sent(
    kafka: Kafkas, count: int, *, poisoned: int = 0, by_customer: bool = True, **settings: float
) -> SteadyProducer:
    """Send so many records at least, and so many that are poison."""
    chance = Random(1)  # noqa: S311 - to be repeated
    producer = SteadyProducer(SETTINGS, "f1", 2000, chance, by_customer=by_customer)
    for name, value in settings.items():
        setattr(producer, name, value)
    producer.start()
    deadline = time.monotonic() + 60

    def enough() -> bool:
        poison = sum(each.value in POISON for each in kafka.sent.copy())
        return len(kafka.sent) + producer.refused >= count and poison >= poisoned

    while not enough() and time.monotonic() < deadline:
        time.sleep(0.01)
    producer.stop()
    return producer


def test_customers_and_ids_bear_the_mark_and_are_read_by_the_job(kafka: Kafkas) -> None:
    producer = sent(kafka, 200)
    came = [each for each in kafka.sent if each.topic == "transactions"]
    read = [parse_transaction(each.value, time.time()) for each in came]
    assert [each.transaction_id for each in read] == [f"f1-{number}" for number in range(len(read))]
    assert {each.key.decode() for each in came} == {each.customer_id for each in read}
    assert all(each.key.startswith(b"f1-c") for each in came)
    assert len(producer.acknowledged) + producer.refused == len(came)
    assert producer.refused > 0
    # each with its own place
    ids = {offset: json.loads(each.value)["transaction_id"] for offset, each in enumerate(kafka.sent, 1)}
    assert all(ids[each.place[1]] == each.transaction_id for each in producer.acknowledged)


def test_other_keys_are_those_of_transactions(kafka: Kafkas) -> None:
    sent(kafka, 100, by_customer=False)
    for each in kafka.sent:
        message = json.loads(each.value)
        assert each.key.decode() == message["transaction_id"]


def test_some_are_labelled(kafka: Kafkas) -> None:
    producer = sent(kafka, 200)
    labels = [each for each in kafka.sent if each.topic == "fraud_labels"]
    assert len(labels) >= 5
    assert 0 < len(producer.labels) <= len(labels)
    assert all(parse_label(each.value).transaction_id.startswith("f1-") for each in labels)
    for partition, offset, transaction_id in producer.labels:
        told = kafka.sent[offset - 1]
        assert (partition, told.topic) == (0, "fraud_labels")
        assert parse_label(told.value).transaction_id == transaction_id


def test_a_clock_that_is_off_shows_in_event_times_and_in_kafkas(kafka: Kafkas) -> None:
    sent(kafka, 20, clock_off_s=300.0)
    first = kafka.sent[0]
    ahead = parse_transaction(first.value, time.time()).event_time - datetime.now(UTC)
    assert timedelta(seconds=240) < ahead <= timedelta(seconds=300)
    assert first.timestamp_ms / 1000 - time.time() > 240


def test_poison_comes_beside_the_transactions(kafka: Kafkas) -> None:
    producer = sent(kafka, 300, poisoned=5, poison_tps=50.0)
    poison = [each for each in kafka.sent if each.value in POISON]
    confirmed = sum(each.poison for each in producer.acknowledged)
    assert 0 < confirmed <= len(poison)
    assert 5 <= len(poison) < len(kafka.sent) - len(poison)


def test_what_kafka_does_not_take_is_refused_and_not_acknowledged(kafka: Kafkas) -> None:
    kafka.full = 50
    producer = sent(kafka, 100)
    assert len(producer.acknowledged) < 50
    assert producer.refused >= 50


def test_a_producer_that_fails_is_told(kafka: Kafkas, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = threading.Event()

    def fail(*_: Any, **__: Any) -> None:  # noqa: ANN401 - whatever it is given
        failed.set()
        raise AttributeError("a fault of this suite")

    monkeypatch.setattr(kafka, "send", fail)
    chance = Random(1)  # noqa: S311 - to be repeated
    producer = SteadyProducer(SETTINGS, "f1", 2000, chance, by_customer=True)
    producer.start()
    assert failed.wait(60)
    with pytest.raises(RuntimeError, match="a fault of this suite"):
        producer.stop()


def test_offsets_between_two_ends_are_those_of_a_row() -> None:
    assert topics.ranges({0: 5, 1: 7, 2: 0}, {0: 9, 1: 7, 2: 1}) == {0: (5, 9), 2: (0, 1)}
