"""Reports of a run for other programs: one JSON file for each command."""

import math
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from clients.process import ClientError, write_file
from flink_jobs.domain.json_errors import NOT_THE_JSON


class ProducerReport(msgspec.Struct, frozen=True):
    """The producer's report: the records that it sent, and their place in Kafka.

    Attributes:
        started_at: clock of this machine before the first record.
        ended_at: the same after the last was confirmed.
        sent: records that Kafka confirmed.
        failed: records that it did not.
        rate_tps: confirmed records a second, over the whole run.
        topic: where they went.
        offsets: for each partition its first offset and the one after its last, as Kafka confirmed them.
        contiguous: whether only this run wrote between its first and last offset of each partition.
        fraud_ids: ids of the transactions sent that are known frauds; None where the data has no labels.
        overwritten: records that Kafka confirmed at offsets it had given to others before: it lost those.

    """

    started_at: datetime
    ended_at: datetime
    sent: int
    failed: int
    rate_tps: float
    topic: str
    offsets: dict[int, tuple[int, int]]
    contiguous: bool
    fraud_ids: list[str] | None
    overwritten: int = 0

    @property
    def lost_by_kafka(self) -> int:
        """Records that Kafka confirmed and did not keep, as others have their places.

        Reports from before `overwritten` tell only that more were confirmed than there are places.
        """
        places = sum(end - first for first, end in self.offsets.values())
        return max(self.overwritten, self.sent - places)


class Latency(msgspec.Struct, frozen=True):
    """Percentiles in milliseconds."""

    p50: float
    p99: float


class ConsumerReport(msgspec.Struct, frozen=True):
    """The consumer's report: the alerts that it received.

    Attributes:
        ready_at: from when on no alert was missed.
        alerts: alerts received, repeats dropped.
        repeated: repeats dropped.
        unreadable: records that were no alerts.
        latency_ms: from when Kafka took the transaction to receipt, over `latencies_ms`; None without any.
        latencies_ms: of the latest alerts (at most 10,000) on transactions sent since `ready_at`.

    """

    ready_at: datetime
    alerts: int
    repeated: int
    unreadable: int
    latency_ms: Latency | None
    latencies_ms: list[float]


class AuditReport(msgspec.Struct, frozen=True):
    """The audit's report; "records" are those between the producer's first and last offset of each partition.

    Attributes:
        sent: records of the run.
        scored: records with a prediction.
        alerts: distinct transactions alerted on.
        alerts_fraud: known frauds among these transactions; None where the data has no labels.
        lake_rows: rows of the run in the lake.
        lost: records with neither prediction nor dead letter, and those that Kafka lost.
        repeated: predictions beyond the first of a record; consumers drop them.
        p50_ms: median latency; None without alerts.
        p99_ms: its 99th percentile.
        latency: what the latency spans: "kafka_to_consumer" or "kafka_to_score".
        failed: records that Kafka never confirmed to the producer.
        dead_letters: records refused, distinct.
        lake_missing: records that are not in the lake.
        lake_repeated: rows beyond the first of a record.
        lost_by_kafka: records that Kafka confirmed and did not keep, as others have their places.

    """

    sent: int
    scored: int
    alerts: int
    alerts_fraud: int | None
    lake_rows: int
    lost: int
    repeated: int
    p50_ms: float | None
    p99_ms: float | None
    latency: str
    failed: int
    dead_letters: int
    lake_missing: int
    lake_repeated: int
    lost_by_kafka: int

    @property
    def clean(self) -> bool:
        """Whether no record is lost, and the lake has each exactly once."""
        return not (self.lost or self.lake_missing or self.lake_repeated)


Report = TypeVar("Report", ProducerReport, ConsumerReport)


def write_report(path: Path, report: msgspec.Struct) -> None:
    """Write a report as JSON; ClientError as for `write_file`."""
    # JSON has no integer keys; partitions are written as text and read back as numbers.
    write_file(path, msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")


def read_report(path: Path, kind: type[Report]) -> Report:
    """Read a report.

    Raises:
        ClientError: no such file, or not such a report.

    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise ClientError(f"cannot read {path}: {error.strerror}; `--report {path}` writes it") from None
    except NOT_THE_JSON as error:
        raise ClientError(f"{path} is no {kind.__name__}: {error}") from None


def latency(samples_ms: Iterable[float]) -> Latency | None:
    """Percentiles of `samples_ms`; None without samples."""
    ordered = sorted(samples_ms)
    if not ordered:
        return None
    return Latency(percentile(ordered, 0.50), percentile(ordered, 0.99))


def percentile(ordered: list[float], share: float) -> float:
    """Return the smallest value that `share` of the ascending `ordered` does not exceed (nearest rank)."""
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]
