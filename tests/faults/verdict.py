"""What became of the records of a row, read from Kafka and the lake."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import lake_counts
import topics
from checks import (
    Acknowledged,
    Identified,
    LakeCount,
    Times,
    alerts_differing,
    differing,
    labels_lost,
    lost,
    not_kept,
    problems_of,
    served_by,
)
from darkness import Place
from recomputed import Replay
from topics import Offsets

from clients.reconciliation import OffsetRanges
from flink_jobs.domain.scoring import Prediction, Record
from flink_jobs.store.lake import LABELS_FOLDER, folders_of, open_lake
from flink_jobs.store.model_registry import ModelRegistry
from flink_jobs.store.settings import Settings


class Verdict(NamedTuple):
    """What is wrong with the records.

    Attributes:
        lost: acknowledged, and neither scored nor, if they are poison, refused.
        differing: predictions that are not as recomputed; None where they cannot be, as the keys are others.
        repeated: predictions beyond the first of a record; consumers drop them.
        alerts: ids that are alerted on wrongly, or not.
        lake: missing and repeated rows, by folder.
        labels: acknowledged, and not in the topic or not in the lake.
        not_kept: places of transactions at which Kafka lost what it had acknowledged.
        went_back: partitions that end before where they ended at the begin, in words.

    """

    lost: list[Place]
    differing: list[Place] | None
    repeated: int
    alerts: list[str]
    lake: dict[str, LakeCount]
    labels: Sequence[Place] = ()
    not_kept: Sequence[Place] = ()
    went_back: Sequence[str] = ()

    def counts(self) -> dict[str, int | None]:
        """Count each kind, as it is kept in JSON."""
        return {
            "lost": len(self.lost),
            "labels_lost": len(self.labels),
            "not_kept": len(self.not_kept),
            "repeated": self.repeated,
            "missing_in_lake": sum(each.missing for each in self.lake.values()),
            "repeated_in_lake": sum(each.repeated for each in self.lake.values()),
            "differing": None if self.differing is None else len(self.differing),
            "alerts_differing": len(self.alerts),
        }

    def problems(self, jobs: Sequence[str], services: Sequence[str], times: Times | None = None) -> list[str]:
        """Say in words what does not hold of records, jobs, services and times, as `problems_of`."""
        return problems_of(
            lost=self.lost,
            differing=self.differing or [],
            alerts=self.alerts,
            lake=self.lake,
            jobs=jobs,
            services=services,
            times=times,
            labels=self.labels,
            not_kept=self.not_kept,
            went_back=self.went_back,
        )


def judge(  # noqa: PLR0913, PLR0917 - a row's own values
    settings: Settings,
    mark: str,
    acknowledged: Collection[Acknowledged],
    labels: Iterable[Identified],
    begin: Offsets,
    end: Offsets,
    since: datetime,
    *,
    by_customer: bool,
) -> Verdict:
    """Read what lies between two ends of the topics, and compare.

    Args:
        settings: where everything is.
        mark: with which the ids of the row's transactions and customers begin.
        acknowledged: transactions and poison of the row.
        labels: of the row, that Kafka acknowledged.
        begin: where the topics ended before the row.
        end: where they ended after it.
        since: when the row began.
        by_customer: whether records of a customer are all in one partition, in the order of their making.

    Raises:
        NotReadError: Kafka does not give the records.
        NotReleasedError: a prediction names what was never released.
        LakeError, ObjectStoreError: the lake or a model cannot be read.

    """
    names = settings.topics
    wanted = wanted_places(settings, begin, end)
    predictions = [
        each
        for each in topics.predictions(topics.read(settings, names.predictions, wanted[names.predictions]))
        if each.transaction_id.startswith(f"{mark}-")
    ]
    predicted = {(each.partition, each.offset, each.transaction_id) for each in predictions}
    refused = topics.places(topics.read(settings, names.transactions_dlq, wanted[names.transactions_dlq]))
    alerts = topics.alerted(topics.read(settings, names.fraud_alerts, wanted[names.fraud_alerts]), mark)
    wrong = None
    if by_customer:
        records = topics.transactions(topics.read(settings, names.transactions, wanted[names.transactions]))
        own = [record for record in records if f'"{mark}-'.encode() in record.payload]
        wrong = not_as_recomputed(settings, own, predictions)
    of_labels = topics.read(settings, names.fraud_labels, wanted[names.fraud_labels])
    labelled = topics.labelled(((each.partition, each.offset, each.value or b"") for each in of_labels), mark)
    # this waits for the lake, so its labels are read after it
    lake = in_lake(settings, wanted, since)
    stored = topics.labelled(
        (
            (each.partition, each.offset, each.payload)
            for each in open_lake(settings, LABELS_FOLDER).records(since.timestamp())
        ),
        mark,
    )
    return Verdict(
        lost(acknowledged, predicted, refused),
        wrong,
        len(predictions) - len(predicted),
        alerts_differing(predictions, alerts),
        lake,
        labels_lost(labels, labelled, stored),
        not_kept(acknowledged, begin[names.transactions], end[names.transactions]),
        topics.went_back(begin, end),
    )


def wanted_places(settings: Settings, begin: Offsets, end: Offsets) -> dict[str, OffsetRanges]:
    """Give what came into each topic between two ends."""
    return {topic: topics.ranges(begin[topic], end[topic]) for topic in folders_of(settings.topics)}


def not_as_recomputed(
    settings: Settings, records: Sequence[Record], predictions: Sequence[Prediction]
) -> list[Place]:
    """Compute the predictions of records anew, with the models that they name; give those that differ."""
    replay = Replay(ModelRegistry(settings), settings.currency, settings.control_share)
    recomputed = replay.predictions(records, {served_by(each) for each in predictions})
    return differing(predictions, recomputed)


def in_lake(settings: Settings, wanted: Mapping[str, OffsetRanges], since: datetime) -> dict[str, LakeCount]:
    """Count what the lake lacks and repeats of what came into each topic, by folder."""
    return lake_counts.count(
        lambda folder: open_lake(settings, folder),
        {folder: wanted[topic] for topic, folder in folders_of(settings.topics).items()},
        since,
        lambda: datetime.now(UTC),
    )
