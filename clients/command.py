"""What the commands share: common options, errors without traceback, signals, files for other programs."""

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from kafka.errors import KafkaError

from flink_jobs.store.lake import LakeError
from flink_jobs.store.object_store import ObjectStoreError
from flink_jobs.store.settings import SettingsError

EXIT_FAILED = 1
EXIT_ERROR = 2


class ClientError(RuntimeError):
    """What happened, where, and what to do about it; shown to the user as it is."""


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
        help="where Kafka and MinIO are (default: $FRAUD_SETTINGS, else build/lab/settings.json, "
        "else /etc/fraud-detection/settings.json)",
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
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader went away (`| head`); what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


class Stop:
    """Ctrl-C or SIGTERM asks the command to finish in good order; a second one ends it at once.

    Attributes:
        signal: number of the signal received, 0 while there was none.

    """

    def __init__(self) -> None:
        self.signal = 0

    def listen(self) -> "Stop":
        """Install the handlers; only the main thread may."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)
        return self

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number

    def __bool__(self) -> bool:
        return self.signal != 0

    @property
    def exit_code(self) -> int:
        """What a shell expects of a command that was ended by this signal."""
        return 128 + self.signal


class Every:
    """True once in each period: `if due():`."""

    def __init__(self, period_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._period_s = period_s
        self._clock = clock
        self._next = clock() + period_s

    def __call__(self) -> bool:
        """Tell whether the period is over, and begin the next if it is."""
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + self._period_s
        return True


def write_file(path: Path, content: bytes) -> None:
    """Write `path` as a whole: readers see the old file or the new one, never a part.

    Raises:
        ClientError: the file cannot be written.

    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        raise ClientError(f"cannot write {path}: {error.strerror}") from None


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
