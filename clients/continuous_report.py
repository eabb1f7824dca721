"""What a look of the continuous audit found: as JSON, as metrics for Prometheus, and as sentences."""

from collections.abc import Iterator
from datetime import datetime

import msgspec


class ContinuousReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result.

    Attributes:
        at: when the look ended.
        began_at: transactions since then are audited.
        audited_to: all that there was then was older than the lag, and asked about.
        audited: so many of them.
        lost: without prediction and dead letter.
        lake_missing: not in the lake.
        lake_repeated: rows in the lake beyond the first of a transaction, since that was accepted last.
        repeated: predictions and dead letters beyond the first of a transaction, which is not wrong.
        deleted: deleted by Kafka before they could be audited.
        first_lost: the first places, partition-offset.
        first_missing: the same.
        repeated_in: files with such rows, the first few.
        begun_anew: why this look began the audit anew; "" where it did not.
        lake_unread: why it could not read the lake; "" where it could.
        answers_read: predictions and dead letters that it read.
        rows_read: rows of the lake that it read.
        lake_requests: its requests to MinIO.
        processor_s: processor time of its process, the start included.

    """

    at: datetime
    began_at: datetime
    audited_to: datetime
    audited: int
    lost: int
    lake_missing: int
    lake_repeated: int
    repeated: int
    deleted: int
    first_lost: list[str]
    first_missing: list[str]
    repeated_in: list[str]
    begun_anew: str
    lake_unread: str
    answers_read: int
    rows_read: int
    lake_requests: int
    processor_s: float


def sentences(report: ContinuousReport) -> Iterator[str]:
    """Say the result, and then, a sentence each, what rings."""
    yield (
        f"{report.audited:,} transactions since {_time(report.began_at)}, audited up to those of "
        f"{_time(report.audited_to)}: {report.lost:,} lost, {report.lake_missing:,} missing from the lake, "
        f"{report.lake_repeated:,} there twice; {report.repeated:,} predictions repeated"
    )
    if report.begun_anew:
        yield f"began anew, and asks about nothing that came before: {report.begun_anew}"
    if report.lost:
        yield (
            f"{report.lost:,} transactions have neither prediction nor dead letter, the first "
            f"(partition-offset): {', '.join(report.first_lost)}. Does ml_inference_job run? `flink list`"
        )
    if report.lake_missing:
        yield (
            f"{report.lake_missing:,} transactions are not in the lake, the first (partition-offset): "
            f"{', '.join(report.first_missing)}. Does kafka_to_minio_job run, and do its checkpoints succeed?"
        )
    if report.lake_repeated:
        yield (
            f"{report.lake_repeated:,} rows repeat a transaction that the lake has already, in "
            f"{', '.join(report.repeated_in)}"
        )
    if report.lake_unread:
        yield report.lake_unread


def metrics(report: ContinuousReport) -> str:
    """Write it as the text that a Prometheus exporter of files reads."""
    values = (
        ("lost", "gauge", "Transactions without prediction and dead letter.", report.lost),
        ("lake_missing", "gauge", "Transactions that are not in the lake.", report.lake_missing),
        (
            "lake_repeated",
            "gauge",
            "Rows in the lake beyond the first of a transaction.",
            report.lake_repeated,
        ),
        ("repeated_total", "counter", "Predictions beyond the first of a transaction.", report.repeated),
        ("deleted_total", "counter", "Transactions deleted before they were audited.", report.deleted),
        ("audited_total", "counter", "Transactions asked about.", report.audited),
        ("lake_readable", "gauge", "Whether the lake could be read.", int(not report.lake_unread)),
        (
            "audited_to_seconds",
            "gauge",
            "Older ones were asked about, since 1970.",
            report.audited_to.timestamp(),
        ),
        ("ended_seconds", "gauge", "When the last run ended, since 1970.", report.at.timestamp()),
        ("processor_seconds", "gauge", "Processor time of the last run.", report.processor_s),
        ("lake_requests", "gauge", "Requests of the last run to MinIO.", report.lake_requests),
    )
    return "".join(
        f"# HELP fraud_audit_{name} {meaning}\n# TYPE fraud_audit_{name} {kind}\nfraud_audit_{name} {value}\n"
        for name, kind, meaning, value in values
    )


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
