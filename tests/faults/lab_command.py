"""A command that needs the running lab to itself: one at a time, ended by signals in good order."""

import argparse
import fcntl
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import SubprocessError

from containers import ROOT, HostError
from kafka.errors import KafkaError
from msgspec import MsgspecError
from system import JobError

from flink_jobs.store.lake import LakeError
from training.release_writer import PromotionError

LAB = ROOT / "build/lab"

# What work on the lab may fail with. Flink's and most of ours are RuntimeErrors.
FAILURES = (
    RuntimeError,
    KafkaError,
    JobError,
    LakeError,
    PromotionError,
    OSError,
    ValueError,
    MsgspecError,
    SubprocessError,
)


def new_parser(name: str, about: str | None) -> argparse.ArgumentParser:
    """Begin a command's options with the folder for what it writes."""
    parser = argparse.ArgumentParser(prog=name, description=about)
    parser.add_argument("--output", type=Path, default=ROOT / "build", metavar="DIR")
    return parser


def command(name: str, run: Callable[[], int], failures: tuple[type[Exception], ...], *, ended: str) -> int:
    """Do the work, alone; give the command's status.

    Args:
        name: of the command, for messages.
        run: does it, and gives the status.
        failures: what is told in a line.
        ended: what is true after a signal has ended it.

    """
    # a shell without job control starts commands that ignore SIGINT; both give the lab back
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with _alone():
            return run()
    except KeyboardInterrupt:
        print(f"{name}: ended by a signal, {ended}", file=sys.stderr)
        return 130
    except failures as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1


@contextmanager
def _alone() -> Iterator[None]:
    """Let no other such command of this checkout work on the lab meanwhile; HostError if one does."""
    try:
        file = (LAB / "faults.lock").open("w")
    except OSError:
        raise HostError("there is no lab here; make up brings one up") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HostError("another run of make faults, make soak or make flood is going on") from None
        yield
