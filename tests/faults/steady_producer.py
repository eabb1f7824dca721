"""Sends transactions at a steady rate, and keeps where and when Kafka acknowledged each."""

import math
import random
import threading
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import msgspec
from checks import Acknowledged, Identified
from kafka.errors import KafkaError

from clients.delivery import FLUSH_TIMEOUT_S
from clients.kafka_clients import make_producer
from clients.pacing import Pacer, steady
from flink_jobs.domain.label import Label
from flink_jobs.store.settings import Settings

# transactions a second, if nothing else is said
RATE_TPS = 200.0
CUSTOMERS, TERMINALS = 200, 100
# every so many transactions, one has a label
LABELLED = 20
LARGE_SHARE = 0.03
POISON = (
    b"no transaction",
    b'{"transaction_id": "poison", "note": "\xff\xfe"}',
    b'{"transaction_id": "poison"}',
    b'{"transaction_id": "poison", "event_time": "noon", "amount": 1.0, "customer_id": "1"}',
    b"x" * 100_000,
)


class SteadyProducer:
    """Sends in a thread of its own; customers and ids bear the mark of the row, so none has a past.

    Attributes:
        clock_off_s: how far the producer's clock is ahead, in event times as in Kafka's; it may be changed.
        poison_tps: unreadable records a second; it may be changed.
        acknowledged: of transactions and poison.
        labels: those that were acknowledged: partition, offset and transaction id.
        refused: records that Kafka did not confirm.

    """

    def __init__(
        self, settings: Settings, mark: str, rate_tps: float, chance: random.Random, *, by_customer: bool
    ) -> None:
        self._settings = settings
        self._mark = mark
        self._rate_tps = rate_tps
        self._chance = chance
        self._by_customer = by_customer
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._send, name="producer", daemon=True)
        self._producer: Any = make_producer(settings.kafka, rate_tps)
        self._error: Exception | None = None
        self.clock_off_s = 0.0
        self.poison_tps = 0.0
        self.acknowledged: list[Acknowledged] = []
        self.labels: list[Identified] = []
        self.refused = 0

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more, and wait until each record is confirmed or given up.

        Raises:
            RuntimeError: the producer had ended by itself, because of an error.

        """
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join()
        try:
            self._producer.flush(FLUSH_TIMEOUT_S)
        except KafkaError:
            # what was not confirmed is not counted as such
            pass
        finally:
            self._producer.close(timeout=0)
        if self._error is not None:
            raise RuntimeError(f"the producer ended: {self._error!r}") from self._error

    def _send(self) -> None:
        pacer, due = Pacer(), steady(self._rate_tps)
        number, next_poison_s = 0, math.inf
        try:
            while not self._done.is_set():
                pacer.wait_for(due(number, 0), self._done.is_set)
                self._send_transaction(number)
                now_s = time.monotonic()
                next_poison_s = min(next_poison_s, now_s) if self.poison_tps else math.inf
                if next_poison_s <= now_s:
                    next_poison_s = now_s + 1 / self.poison_tps
                    key = self._customer().encode()
                    self._hand_over(self._chance.choice(POISON), key, None)
                number += 1
        except Exception as error:  # noqa: BLE001 - told by `stop`, in the thread of who asked
            self._error = error

    def _customer(self) -> str:
        return f"{self._mark}-c{self._chance.randrange(CUSTOMERS)}"

    def _send_transaction(self, number: int) -> None:
        chance, customer = self._chance, self._customer()
        amount = chance.lognormvariate(3.5, 0.8) * (20 if chance.random() < LARGE_SHARE else 1)
        transaction_id = f"{self._mark}-{number}"
        message = {
            "transaction_id": transaction_id,
            "event_time": datetime.now(UTC) + timedelta(seconds=self.clock_off_s),
            "customer_id": customer,
            "terminal_id": f"sim-{chance.randrange(TERMINALS)}",
            "amount": round(amount, 2),
        }
        key = (customer if self._by_customer else transaction_id).encode()
        self._hand_over(msgspec.json.encode(message), key, transaction_id)
        if number % LABELLED == 0:
            label = Label(transaction_id, chance.random() < LARGE_SHARE, "faults", datetime.now(UTC))
            future = self._hand(self._settings.topics.fraud_labels, msgspec.json.encode(label), key)
            if future is not None:
                future.add_callback(partial(self._labelled, transaction_id))

    def _hand_over(self, value: bytes, key: bytes, transaction_id: str | None) -> None:
        future = self._hand(self._settings.topics.transactions, value, key)
        if future is not None:
            future.add_callback(partial(self._confirmed, transaction_id))
            future.add_errback(self._refused)

    def _hand(self, topic: str, value: bytes, key: bytes) -> Any:  # noqa: ANN401 - kafka-python ships no types
        timestamp_ms = int((time.time() + self.clock_off_s) * 1000)
        try:
            return self._producer.send(topic, value, key, timestamp_ms=timestamp_ms)
        except KafkaError as error:
            self._refused(error)
            return None

    # called by Kafka's thread; appending to a list needs no lock

    def _confirmed(self, transaction_id: str | None, metadata: Any) -> None:  # noqa: ANN401 - as kafka-python calls it
        place = metadata.partition, metadata.offset
        self.acknowledged.append(Acknowledged(place, time.time(), transaction_id))

    def _labelled(self, transaction_id: str, metadata: Any) -> None:  # noqa: ANN401 - as above
        self.labels.append((metadata.partition, metadata.offset, transaction_id))

    def _refused(self, _error: Exception) -> None:
        self.refused += 1
