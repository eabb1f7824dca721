"""What became of a flood's records: as `verdict.judge`, for millions of them.

All predictions are read, and of each its place is counted. Kept and computed anew are those of the sampled
customers, who made the first and the last records of the flood.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import topics
from checks import alerts_differing
from darkness import Place
from flood_load import SAMPLE, Load
from topics import Offsets
from verdict import Verdict, in_lake, not_as_recomputed, wanted_places

from clients.reconciliation import OffsetCounts, OffsetRanges
from flink_jobs.domain.scoring import Prediction
from flink_jobs.store.settings import Settings


class Predictions(NamedTuple):
    """What was found of all predictions.

    Attributes:
        counts: by the places of their transactions.
        alerting: those whose messages have features, of alerts and controls; without these features.
        sampled: of sampled customers, repeats included.

    """

    counts: OffsetCounts
    alerting: list[Prediction]
    sampled: list[Prediction]


def predictions(records: Iterable[Any], wanted: OffsetRanges, sample: frozenset[Place]) -> Predictions:
    """Look at each prediction once.

    Args:
        records: of the topic `predictions`.
        wanted: the flood's places.
        sample: places of which predictions are kept.

    """
    found = Predictions(OffsetCounts(wanted), [], [])
    decode = msgspec.json.Decoder(Prediction).decode
    for record in records:
        each = decode(record.value)
        if not found.counts.add(each.partition, each.offset):
            continue
        if each.features is not None:
            found.alerting.append(msgspec.structs.replace(each, features={}))
        if (each.partition, each.offset) in sample:
            found.sampled.append(each)
    return found


def missing(counts: OffsetCounts) -> list[Place]:
    """Give the places that were not met."""
    return [
        (part, offset)
        for part, offsets in counts.missing_from_both(counts).items()
        for offset in offsets.tolist()
    ]


def edges(wanted: OffsetRanges, most: int) -> list[OffsetRanges]:
    """Give the first and the last offsets of each partition, so many at most, and none twice."""
    first = {part: (begin, min(begin + most, end)) for part, (begin, end) in wanted.items()}
    last = {part: (max(end - most, first[part][1]), end) for part, (_, end) in wanted.items()}
    return [first, {part: (begin, end) for part, (begin, end) in last.items() if begin < end}]


def judge(  # noqa: PLR0913, PLR0917 - a run's own values
    settings: Settings, load: Load, begin: Offsets, flood: Mapping[int, int], end: Offsets, since: datetime
) -> tuple[Verdict, int]:
    """Read what lies between two ends of the topics, and compare; tell also how many were computed anew.

    Args:
        settings: where everything is.
        load: made the records.
        begin: where the topics ended before the run.
        flood: where the partitions of `transactions` ended before the flood.
        end: where the topics ended after it.
        since: when the run began.

    Raises:
        NotReadError, NotReleasedError, LakeError, ObjectStoreError: as for `verdict.judge`.

    """
    names = settings.topics
    wanted = wanted_places(settings, begin, end)
    own = [
        record
        for part in edges(topics.ranges(flood, end[names.transactions]), SAMPLE)
        for record in topics.transactions(topics.read(settings, names.transactions, part))
        if f'"{load.sampled}'.encode() in record.payload
    ]
    found = predictions(
        topics.read(settings, names.predictions, wanted[names.predictions]),
        wanted[names.transactions],
        frozenset((record.partition, record.offset) for record in own),
    )
    alerts = topics.alerted(topics.read(settings, names.fraud_alerts, wanted[names.fraud_alerts]), load.mark)
    verdict = Verdict(
        missing(found.counts),
        not_as_recomputed(settings, own, found.sampled),
        found.counts.repeated,
        alerts_differing(found.alerting, alerts),
        in_lake(settings, wanted, since),
        # whoever sends the flood does not tell where each record lies
        went_back=topics.went_back(begin, end),
    )
    return verdict, len(own)
