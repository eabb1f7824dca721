"""fraud-consumer: prints fraud alerts as they come, each transaction once."""

import argparse
import sys
import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clients.alerts import ReceivedAlert, RecentIds, decode_alert, shown
from clients.command import argument_parser, positive_float, positive_int, run
from clients.kafka_clients import make_consumer, partitions_of
from clients.process import Every, Stop, write_file
from clients.reports import ConsumerReport, latency, write_report
from flink_jobs.domain.json_errors import NOT_THE_JSON
from flink_jobs.store.settings import Settings, load_settings
from training.printable import printable

KEPT_LATENCIES = 10_000
REPORT_PERIOD_S = 1.0
_POLL_MS = 100

_EPILOG = """\
examples:
  fraud-consumer                            alerts from now on, until Ctrl-C
  fraud-consumer --from-beginning --json    all alerts there are, one JSON object a line, and new ones
  fraud-consumer --group desk --limit 10    ten alerts; the next call of the same group goes on after them
                                            (after an error, with some that were printed already)

Alerts go to stdout, everything else to stderr. The last column is the time from when Kafka took the
transaction to the alert's arrival here. Below an alert stand the features that moved its score most, and by
how much: + towards fraud, - away from it. Ends with 0, also after Ctrl-C or SIGTERM.
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    parser = argument_parser("fraud-consumer", "Follow fraud alerts.", _EPILOG)
    parser.add_argument(
        "--json", action="store_true", help="print the alerts as they are in Kafka, one a line"
    )
    parser.add_argument(
        "--from-beginning",
        action="store_true",
        help="begin with the oldest alert (a group: where it left off)",
    )
    parser.add_argument("--group", metavar="NAME", help="share the alerts with others of this consumer group")
    parser.add_argument("--limit", type=positive_int, metavar="N", help="end after N alerts")
    parser.add_argument(
        "--idle-timeout", type=positive_float, metavar="S", help="end when nothing came for S seconds"
    )
    parser.add_argument(
        "--ready-file", type=Path, metavar="FILE", help="written when no later alert can be missed"
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="keep counts and latencies there as JSON, at most 1 s old"
    )
    return run(_command, parser, argv)


def _command(args: argparse.Namespace) -> int:
    settings = load_settings(args.settings)
    stop = Stop().listen()
    if args.ready_file:
        args.ready_file.unlink(missing_ok=True)
    consumer = make_consumer(
        settings.kafka,
        group_id=args.group,
        auto_offset_reset="earliest" if args.from_beginning else "latest",
    )
    inbox = Inbox(as_json=args.json)
    try:
        early = _assign(consumer, settings, stop, grouped=args.group is not None)
        inbox.ready_at = datetime.now(UTC)
        if not stop:
            print("waiting for alerts (Ctrl-C ends)", file=sys.stderr, flush=True)
            if args.ready_file:
                write_file(args.ready_file, inbox.ready_at.isoformat().encode() + b"\n")
        _follow(consumer, inbox, early, args, stop)
        # it may still be buffered
        sys.stdout.flush()
    except BaseException:
        # a commit takes all that was polled, written or not: then nobody of the group would get it again
        consumer.close(autocommit=False)
        raise
    # leaves the group, and commits what was written
    consumer.close()
    if args.report:
        write_report(args.report, inbox.report())
    print(inbox.summary(), file=sys.stderr)
    return 0


class Inbox:
    """Takes records in, prints each alert once, and counts.

    Attributes:
        ready_at: from when on no alert is missed; latency leaves out earlier transactions, which had waited
            already.
        alerts: number of alerts printed.

    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.ready_at = datetime.now(UTC)
        self.alerts = 0
        self._as_json = as_json
        self._seen = RecentIds()
        self._repeated = 0
        self._unreadable = 0
        self._latencies_ms: deque[float] = deque(maxlen=KEPT_LATENCIES)

    def take(self, record: Any, received: datetime) -> None:  # noqa: ANN401 - kafka-python ships no types
        """Take in one record that came at `received`."""
        try:
            # the decoder does not look at fields that it skips
            (record.value or b"").decode()
            alert = decode_alert(record.value or b"")
        except NOT_THE_JSON as error:
            self._unreadable += 1
            where = f"{record.topic}, partition {record.partition}, offset {record.offset}"
            print(f"no alert: {where}: {printable(str(error))}", file=sys.stderr)
            return
        if not self._seen.add(alert.transaction_id):
            self._repeated += 1
            return
        self.alerts += 1
        if alert.kafka_timestamp_ms >= self.ready_at.timestamp() * 1000:
            self._latencies_ms.append(received.timestamp() * 1000 - alert.kafka_timestamp_ms)
        print(self._text(alert, record.value, received))

    def report(self) -> ConsumerReport:
        """Give the counts so far."""
        return ConsumerReport(
            ready_at=self.ready_at,
            alerts=self.alerts,
            repeated=self._repeated,
            unreadable=self._unreadable,
            latency_ms=latency(self._latencies_ms),
            latencies_ms=[round(sample, 1) for sample in self._latencies_ms],
        )

    def summary(self) -> str:
        """Sum up the counts in a line."""
        text = f"{self.alerts:,} alerts, {self._repeated:,} repeats dropped"
        if self._unreadable:
            text += f", {self._unreadable:,} records that were no alerts"
        if measured := latency(self._latencies_ms):
            text += f"; transaction to alert: p50 {measured.p50:,.0f} ms, p99 {measured.p99:,.0f} ms"
        return text

    def _text(self, alert: ReceivedAlert, value: bytes, received: datetime) -> str:
        if self._as_json:
            # of control characters, these stand only between JSON's tokens, others only within its strings
            return printable(value.decode().translate(dict.fromkeys(b"\t\n\r", " ")))
        return shown(alert, received.astimezone())


def _assign(consumer: Any, settings: Settings, stop: Stop, *, grouped: bool) -> list[Any]:  # noqa: ANN401
    """Return once the first offset of each partition is settled, with records that came meanwhile."""
    partitions = partitions_of(consumer, settings.kafka, [settings.topics.fraud_alerts])
    early: list[Any] = []
    if grouped:
        consumer.subscribe([settings.topics.fraud_alerts])
        while not consumer.assignment() and not stop:
            early += _poll(consumer, 1)
    else:
        consumer.assign(partitions)
    for partition in consumer.assignment():
        consumer.position(partition)
    return early


def _follow(consumer: Any, inbox: Inbox, early: list[Any], args: argparse.Namespace, stop: Stop) -> None:  # noqa: ANN401
    """Take in records until the limit, the idle timeout or `stop`."""
    due = Every(REPORT_PERIOD_S)
    reported = None
    last_s = time.monotonic()
    records = early
    while True:
        received = datetime.now(UTC)
        for record in records:
            inbox.take(record, received)
            if args.limit and inbox.alerts >= args.limit:
                return
        sys.stdout.flush()
        if records:
            last_s = time.monotonic()
        idle_s = time.monotonic() - last_s
        if stop or (args.idle_timeout and idle_s >= args.idle_timeout):
            return
        if args.report and due() and inbox.report() != reported:
            reported = inbox.report()
            write_report(args.report, reported)
        # a group goes on after the last record taken, so take no more than will be printed
        records = _poll(consumer, args.limit and args.limit - inbox.alerts)


def _poll(consumer: Any, most: int | None) -> list[Any]:  # noqa: ANN401 - kafka-python ships no types
    batches = consumer.poll(timeout_ms=_POLL_MS, max_records=most)
    return [record for records in batches.values() for record in records]


if __name__ == "__main__":
    sys.exit(main())
