"""Kafka producers and consumers as this system uses them; an error names at once what cannot be reached."""

import importlib.util
import math
from collections.abc import Iterable
from functools import partial
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from clients.pacing import TICK_S
from clients.process import ClientError
from flink_jobs.store.kafka_servers import answered, client_options, consumer_options
from flink_jobs.store.settings import Kafka

TOPIC_TIMEOUT_MS = 10_000


def make_producer(kafka: Kafka, rate_tps: float) -> Any:  # noqa: ANN401 - kafka-python ships no types
    """Make a producer that loses and repeats nothing; batches are as large as `rate_tps` calls for.

    Raises:
        ClientError: no broker answers.

    """
    try:
        return KafkaProducer(
            **client_options(kafka),
            acks="all",
            enable_idempotence=True,
            compression_type=_compression(),
            linger_ms=linger_ms(rate_tps),
            batch_size=64 * 1024,
            max_block_ms=TOPIC_TIMEOUT_MS,
        )
    except KafkaError as error:
        raise _unreachable(kafka, error) from None


def make_consumer(kafka: Kafka, wait_s: float = 0.0, **properties: Any) -> Any:  # noqa: ANN401 - kafka-python's
    """Make a consumer that gets each record as soon as Kafka has it.

    Args:
        kafka: where it is.
        wait_s: how long to try again while no broker answers.
        properties: kafka-python's own.

    Raises:
        ClientError: no broker answers.

    """

    def made() -> Any:  # noqa: ANN401 - kafka-python ships no types
        return KafkaConsumer(
            **consumer_options(kafka),
            fetch_min_bytes=1,
            # The next fetch leaves out partitions whose records were not handed over yet; their new records
            # wait until that fetch ends: with 100 ms, a tenth of all records waited.
            fetch_max_wait_ms=20,
            key_deserializer=None,
            value_deserializer=None,
            **properties,
        )

    try:
        return answered(made, wait_s)
    except KafkaError as error:
        raise _unreachable(kafka, error) from None


def check_topic(producer: Any, kafka: Kafka, topic: str) -> None:  # noqa: ANN401 - kafka-python ships no types
    """Refuse, before anything is sent, a topic that is not there.

    Raises:
        ClientError: no such topic.

    """
    try:
        known = producer.partitions_for(topic)
    except KafkaError:
        known = None
    if not known:
        raise _no_topic(kafka, topic)


def partitions_of(consumer: Any, kafka: Kafka, topics: Iterable[str]) -> list[TopicPartition]:  # noqa: ANN401
    """List all partitions of `topics`.

    Raises:
        ClientError: no such topic.

    """
    found = []
    for topic in topics:
        partitions = answered(partial(consumer.partitions_for_topic, topic))
        if not partitions:
            raise _no_topic(kafka, topic)
        found += [TopicPartition(topic, partition) for partition in sorted(partitions)]
    return found


def linger_ms(rate_tps: float) -> int:
    """Tell how long a record waits for others to share its batch, in milliseconds."""
    if rate_tps * TICK_S <= 1:
        return 0
    # the other records of its tick come at once
    return 2 if math.isfinite(rate_tps) else 20


def _compression() -> str:
    """lz4 is the quickest; it is an extra of kafka-python, gzip is always there."""
    return "lz4" if importlib.util.find_spec("lz4") else "gzip"


def _unreachable(kafka: Kafka, error: Exception) -> ClientError:
    reason = f" ({error})" if str(error) else ""
    return ClientError(
        f"cannot reach Kafka at {kafka.bootstrap_servers}{reason}; is the lab up? `make demo` brings it up, "
        "`--settings FILE` names another cluster"
    )


def _no_topic(kafka: Kafka, topic: str) -> ClientError:
    return ClientError(
        f"no topic {topic} at {kafka.bootstrap_servers}; `kafka-topics --list` on a Kafka host shows what is "
        "there, `ansible-playbook site.yml` creates the project's own"
    )
