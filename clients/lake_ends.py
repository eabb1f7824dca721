"""Tell where the lake ends, for each topic: there the topics of a cluster that was made anew go on.

playbooks/restore_anew.yml runs this on the control node, once the lake is back.
"""

import json
import sys
from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from clients.kafka_clients import make_consumer, partitions_of
from clients.process import ClientError
from flink_jobs.store.lake import (
    DEAD_LETTERS_FOLDER,
    PREDICTIONS_FOLDER,
    LakeEnd,
    LakeError,
    folders_of,
    open_lake,
)
from flink_jobs.store.lake_files import ANSWERED_COLUMNS
from flink_jobs.store.settings import Settings, SettingsError, load_settings


def find_ends(settings: Settings, partitions: Mapping[str, Collection[int]]) -> dict[str, dict[int, LakeEnd]]:
    """Find where each topic goes on, by partition; none where the lake has nothing.

    Transactions go on after those, too, that only a prediction or a dead letter names: a copy of the lake
    may have these without the transaction, and another record must not get its answer.

    Args:
        settings: where the lake is.
        partitions: of each topic.

    Raises:
        LakeError: the lake cannot be read.

    """
    ends = {
        topic: open_lake(settings, folder).ends(partitions[topic])
        for topic, folder in folders_of(settings.topics).items()
    }
    transactions = settings.topics.transactions
    for folder in (PREDICTIONS_FOLDER, DEAD_LETTERS_FOLDER):
        answered = open_lake(settings, folder).ends(partitions[transactions], place=ANSWERED_COLUMNS)
        for partition, end in answered.items():
            ends[transactions][partition] = max(end, ends[transactions].get(partition, end))
    return ends


def read_partitions(settings: Settings) -> dict[str, set[int]]:
    """Ask Kafka for the partitions of each topic.

    Raises:
        ClientError: no broker answers, or there is no such topic.

    """
    consumer = make_consumer(settings.kafka)
    try:
        return {
            topic: {part.partition for part in partitions_of(consumer, settings.kafka, [topic])}
            for topic in folders_of(settings.topics)
        }
    finally:
        consumer.close()


def as_json(ends: Mapping[str, Mapping[int, LakeEnd]]) -> str:
    """Render where topics go on: topic, partition, and the offset and time (RFC 3339) of the last record."""
    return json.dumps(
        {
            topic: {
                str(partition): {
                    "offset": end.offset,
                    "came": datetime.fromtimestamp(end.came_ms / 1000, UTC).isoformat(timespec="seconds"),
                }
                for partition, end in sorted(partitions.items())
            }
            for topic, partitions in ends.items()
        }
    )


def main() -> int:
    """Print them as JSON; 1 where that cannot be told."""
    try:
        settings = load_settings()
        print(as_json(find_ends(settings, read_partitions(settings))))
    except (ClientError, LakeError, SettingsError) as error:
        print(f"lake_ends: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
