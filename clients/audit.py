"""fraud-audit: proves that every transaction was scored and stored, of a run of the producer or of all."""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clients import continuous_audit
from clients.command import EXIT_ERROR, EXIT_FAILED, argument_parser, positive_float, run
from clients.continuous_report import ContinuousReport, sentences
from clients.kafka_clients import make_consumer, partitions_of
from clients.process import ClientError, Every, Stop
from clients.reconciliation import OffsetCounts, total
from clients.reports import (
    AuditReport,
    ConsumerReport,
    Latency,
    ProducerReport,
    latency,
    read_report,
    write_report,
)
from clients.run_outcome import RunOutcome
from flink_jobs.store.kafka_servers import answered
from flink_jobs.store.lake import Lake, open_lake
from flink_jobs.store.settings import Settings, load_settings

DEFAULT_TIMEOUT_S = 120.0
DEFAULT_LAG_S = 120.0
# The jobs send prediction and alert of a record together, but to different partitions.
_SETTLE_S = 2.0
# The consumer rewrites its report once a second.
_CONSUMER_GRACE_S = 10.0
_LAKE_PERIOD_S = 2.0
_PROGRESS_PERIOD_S = 5.0
_CLOCK_SLACK_MS = 60_000
_NAMED_LOST = 5

_EPILOG = """\
A run of the producer: reads the topics for predictions, dead letters and alerts, and the lake in MinIO, and
waits until the run is complete in both, or nothing more comes.

All transactions: each run with --state audits what came since the one before; what came before the first is
not asked about. It leaves its state in FOLDER, the result as audit.json, and as audit.prom for Prometheus.

Ends with 1 if a transaction was lost, or is missing from the lake, or lies in it twice; with 2 if that is not
known; with 0 otherwise. A prediction may be repeated after a failure; that is counted, but is not wrong.
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    parser = argument_parser("fraud-audit", "Compare transactions with those scored and stored.", _EPILOG)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--producer-report", type=Path, metavar="FILE", help="of `fraud-producer --report`")
    which.add_argument(
        "--state", type=Path, metavar="FOLDER", help="audit what came since the last run with it"
    )
    of_run = parser.add_argument_group("of a run of the producer")
    of_run.add_argument(
        "--consumer-report",
        type=Path,
        metavar="FILE",
        help="of `fraud-consumer --report`, which may still run; latency is then measured up to the consumer",
    )
    of_run.add_argument("--output", type=Path, metavar="FILE", help="write the result as JSON as well")
    of_run.add_argument(
        "--timeout",
        type=positive_float,
        default=DEFAULT_TIMEOUT_S,
        metavar="S",
        help="give up when nothing of the run came for S seconds (default: %(default)g)",
    )
    of_all = parser.add_argument_group("of all transactions")
    of_all.add_argument(
        "--lag",
        type=positive_float,
        default=DEFAULT_LAG_S,
        metavar="S",
        help="ask about a transaction S seconds after it was seen first (default: %(default)g)",
    )
    instead = of_all.add_mutually_exclusive_group()
    instead.add_argument("--show", action="store_true", help="only tell what the last run found")
    instead.add_argument(
        "--accept",
        action="store_true",
        help="only take what was found for known: no later run tells it again",
    )
    return run(_command, parser, argv)


def _command(args: argparse.Namespace) -> int:
    if args.state is None:
        return _audit_run(args)
    if args.accept:
        print(continuous_audit.accept(args.state))
        return 0
    if args.show:
        report = continuous_audit.last_report(args.state)
        status = _tell(report)
        continuous_audit.check_fresh(report)
        return status
    return _tell(continuous_audit.look(load_settings(args.settings), args.state, args.lag))


def _tell(report: ContinuousReport) -> int:
    """Print a result, what rings on stderr; return its exit status."""
    summary, *alarms = sentences(report)
    print(summary, flush=True)
    for alarm in alarms:
        print(f"fraud-audit: {alarm}", file=sys.stderr)
    if report.lake_unread:
        return EXIT_ERROR
    return EXIT_FAILED if alarms else 0


def _audit_run(args: argparse.Namespace) -> int:
    settings = load_settings(args.settings)
    producer = read_report(args.producer_report, ProducerReport)
    if not producer.sent:
        raise ClientError(f"{args.producer_report}: nothing was sent, so there is nothing to audit")
    stop = Stop().listen()
    outcome = read_topics(settings, producer, args.timeout, stop)
    lake_counts = OffsetCounts(producer.offsets)
    if not stop:
        read_lake(open_lake(settings), producer, lake_counts, args.timeout, stop)
    if stop:
        return stop.exit_code
    consumer = None
    if args.consumer_report:
        consumer = read_consumer_report(args.consumer_report, len(outcome.alert_ids), stop)
    report = reconcile(producer, outcome, lake_counts, consumer)
    if args.output:
        write_report(args.output, report)
    print(audit_table(report, contiguous=producer.contiguous), flush=True)
    for complaint in complaints(producer, outcome, report):
        print(f"fraud-audit: {complaint}", file=sys.stderr)
    return 0 if report.clean else EXIT_FAILED


def read_topics(settings: Settings, producer: ProducerReport, timeout_s: float, stop: Stop) -> RunOutcome:
    """Read from the start of the run on, until each of its records is answered or nothing more comes."""
    topics = settings.topics
    outcome = RunOutcome(producer, topics)
    consumer = make_consumer(settings.kafka, group_id=None, enable_auto_commit=False)
    try:
        partitions = partitions_of(
            consumer, settings.kafka, [topics.predictions, topics.transactions_dlq, topics.fraud_alerts]
        )
        _seek(consumer, partitions, int(producer.started_at.timestamp() * 1000) - _CLOCK_SLACK_MS)
        waiting = _Waiting("scored or refused", total(producer.offsets), timeout_s)
        ends: dict[Any, int] | None = None
        while not stop:
            batches = consumer.poll(timeout_ms=250, max_records=5_000)
            # take in all of them: `any` would stop at the first
            news = sum([outcome.take(record) for records in batches.values() for record in records])
            waiting.progress(outcome.answered, news=news > 0)
            if outcome.lost:
                if waiting.in_vain:
                    break
                continue
            ends = ends or answered(lambda: consumer.end_offsets(partitions))
            if waiting.quiet_s >= _SETTLE_S and all(consumer.position(at) >= end for at, end in ends.items()):
                break
    finally:
        consumer.close()
    return outcome


def read_lake(
    lake: Lake, producer: ProducerReport, counts: OffsetCounts, timeout_s: float, stop: Stop
) -> None:
    """Read the lake's files as they come, until each record of the run is there or nothing more comes."""
    expected = total(producer.offsets)
    waiting = _Waiting("in the lake", expected, timeout_s)
    due = Every(_LAKE_PERIOD_S)
    while not stop:
        before = counts.met
        lake.count_new(counts, producer.started_at, producer.ended_at)
        waiting.progress(counts.distinct, news=counts.met > before)
        if counts.distinct == expected or waiting.in_vain:
            return
        while not due() and not stop:
            time.sleep(0.1)


def read_consumer_report(path: Path, alerts: int, stop: Stop) -> ConsumerReport:
    """Read the report of a consumer that may still run, giving it time to come to `alerts`.

    Raises:
        ClientError: no such file, or no such report.

    """
    deadline_s = time.monotonic() + _CONSUMER_GRACE_S
    while True:
        report = read_report(path, ConsumerReport)
        if report.alerts >= alerts or time.monotonic() > deadline_s or stop:
            return report
        time.sleep(0.25)


def reconcile(
    producer: ProducerReport, outcome: RunOutcome, lake: OffsetCounts, consumer: ConsumerReport | None
) -> AuditReport:
    """Put the counts together."""
    measured: Latency | None = consumer.latency_ms if consumer else None
    span = "kafka_to_consumer"
    if measured is None:
        measured, span = latency(outcome.to_score_ms), "kafka_to_score"
    return AuditReport(
        sent=producer.sent,
        scored=outcome.predictions.distinct,
        alerts=len(outcome.alert_ids),
        alerts_fraud=outcome.alerts_fraud,
        lake_rows=lake.met,
        lost=outcome.lost + producer.lost_by_kafka,
        repeated=outcome.predictions.repeated,
        p50_ms=round(measured.p50, 1) if measured else None,
        p99_ms=round(measured.p99, 1) if measured else None,
        latency=span,
        failed=producer.failed,
        dead_letters=outcome.dead_letters.distinct,
        lake_missing=total(producer.offsets) - lake.distinct,
        lake_repeated=lake.repeated,
        lost_by_kafka=producer.lost_by_kafka,
    )


def complaints(producer: ProducerReport, outcome: RunOutcome, report: AuditReport) -> list[str]:
    """Say what is wrong, and where to look; empty where the report is clean."""
    found = []
    if outcome.lost:
        first = ", ".join(outcome.first_lost(_NAMED_LOST))
        found.append(
            f"{outcome.lost:,} transactions were lost, the first (partition-offset of {producer.topic}): "
            f"{first}. Does ml_inference_job run? `flink list`"
        )
    if report.lost_by_kafka:
        found.append(
            f"Kafka confirmed transactions of the run at places in {producer.topic} that it gave away again "
            f"later: it lost what it had there, of {report.lost_by_kafka:,} transactions. Did brokers lose "
            "their disks or their power together? `journalctl -u kafka`"
        )
    if report.lake_missing or report.lake_repeated:
        found.append(
            "the lake does not hold each transaction once. Does kafka_to_minio_job run, and do its "
            "checkpoints succeed? `flink list`"
        )
    return found


def audit_table(report: AuditReport, *, contiguous: bool = True) -> str:
    """Write the figures for people."""
    to = "alert received" if report.latency == "kafka_to_consumer" else "score"
    rows: list[tuple[str, float | None, str]] = [
        ("sent", report.sent, "transactions that Kafka confirmed"),
        ("scored", report.scored, "of them with a prediction"),
        ("dead letters", report.dead_letters, "refused: not readable as a transaction"),
        ("alerts", report.alerts, "distinct transactions"),
        ("  truly fraud", report.alerts_fraud, "by the data's labels"),
        ("lake rows", report.lake_rows, "in Parquet on MinIO"),
        ("  missing", report.lake_missing, "sent, but not in the lake"),
        ("  repeated", report.lake_repeated, "rows beyond the first of a record"),
        *_lost_rows(report),
        ("repeated", report.repeated, "predictions, before dropping repeats"),
        ("p50", report.p50_ms, f"ms from Kafka to {to}"),
        ("p99", report.p99_ms, f"ms from Kafka to {to}"),
    ]
    if report.failed:
        rows.insert(1, ("not confirmed", report.failed, "sent, but Kafka did not answer"))
    lines = [f"{name:<14} {_figure(value):>12}  {meaning}".rstrip() for name, value, meaning in rows]
    # more records than places have another reason
    if not contiguous and not report.lost_by_kafka:
        lines.append(
            "Others wrote to the topic during the run; what they sent between the run's first and last "
            "offsets is audited with it."
        )
    return "\n".join(lines)


def _lost_rows(report: AuditReport) -> list[tuple[str, float | None, str]]:
    if not report.lost_by_kafka:
        return [("lost", report.lost, "neither scored nor refused")]
    return [
        ("lost", report.lost, "neither scored nor refused, or lost by Kafka"),
        ("  by Kafka", report.lost_by_kafka, "confirmed, and another has the place"),
    ]


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def _seek(consumer: Any, partitions: list[Any], start_ms: int) -> None:  # noqa: ANN401 - kafka-python ships no types
    """Go to the first record at or after `start_ms` in each partition; to the end where there is none."""
    consumer.assign(partitions)
    ends = answered(lambda: consumer.end_offsets(partitions))
    times = answered(lambda: consumer.offsets_for_times(dict.fromkeys(partitions, start_ms)))
    for partition, found in times.items():
        consumer.seek(partition, found.offset if found else ends[partition])


class _Waiting:
    """Shows progress on stderr, and tells when to give up."""

    def __init__(
        self, label: str, expected: int, timeout_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._label = label
        self._expected = expected
        self._timeout_s = timeout_s
        self._clock = clock
        self._last_news_s = clock()
        self._due = Every(_PROGRESS_PERIOD_S, clock)

    def progress(self, done: int, *, news: bool) -> None:
        """Note whether a record of the run came, and print a line now and then."""
        if news:
            self._last_news_s = self._clock()
        if self._due():
            print(f"{done:,} of {self._expected:,} {self._label}", file=sys.stderr, flush=True)

    @property
    def quiet_s(self) -> float:
        """Seconds since the last record came."""
        return self._clock() - self._last_news_s

    @property
    def in_vain(self) -> bool:
        """Whether no record came for so long that none will."""
        return self.quiet_s >= self._timeout_s


if __name__ == "__main__":
    sys.exit(main())
