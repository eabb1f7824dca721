"""Whether topics keep all of a flood: what is beyond their bounds, Kafka deletes, and nobody can check."""

import json
from collections.abc import Mapping
from typing import NamedTuple

# partitions fill unevenly, and batches of a busy producer are not those of the backlog
MARGIN = 1.3
# beside Kafka's replicas, what comes into the lake and into checkpoints
LAKE_SHARE = 1.0
# so much of the disk stays free
SPARE_BYTES = 5_000_000_000


class Sizes(NamedTuple):
    """Bytes on the brokers' disks.

    Attributes:
        largest: by topic and partition, of the replica that has most.
        total: of all replicas.

    """

    largest: dict[tuple[str, int], int]
    total: int


def sizes(told: str) -> Sizes:
    """Read what `kafka-log-dirs --describe` prints."""
    brokers = json.loads(told[told.index("{") :])["brokers"]
    largest: dict[tuple[str, int], int] = {}
    total = 0
    for part in (part for broker in brokers for log in broker["logDirs"] for part in log["partitions"]):
        topic, _, number = part["partition"].rpartition("-")
        place, size = (topic, int(number)), int(part["size"])
        largest[place] = max(largest.get(place, 0), size)
        total += size
    return Sizes(largest, total)


def lacking(
    before: Sizes, after: Sizes, times: float, kept_bytes: Mapping[str, int], free_bytes: int
) -> list[str]:
    """Say in numbers where there is no room for a flood.

    Args:
        before, after: the backlog, all of it scored.
        times: how often the backlog's records come in the whole run, the backlog included.
        kept_bytes: of each topic's partitions, `retention.bytes`; less than 0: without bound.
        free_bytes: of this machine's disk, on which all replicas lie.

    """
    found = []
    for topic, bound in sorted(kept_bytes.items()):
        parts = {part for part in after.largest if part[0] == topic}
        needed = max((_grown(before, after, part) for part in parts), default=0) * times * MARGIN
        if 0 <= bound < needed:
            found.append(
                f"a partition of {topic} needs {needed / 1e6:,.0f} MB and keeps {bound / 1e6:,.0f} MB"
            )
    needed = (after.total - before.total) * times * MARGIN * (1 + LAKE_SHARE) + SPARE_BYTES
    if free_bytes < needed:
        found.append(f"the disk needs {needed / 1e9:.1f} GB and has {free_bytes / 1e9:.1f} GB")
    return found


def _grown(before: Sizes, after: Sizes, part: tuple[str, int]) -> int:
    # retention may have deleted a segment meanwhile
    return max(after.largest[part] - before.largest.get(part, 0), 0)
