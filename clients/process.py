"""Parts of running commands: errors, ending in good order, periods, files for other programs."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType


class ClientError(RuntimeError):
    """What happened, where, and what to do about it; shown to the user as it is."""


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
        """The exit code that a shell expects of a command that this signal ended."""
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
