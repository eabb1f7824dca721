"""What a look of the continuous audit found: as JSON, as metrics for Prometheus, and as sentences."""

from collections.abc import Iterator
from datetime import datetime

import msgspec

_LAKE_JOB = "Does kafka_to_minio_job run, and do its checkpoints succeed?"


class ContinuousReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result.

    Attributes:
        at: when the look ended.
        began_at: transactions since then are audited.
        audited_to: all that there was then was older than the lag, and asked about.
        audited: so many of them.
        lost: without prediction and dead letter, though the lake has all that there were by then.
        undecided: without them in the lake, which lacks some.
        lake_behind: predictions and dead letters that their topics had, and the lake not yet.
        lake_complete_to: the lake has all predictions and dead letters that there were then.
        lake_missing: not in the lake.
        lake_repeated: rows in the lake beyond the first of a transaction, since that was accepted last.
        repeated: predictions and dead letters beyond the first of a transaction, which is not wrong.
        deleted: deleted by Kafka before they could be audited.
        first_lost: the first places, partition-offset.
        first_undecided: the same.
        first_missing: the same.
        repeated_in: files with such rows, the first few.
        begun_anew: why this look began the audit anew; "" where it did not.
        lake_unread: why it could not read the lake; "" where it could.
        answers_read: predictions and dead letters that it read in the lake.
        rows_read: transactions that it read, in the lake too.
        lake_requests: its requests to MinIO.
        processor_s: processor time of its process, the start included.

    """

    at: datetime
    began_at: datetime
    audited_to: datetime
    audited: int
    lost: int
    undecided: int
    lake_behind: int
    lake_complete_to: datetime
    lake_missing: int
    lake_repeated: int
    repeated: int
    deleted: int
    first_lost: list[str]
    first_undecided: list[str]
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
        f"{_time(report.audited_to)}: {report.lost:,} lost, {report.undecided:,} undecided, "
        f"{report.lake_missing:,} missing from the lake, {report.lake_repeated:,} there twice; "
        f"{report.repeated:,} predictions repeated"
    )
    if report.begun_anew:
        yield f"began anew, and asks about nothing that came before: {report.begun_anew}"
    has = f"the lake has all predictions and dead letters up to {_time(report.lake_complete_to)}"
    if report.lost:
        yield (
            f"{report.lost:,} transactions have neither prediction nor dead letter, the first "
            f"(partition-offset): {', '.join(report.first_lost)}; {has}. "
            "Does ml_inference_job run? `flink list`"
        )
    if report.undecided:
        yield (
            f"{report.undecided:,} transactions have neither prediction nor dead letter in the lake yet, the "
            f"first (partition-offset): {', '.join(report.first_undecided)}; whether they were scored is not "
            f"known: {has}, and lacks {report.lake_behind:,} that came since. {_LAKE_JOB}"
        )
    if report.lake_missing:
        yield (
            f"{report.lake_missing:,} transactions are not in the lake, the first (partition-offset): "
            f"{', '.join(report.first_missing)}; {has}. {_LAKE_JOB}"
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
        (
            "undecided",
            "gauge",
            "Transactions without prediction and dead letter in the lake, which lacks some.",
            report.undecided,
        ),
        ("lake_behind", "gauge", "Predictions and dead letters not in the lake yet.", report.lake_behind),
        (
            "lake_complete_to_seconds",
            "gauge",
            "The lake has all predictions and dead letters of then, since 1970.",
            report.lake_complete_to.timestamp(),
        ),
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
