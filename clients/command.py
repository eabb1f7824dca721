"""What the command lines share: common options, kinds of values, errors without traceback."""

import argparse
import logging
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from kafka.errors import KafkaError

from clients.process import ClientError
from flink_jobs.store.lake import LakeError
from flink_jobs.store.object_store import ObjectStoreError
from flink_jobs.store.settings import SettingsError, defaults_named
from training.closed_pipe import end_quietly
from training.instants import parse_instant
from training.printable import printable

EXIT_FAILED = 1
EXIT_ERROR = 2


def argument_parser(name: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """Make a parser with the options that every command has."""
    parser = argparse.ArgumentParser(
        prog=name,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        help=f"where Kafka and MinIO are (default: {defaults_named()})",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show what the Kafka client logs")
    return parser


def run(
    command: Callable[[argparse.Namespace], int], parser: argparse.ArgumentParser, argv: list[str] | None
) -> int:
    """Parse `argv`, run `command`, and turn expected errors into one line on stderr and exit code 2."""
    args = parser.parse_args(argv)
    logging.basicConfig(
        format="%(asctime)s %(name)s: %(message)s", level=logging.INFO if args.verbose else logging.CRITICAL
    )
    try:
        return command(args)
    except (ClientError, SettingsError, LakeError, ObjectStoreError, KafkaError) as error:
        sys.stdout.flush()
        print("\n".join(map(printable, f"{parser.prog}: {error}".split("\n"))), file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        return end_quietly()


def positive_int(text: str) -> int:
    """Read a whole number above zero; for argparse."""
    value = int(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return value


def positive_float(text: str) -> float:
    """Read a number above zero; for argparse."""
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return value


def instant(text: str) -> datetime:
    """Read a date or a date with time, UTC where it names no zone; for argparse."""
    try:
        return parse_instant(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no date such as 2018-07-01 or 2018-07-01T12:00:00Z"
        ) from None
