"""Where a scoring job begins that has no state: at the end of the lake, from which it takes the histories.

The lake keeps each transaction, so histories can be made anew from it. What the lake has and was scored is
only folded into them; the topic is read from where that ends.
"""

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from flink_jobs.store.kafka_servers import answering_servers
from flink_jobs.store.lake import open_lake
from flink_jobs.store.settings import Settings

_BOOTSTRAP_TIMEOUT_MS = 10_000

_log = logging.getLogger(__name__)


class TopicOffsets(NamedTuple):
    """Offsets of a topic, each by partition.

    Attributes:
        first: of the first record that the topic still has.
        end: after the last record.
        committed: after the last record that a consumer group has read; none where it has read nothing.

    """

    first: dict[int, int]
    end: dict[int, int]
    committed: dict[int, int]


class Beginning(NamedTuple):
    """Where a job without state begins, each by partition.

    Attributes:
        start: the offset from which on the topic is read.
        folded: records of the lake before this offset are folded, and are not read from the topic.
        scored: records before this offset have a prediction, and are only folded.

    """

    start: dict[int, int]
    folded: dict[int, int]
    scored: dict[int, int]


class LostStateError(Exception):
    """It cannot be told where to begin."""


def find_beginning(settings: Settings, group: str) -> Beginning:
    """Find where the job of a consumer group begins without state.

    Raises:
        LostStateError: Kafka does not answer, or has no such topic.
        LakeError: the lake cannot be read.

    """
    topic = read_offsets(settings, group)
    return begin(open_lake(settings).ends(set(topic.first)), topic)


def begin(lake_ends: Mapping[int, int], topic: TopicOffsets) -> Beginning:
    """Choose where to begin.

    Args:
        lake_ends: by partition, the offset after the last record that the lake has.
        topic: of the transactions; `committed` by the job's group.

    """
    start, folded, scored = {}, {}, {}
    for partition, first in topic.first.items():
        in_lake = lake_ends.get(partition, 0)
        done = topic.committed.get(partition, 0)
        if max(in_lake, done) > topic.end[partition]:
            # the topic was made anew: its offsets say nothing about the lake's
            start[partition], folded[partition], scored[partition] = first, in_lake, 0
            continue
        if in_lake < first and (in_lake or done):
            _log.warning(
                "partition %d: the lake ends at offset %d, and the topic begins at %d only: "
                "histories lack what lay between",
                partition,
                in_lake,
                first,
            )
        start[partition] = max(min(in_lake, done), first)
        folded[partition] = start[partition]
        scored[partition] = done
    return Beginning(start, folded, scored)


def read_offsets(settings: Settings, group: str) -> TopicOffsets:
    """Read the offsets of the transactions' topic.

    Raises:
        LostStateError: Kafka does not answer, or has no such topic.

    """
    topic = settings.topics.transactions
    try:
        consumer: Any = KafkaConsumer(
            bootstrap_servers=answering_servers(settings.kafka),
            bootstrap_timeout_ms=_BOOTSTRAP_TIMEOUT_MS,
            allow_auto_create_topics=False,
            group_id=group,
            enable_auto_commit=False,
        )
        try:
            partitions = [
                TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()
            ]
            if not partitions:
                raise LostStateError(
                    f"Kafka at {settings.kafka.bootstrap_servers} has no topic {topic}; "
                    "ansible-playbook playbooks/kafka.yml makes it"
                )
            committed = {each.partition: consumer.committed(each) for each in partitions}
            return TopicOffsets(
                {each.partition: offset for each, offset in consumer.beginning_offsets(partitions).items()},
                {each.partition: offset for each, offset in consumer.end_offsets(partitions).items()},
                {partition: offset for partition, offset in committed.items() if offset is not None},
            )
        finally:
            consumer.close()
    except KafkaError as error:
        raise LostStateError(
            f"Kafka at {settings.kafka.bootstrap_servers} does not say where {topic} ends ({error})"
        ) from None
