"""One run at a time for each job of a host."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ansible.module_utils.flink_cluster import JobError

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOK_S = 0.2


@contextmanager
def sole_run(folder: str, name: str, timeout_s: float) -> Iterator[int]:
    """Wait until no other run has the job's lock, and hold the lock meanwhile.

    The lock lasts as long as any process has the descriptor: a Flink client that inherits it and outlives
    this run keeps the next run from submitting the same job.

    Args:
        folder: only root may write there, so that nobody else can hold the lock.
        name: the job's.
        timeout_s: how long to wait.

    Yields:
        The descriptor.

    Raises:
        JobError: another run was not done in time (with its processes), or the file cannot be opened.

    """
    path = Path(folder, f"flink_job-{quote(name, safe='')}.lock")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise JobError(f"The lock of {name} cannot be opened: {error}. Remove what is there.") from error
    try:
        deadline = time.monotonic() + timeout_s
        while not _taken(descriptor):
            if time.monotonic() > deadline:
                raise JobError(
                    f"Another run has been looking after {name} for {timeout_s:.0f} s: "
                    f"{' and '.join(_holders(path)) or 'its process is gone by now'} has {path}. "
                    "Wait until it is done, or end it, and run this again."
                )
            time.sleep(LOOK_S)
        yield descriptor
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holders(path: Path) -> list[str]:
    """Give the other processes that have the file open."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            opened = any(link.readlink() == path for link in process.glob("fd/*"))
            command = process.joinpath("comm").read_text(encoding="utf-8").strip()
        except OSError:
            continue  # it is gone
        if opened and process.name != str(os.getpid()):
            found.append(f"process {process.name} ({command})")
    return found
