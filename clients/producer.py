"""fraud-producer: sends transactions to Kafka at their due time and confirms every one."""

import argparse
import sys
from pathlib import Path

from clients import pacing
from clients.command import EXIT_FAILED, argument_parser, instant, positive_float, positive_int, run
from clients.delivery import Delivery, produce
from clients.kafka_clients import check_topic, make_producer
from clients.process import ClientError, Stop
from clients.progress import make_progress
from clients.reports import ProducerReport, write_report
from clients.transaction_source import read_transactions
from flink_jobs.store.settings import load_settings
from training.column_option import add_columns, location
from training.printable import warn

DEFAULT_RATE_TPS = 100.0

_EPILOG = """\
examples:
  fraud-producer                                   simulated transactions, 100 a second; Ctrl-C ends
  fraud-producer --data july.parquet --rate 1000   a file, evenly
  fraud-producer --data july.parquet --since 2018-07-01 --speedup 3600
                                                   an hour of event time each second, bursts and all
  fraud-producer --data s3://datalake/july.csv --rate max --report build/producer-report.json

CSV and Parquet are read, with the columns transaction_id, event_time, customer_id, terminal_id and amount
(or the Fraud Detection Handbook's names for them, or those that --columns tells), or Time, V1 to V28 and
Amount.
Ends with 0 when every transaction was confirmed, 1 when some were not, 130 after Ctrl-C.
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    parser = argument_parser("fraud-producer", "Send card transactions to Kafka.", _EPILOG)
    parser.add_argument(
        "--data",
        type=location,
        metavar="FILE",
        help="CSV or Parquet, a path or s3://bucket/key (default: simulation)",
    )
    add_columns(parser)
    parser.add_argument("--since", type=instant, metavar="TIME", help="leave out what happened before")
    parser.add_argument("--until", type=instant, metavar="TIME", help="leave out what happened at or after")
    parser.add_argument("--limit", type=positive_int, metavar="N", help="send at most N transactions")
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument(
        "--rate",
        type=_rate,
        default=DEFAULT_RATE_TPS,
        metavar="N",
        help="transactions a second, or max (default: %(default)g)",
    )
    pace.add_argument(
        "--speedup",
        type=positive_float,
        metavar="X",
        help="keep the gaps between event times, X times as fast",
    )
    parser.add_argument("--topic", help="default: the settings' topic for transactions")
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="write what was sent, and to which offsets, as JSON"
    )
    return run(_command, parser, argv)


def _command(args: argparse.Namespace) -> int:
    settings = load_settings(args.settings)
    topic = args.topic or settings.topics.transactions
    if args.columns and not args.data:
        raise ClientError("--columns needs --data, whose columns it tells")
    data = read_transactions(
        args.data, args.since, args.until, args.limit, args.settings, args.columns, args.columns_option
    )
    warn(data.notes)
    if args.speedup:
        schedule = pacing.with_event_gaps(data.first_event_s, args.speedup)
        rate_tps = pacing.mean_rate_tps(data.total, data.first_event_s, data.last_event_s, args.speedup)
    else:
        schedule, rate_tps = pacing.steady(args.rate), args.rate
    producer = make_producer(settings.kafka, rate_tps)
    try:
        check_topic(producer, settings.kafka, topic)
        print(
            f"sending {data.total:,} transactions from {data.source} to {topic} "
            f"at {settings.kafka.bootstrap_servers}",
            file=sys.stderr,
        )
        stop = Stop().listen()
        delivery = Delivery(producer, topic)
        report = produce(data.records, schedule, delivery, make_progress("sent", data.total), stop)
    finally:
        producer.close(timeout=0)
    if args.report:
        write_report(args.report, report)
    print(summary(report, delivery.first_error), flush=True)
    if report.failed:
        return EXIT_FAILED
    return stop.exit_code if stop else 0


def summary(report: ProducerReport, first_error: str) -> str:
    """Sum up the report in a line or two."""
    seconds = (report.ended_at - report.started_at).total_seconds()
    text = f"sent {report.sent:,} transactions in {seconds:,.1f} s ({report.rate_tps:,.0f}/s), each confirmed"
    if report.fraud_ids is not None:
        text += f"; {len(report.fraud_ids):,} are known frauds"
    if report.failed:
        text += f"\n{report.failed:,} were NOT confirmed; the first: {first_error or 'no answer in time'}"
    return text


def _rate(text: str) -> float:
    return float("inf") if text == "max" else positive_float(text)


if __name__ == "__main__":
    sys.exit(main())
