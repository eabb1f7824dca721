"""Stand-ins for kafka-python's objects, as far as the clients use them."""

from collections import defaultdict
from typing import NamedTuple

from kafka.errors import KafkaTimeoutError


class Metadata(NamedTuple):
    partition: int
    offset: int


class Message(NamedTuple):
    topic: str
    value: bytes | None
    partition: int = 0
    offset: int = 0


class Future:
    def __init__(self, value: Metadata, error: Exception | None = None) -> None:
        self.value = value
        self.exception = error
        self.is_done = False

    def failed(self) -> bool:
        return self.exception is not None


class Producer:
    """Confirms on flush, or `confirm_after` sends later; spreads keys over two partitions."""

    def __init__(self, *, fail: frozenset[int] = frozenset(), silent: frozenset[int] = frozenset()) -> None:
        self.fail = fail
        self.silent = silent
        self.next_offset: dict[int, int] = defaultdict(lambda: 100)
        self.futures: list[Future] = []
        self.messages: list[tuple[str, bytes, bytes]] = []

    def send(self, topic: str, value: bytes, key: bytes) -> Future:
        number = len(self.futures)
        partition = sum(key) % 2
        error = KafkaTimeoutError(f"record {number} too slow") if number in self.fail else None
        future = Future(Metadata(partition, self.next_offset[partition]), error)
        if error is None:
            self.next_offset[partition] += 1
        self.futures.append(future)
        self.messages.append((topic, value, key))
        return future

    def flush(self, _timeout: float) -> None:
        for number, future in enumerate(self.futures):
            future.is_done = number not in self.silent
