"""fraud-label: tells the system which transactions were fraud and which were honest."""

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from clients import pacing
from clients.command import EXIT_FAILED, argument_parser, instant, run
from clients.delivery import Delivery, KeyedMessage, produce
from clients.kafka_clients import check_topic, make_producer
from clients.label_files import read_label_file
from clients.process import ClientError, Stop
from clients.progress import make_progress
from clients.reports import write_report
from flink_jobs.domain.label import Label, parse_label
from flink_jobs.store.settings import Settings, load_settings
from training.column_option import add_columns, location
from training.printable import warn

# Control transactions are listed of so many days, and of those before them as many as labels are late: what
# is known after 90 days only would leave the list before anybody knows it.
_LISTED_DAYS = 21

_EPILOG = """\
examples:
  fraud-label 932554 932891 --fraud --by alice     two transactions, known from now on
  fraud-label 932600 --honest --by alice           the latest label of a transaction counts
  fraud-label --data july.parquet --by back-office labels from a file
  fraud-label --control >control.csv               transactions without an alert to look into

A file is CSV or Parquet, a path or s3://bucket/key, with the columns transaction_id and is_fraud (0 or 1),
or the Fraud Detection Handbook's names for them, or those that --columns tells. labelled_by and labelled_at,
where it has them, come before --by and --at. A label counts from when it was known: for transactions of the
past that are streamed today, --days-later 7 says 7 days after event_time.

Chance chooses control transactions among those that raised no alert; their labels tell how many frauds are
missed. --control lists those of the lake that have no label yet, as CSV: fill in is_fraud, leave out rows
that stay open, and give the file to --data. Ends with 0 when every label was confirmed, else as the producer.
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    parser = argument_parser("fraud-label", "Label transactions as fraud or honest.", _EPILOG)
    parser.add_argument("transactions", nargs="*", metavar="TX_ID", help="transaction ids")
    verdict = parser.add_mutually_exclusive_group()
    verdict.add_argument("--fraud", dest="is_fraud", action="store_const", const=True, help="they were fraud")
    verdict.add_argument(
        "--honest", dest="is_fraud", action="store_const", const=False, help="they were honest"
    )
    parser.add_argument("--data", type=location, metavar="FILE", help="labels from a file, instead of TX_ID")
    add_columns(parser)
    parser.add_argument(
        "--control", action="store_true", help="label nothing: list control transactions that have no label"
    )
    parser.add_argument(
        "--since",
        type=instant,
        metavar="TIME",
        help=f"of --control: leave out earlier ones (default: {_LISTED_DAYS} days and the delay of labels "
        "before the last)",
    )
    parser.add_argument("--by", metavar="NAME", help="who says so: a person, a team or a system")
    known = parser.add_mutually_exclusive_group()
    known.add_argument(
        "--at", type=instant, metavar="TIME", help="since when it is known (ISO 8601, UTC; default: now)"
    )
    known.add_argument(
        "--days-later",
        type=_days,
        metavar="N",
        help="… N days after the transaction; the file has its event_time",
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="write what was sent, and to which offsets, as JSON"
    )
    return run(_command, parser, argv)


def _command(args: argparse.Namespace) -> int:
    settings = load_settings(args.settings)
    if args.control:
        return _list_control(args, settings)
    if args.since:
        raise ClientError("--since needs --control, whose list it begins")
    labels = _labels(args)
    topic = settings.topics.fraud_labels
    producer = make_producer(settings.kafka, float("inf"))
    try:
        check_topic(producer, settings.kafka, topic)
        stop = Stop().listen()
        delivery = Delivery(producer, topic)
        progress = make_progress("labelled", len(labels))
        report = produce(_records(labels), pacing.steady(float("inf")), delivery, progress, stop)
    finally:
        producer.close(timeout=0)
    if args.report:
        write_report(args.report, report)
    frauds = len(report.fraud_ids or ())
    honest = report.sent - frauds
    print(f"{report.sent:,} labels sent to {topic}, each confirmed: {frauds:,} fraud, {honest:,} honest")
    if report.failed:
        print(
            f"{report.failed:,} were NOT confirmed; the first: {delivery.first_error or 'no answer in time'}"
        )
        return EXIT_FAILED
    return stop.exit_code if stop else 0


def _list_control(args: argparse.Namespace, settings: Settings) -> int:
    others = (args.transactions, args.data, args.is_fraud is not None, args.by, args.at, args.report)
    if any(others) or args.days_later is not None:
        raise ClientError("--control labels nothing; of the other options, it takes --since and --settings")
    try:
        from clients.control_transactions import (  # noqa: PLC0415 - pandas is slow to load and an extra
            read_control_list,
            write_control_list,
        )
    except ImportError as error:
        raise ClientError(
            f"--control needs {error.name}; pip install 'fraud-detection[training,clients]'"
        ) from None
    found = read_control_list(settings, args.since, settings.label_delay_days + _LISTED_DAYS)
    write_control_list(found.still_open, sys.stdout)
    sys.stdout.flush()
    print(
        f"{len(found.still_open):,} of {found.chosen:,} control transactions since "
        f"{found.since:%Y-%m-%d %H:%M} have no label",
        file=sys.stderr,
    )
    return 0


def _labels(args: argparse.Namespace) -> list[Label]:
    at = args.at or datetime.now(UTC)
    if args.data:
        if args.transactions or args.is_fraud is not None:
            raise ClientError(
                "--data says which transactions were fraud; leave out TX_ID, --fraud and --honest"
            )
        read = read_label_file(
            args.data, args.settings, by=args.by, at=at, days_later=args.days_later, columns=args.columns
        )
        warn(read.notes)
        return read.labels
    if args.columns:
        raise ClientError("--columns needs --data, whose columns it tells")
    if not args.transactions:
        raise ClientError("which transactions? Give TX_ID, or --data FILE")
    if args.is_fraud is None:
        raise ClientError("what were they? Give --fraud or --honest")
    if not args.by:
        raise ClientError("who says so? Give --by NAME")
    if args.days_later is not None:
        raise ClientError("--days-later needs --data, whose event_time it counts from")
    return [checked(Label(name, args.is_fraud, args.by, at), name) for name in args.transactions]


def checked(label: Label, where: str) -> Label:
    """Give the label if the jobs can read it; ClientError says what is wrong, and where."""
    try:
        return parse_label(msgspec.json.encode(label))
    except ValueError as error:
        raise ClientError(f"{where}: {error}") from None


def _records(labels: list[Label]) -> Iterator[KeyedMessage]:
    encode = msgspec.json.Encoder().encode
    for label in labels:
        yield KeyedMessage(
            label.transaction_id.encode(), encode(label), 0.0, label.transaction_id, label.is_fraud
        )


def _days(text: str) -> timedelta:
    days = float(text)
    if not 0 <= days < 10_000:  # noqa: PLR2004 - what a datetime can bear
        raise argparse.ArgumentTypeError(f"{text} is no number of days from 0 to 10000")
    return timedelta(days=days)


if __name__ == "__main__":
    sys.exit(main())
