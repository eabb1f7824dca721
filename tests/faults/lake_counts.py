"""How often the lake has each record of the topics."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime

from checks import LakeCount

from clients.reconciliation import OffsetCounts, OffsetRanges, total
from flink_jobs.store.lake import Lake

LAKE_TIMEOUT_S = 120.0
PERIOD_S = 2.0


def count(
    open_folder: Callable[[str], Lake],
    wanted: Mapping[str, OffsetRanges],
    since: datetime,
    now: Callable[[], datetime],
    timeout_s: float = LAKE_TIMEOUT_S,
) -> dict[str, LakeCount]:
    """Count, once all is there or nothing is waited for any more.

    Args:
        open_folder: gives a folder of the lake.
        wanted: offsets of each folder's topic, by partition.
        since: before the first of these records.
        now: the time.
        timeout_s: for all folders together.

    Raises:
        LakeError: the lake cannot be read.

    """
    deadline = time.monotonic() + timeout_s
    found = {}
    for folder, offsets in wanted.items():
        lake, counts = open_folder(folder), OffsetCounts(offsets)
        while True:
            lake.count_new(counts, since, now())
            if counts.distinct == total(offsets) or time.monotonic() > deadline:
                break
            time.sleep(PERIOD_S)
        # what was repeated may have come while the last record was waited for: all is counted once more
        counts = OffsetCounts(offsets)
        open_folder(folder).count_new(counts, since, now())
        found[folder] = LakeCount.of(counts, total(offsets))
    return found
