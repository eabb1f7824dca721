"""What has to hold after a fault, checked on what was read; nothing here asks a host."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from darkness import Place, Span

from clients.reconciliation import OffsetCounts
from flink_jobs.domain.scoring import Prediction

# Partition, offset and transaction id: Kafka gives a place anew where it lost what was there.
Identified = tuple[int, int, str]
# model and table of terminal risk, as a prediction names them
Served = tuple[str, str | None]
# A broker's session: what it led waits for so long, though predictions of other partitions come.
LEAST_LAG_S = 10.0
# so many places or ids are named in a problem
NAMED = 3


class Acknowledged(NamedTuple):
    """A record that Kafka confirmed.

    Attributes:
        place: partition and offset.
        at_s: when, in seconds since 1970, by this machine's clock.
        transaction_id: None of poison, which cannot be read and has to be refused.

    """

    place: Place
    at_s: float
    transaction_id: str | None

    @property
    def poison(self) -> bool:
        """Whether it has to be refused."""
        return self.transaction_id is None


class LakeCount(NamedTuple):
    """Rows of a topic's records in the lake: missing, and beyond the first of a record."""

    missing: int
    repeated: int

    @classmethod
    def of(cls, counts: OffsetCounts, records: int) -> "LakeCount":
        """Take what was counted of so many records."""
        return cls(records - counts.distinct, counts.repeated)


class Times(NamedTuple):
    """How long it was dark, and records waited; limits in seconds.

    Attributes:
        dark: the longest time without a prediction while records were acknowledged.
        lag: the longest time for which records waited.
        limit_s: of the darkness.

    """

    dark: Span
    lag: Span
    limit_s: float

    @property
    def lag_limit_s(self) -> float:
        """Twice the dark time."""
        return 2 * max(self.dark.seconds, LEAST_LAG_S)

    def problems(self) -> list[str]:
        """Say what took too long."""
        found = []
        if self.dark.seconds > self.limit_s:
            found.append(f"dark for {self.dark.seconds:.1f} s, {self.limit_s:g} s are allowed")
        if self.lag.seconds > self.lag_limit_s:
            found.append(f"records waited for {self.lag.seconds:.1f} s, {self.lag_limit_s:.1f} s are allowed")
        return found


def lost(
    acknowledged: Iterable[Acknowledged], predicted: Collection[Identified], refused: Collection[Place]
) -> list[Place]:
    """Find records that were acknowledged and have no prediction, or if they are poison no dead letter.

    A prediction of another transaction at the same place is none of theirs.
    """
    return [
        place
        for place, _, name in acknowledged
        if (place not in refused if name is None else (*place, name) not in predicted)
    ]


def labels_lost(acknowledged: Iterable[Identified], *found: Collection[Identified]) -> list[Place]:
    """Find labels that were acknowledged and are not in each of these, such as the topic and the lake."""
    return [
        (partition, offset)
        for partition, offset, name in acknowledged
        if not all((partition, offset, name) in each for each in found)
    ]


def not_kept(
    acknowledged: Iterable[Acknowledged], begin: Mapping[int, int], end: Mapping[int, int]
) -> list[Place]:
    """Find places of which Kafka lost a record: acknowledged once more, or not between a topic's two ends.

    Args:
        acknowledged: all records that were sent in between.
        begin: by partition, the offset after its last record before them.
        end: the same after them.

    """
    met: set[Place] = set()
    found = []
    for place, *_ in acknowledged:
        partition, offset = place
        if place in met or not begin.get(partition, 0) <= offset < end.get(partition, 0):
            found.append(place)
        met.add(place)
    return found


def differing(
    predictions: Iterable[Prediction], recomputed: Mapping[Served, Mapping[Place, Prediction]]
) -> list[Place]:
    """Find predictions, repeats included, that are not to the last bit what a clean replay gives.

    Args:
        predictions: of records whose customers have no other records than those replayed.
        recomputed: by the model and risk that a prediction names.

    """
    return [
        (each.partition, each.offset)
        for each in predictions
        if _bits(each) != _bits(_expected(recomputed, each))
    ]


def served_by(prediction: Prediction) -> Served:
    """Tell which model and table of terminal risk a prediction names."""
    return prediction.model_version, prediction.risk_version


def alerts_differing(predictions: Iterable[Prediction], alerts: Collection[str]) -> list[str]:
    """Find ids of transactions that were to raise an alert and raised none, or the other way round.

    Of a prediction that raises an alert, the message has features, and it is no control transaction.
    """
    alerting = {
        each.transaction_id
        for each in predictions
        if each.features is not None and each.control_probability is None
    }
    return sorted(alerting.symmetric_difference(alerts))


def jobs_wrong(expected: Iterable[str], found: Iterable[str]) -> list[str]:
    """Say which jobs are there more than once, or not at all."""
    count = Counter(found)
    wrong = [f"{name} is there {times} times" for name, times in sorted(count.items()) if times > 1]
    return wrong + [f"{name} is not there" for name in sorted(set(expected) - count.keys())]


def problems_of(  # noqa: PLR0913 - a row's findings, each by its name
    *,
    lost: Sequence[Place],
    differing: Sequence[Place],
    alerts: Sequence[str],
    lake: Mapping[str, LakeCount],
    jobs: Sequence[str],
    services: Sequence[str],
    times: Times | None = None,
    labels: Sequence[Place] = (),
    not_kept: Sequence[Place] = (),
    went_back: Sequence[str] = (),
) -> list[str]:
    """Say in words what does not hold; empty where all does. Without `times`, nothing was timed."""
    found = []
    if lost:
        found.append(f"{len(lost)} acknowledged records are lost: {_named(lost)}")
    if labels:
        found.append(f"{len(labels)} acknowledged labels are not in topic and lake: {_named(labels)}")
    if not_kept:
        found.append(f"Kafka did not keep what it acknowledged at {len(not_kept)} places: {_named(not_kept)}")
    found += went_back
    if differing:
        found.append(f"{len(differing)} predictions are not as recomputed: {_named(differing)}")
    if alerts:
        found.append(f"{len(alerts)} transactions are alerted on wrongly or not: {_named(alerts)}")
    for folder, count in lake.items():
        if count.missing:
            found.append(f"the lake's {folder} misses {count.missing} records")
        if count.repeated:
            found.append(f"the lake's {folder} has {count.repeated} rows beyond the first of a record")
    return [*found, *jobs, *services, *(times.problems() if times else [])]


def _named(found: Sequence[object]) -> str:
    words = ["-".join(map(str, each)) if isinstance(each, tuple) else str(each) for each in found[:NAMED]]
    return ", ".join(words) + (", …" if len(found) > NAMED else "")


def _bits(prediction: Prediction | None) -> bytes | None:
    """Give all of a prediction, without what a challenger said, on which no alert depends.

    As JSON, which tells 0.0 from -0.0 and each float from the next.
    """
    if prediction is None:
        return None
    alone = msgspec.structs.replace(prediction, challenger_score=None, challenger_version=None)
    return msgspec.json.encode(alone)


def _expected(
    recomputed: Mapping[Served, Mapping[Place, Prediction]], prediction: Prediction
) -> Prediction | None:
    return recomputed.get(served_by(prediction), {}).get((prediction.partition, prediction.offset))
