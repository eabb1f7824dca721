"""Where a scoring job begins that has no state: at the end of the lake, from which it takes the histories.

The lake keeps each transaction, so histories can be made anew from it. What the lake has and was scored is
only folded into them; the topic is read from a little before where that ends.
"""

import logging
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from flink_jobs.store.kafka_servers import answered, consumer_options
from flink_jobs.store.lake import LakeEnd, open_lake
from flink_jobs.store.settings import Settings

# So many offsets of each partition are scored again. What windows were gathering when the state was written
# lies before the committed offset, and gets a prediction only from a job that goes on with that state: 20 ms
# of records, or `--batch-ms`. What has left its window by then is scored before the state is written. These
# are 20 ms at 500,000 records a second and partition, or a second at 10,000.
REPEATED = 10_000

_log = logging.getLogger(__name__)


class TopicOffsets(NamedTuple):
    """Offsets of a topic, each by partition.

    Attributes:
        first: of the first record that the topic still has.
        end: after the last record.
        committed: after the last record that a consumer group has read; none where it has read nothing.
        first_ms: when the first record came, in ms since 1970; none where there is no record.

    """

    first: dict[int, int]
    end: dict[int, int]
    committed: dict[int, int]
    first_ms: dict[int, int]


class Beginning(NamedTuple):
    """Where a job without state begins, by partition.

    Attributes:
        start: the offset from which on the topic is read.
        first_ms: when the topic's first record came, in ms since 1970; none where the topic had no record.
            The lake's records before `start` are folded, and those that came before this time, whatever their
            offset: they lay in a topic that was lost.
        scored: records before this offset have a prediction, and are only folded; `start` is no later, unless
            the topic begins later. Of those after it, up to REPEATED may have one as well.
        found_ms: when this was found. What came later has no prediction, whatever its offset: the topic may
            be lost later.

    """

    start: dict[int, int]
    first_ms: dict[int, int]
    scored: dict[int, int]
    found_ms: int


class LostStateError(Exception):
    """It cannot be told where to begin."""


def find_beginning(settings: Settings, group: str) -> Beginning:
    """Find where the job of a consumer group begins without state.

    Raises:
        LostStateError: Kafka does not answer, or has no such topic.
        LakeError: the lake cannot be read.

    """
    found_ms = int(time.time() * 1000)
    topic = read_offsets(settings, group)
    lake_ends = open_lake(settings).ends(
        topic.first_ms.keys(), min(topic.first_ms.values(), default=found_ms)
    )
    return begin(lake_ends, topic, found_ms)


def begin(lake_ends: Mapping[int, LakeEnd], topic: TopicOffsets, found_ms: int) -> Beginning:
    """Choose where to begin.

    Args:
        lake_ends: by partition, where the lake ends; none where it ends long before the topic's first record.
        topic: of the transactions; `committed` by the job's group.
        found_ms: the time, in ms since 1970.

    """
    start, scored = {}, {}
    for partition, first in topic.first.items():
        in_lake, came_ms = lake_ends.get(partition, LakeEnd(0, 0))
        if came_ms < topic.first_ms.get(partition, found_ms):
            # the topic has none of the lake's records; if it was made anew, offsets do not compare
            in_lake = min(in_lake, first)
        done = topic.committed.get(partition, 0)
        if done > topic.end[partition]:
            done = 0  # of the topic before
        if in_lake < first and partition in topic.first_ms and (lake_ends or done):
            _log.warning(
                "partition %d: the topic begins at offset %d only, and the lake does not have the record "
                "before: histories lack what lay between",
                partition,
                first,
            )
        if 0 < done < first:
            _log.warning(
                "partition %d: all was scored up to offset %d, and the topic begins at %d only: "
                "what lay between has no prediction",
                partition,
                done,
                first,
            )
        scored[partition] = max(done - REPEATED, 0)
        # from the topic, so that what is scored again has the history of then
        start[partition] = max(min(in_lake, scored[partition]), first)
    return Beginning(start, topic.first_ms, scored, found_ms)


def read_offsets(settings: Settings, group: str) -> TopicOffsets:
    """Read the offsets of the transactions' topic.

    Raises:
        LostStateError: Kafka does not answer, or has no such topic.

    """
    topic = settings.topics.transactions
    try:
        consumer: Any = KafkaConsumer(
            **consumer_options(settings.kafka), group_id=group, enable_auto_commit=False
        )
        try:
            found = answered(lambda: _topic_offsets(consumer, topic))
        finally:
            consumer.close()
    except KafkaError as error:
        raise LostStateError(
            f"Kafka at {settings.kafka.bootstrap_servers} does not say where {topic} ends ({error})"
        ) from None
    if not found:
        raise LostStateError(
            f"Kafka at {settings.kafka.bootstrap_servers} has no topic {topic}; "
            "ansible-playbook playbooks/kafka.yml makes it"
        )
    return found


def _topic_offsets(consumer: Any, topic: str) -> TopicOffsets | None:  # noqa: ANN401 - kafka-python ships no types
    partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
    if not partitions:
        return None
    committed = {each.partition: consumer.committed(each) for each in partitions}
    earliest = consumer.offsets_for_times(dict.fromkeys(partitions, 0))
    return TopicOffsets(
        {each.partition: offset for each, offset in consumer.beginning_offsets(partitions).items()},
        {each.partition: offset for each, offset in consumer.end_offsets(partitions).items()},
        {partition: offset for partition, offset in committed.items() if offset is not None},
        {each.partition: found.timestamp for each, found in earliest.items() if found is not None},
    )
