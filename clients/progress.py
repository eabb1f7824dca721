"""Progress of a command: a bar on a terminal, a line every few seconds elsewhere."""

import importlib.util
import sys
import time
from collections.abc import Callable
from typing import Protocol, TextIO

from clients.process import Every

LINE_PERIOD_S = 5.0
BAR_PERIOD_S = 0.1


class Progress(Protocol):
    """Shows how many are done."""

    def update(self, done: int) -> None:
        """Show `done`, if it is time to."""

    def close(self, done: int) -> None:
        """Show the last figure and leave the terminal as it was."""


def make_progress(label: str, total: int | None) -> Progress:
    """Choose a bar or lines for stderr; stdout stays free for results."""
    if sys.stderr.isatty() and importlib.util.find_spec("rich"):
        return BarProgress(label, total)
    return LineProgress(label, total)


class LineProgress:
    """One line every five seconds: `sent 5,000 of 60,000 (8 %), 1,000/s, 55 s left`."""

    def __init__(
        self,
        label: str,
        total: int | None,
        stream: TextIO = sys.stderr,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label = label
        self._total = total
        self._stream = stream
        self._clock = clock
        self._start = clock()
        self._last = (self._start, 0)
        self._due = Every(LINE_PERIOD_S, clock)

    def update(self, done: int) -> None:
        """Print a line if the period is over."""
        if self._due():
            self._print(done)

    def close(self, done: int) -> None:
        """Print the last line."""
        self._last = (self._start, 0)
        self._print(done)

    def _print(self, done: int) -> None:
        now = self._clock()
        then, done_then = self._last
        self._last = (now, done)
        rate = (done - done_then) / (now - then) if now > then else 0.0
        text = f"{self._label} {done:,}"
        if self._total:
            text += f" of {self._total:,} ({100 * done // self._total} %)"
        text += f", {rate:,.0f}/s"
        if self._total and done < self._total and rate > 0:
            text += f", {duration((self._total - done) / rate)} left"
        print(text, file=self._stream, flush=True)


class BarProgress:
    """A bar in place."""

    def __init__(self, label: str, total: int | None) -> None:
        from rich import progress as rich_progress  # noqa: PLC0415 - an extra: line mode does without it
        from rich.console import Console  # noqa: PLC0415 - as above

        self._bar = rich_progress.Progress(
            rich_progress.TextColumn(label),
            rich_progress.BarColumn(),
            rich_progress.MofNCompleteColumn(),
            rich_progress.TextColumn("{task.fields[rate]:,.0f}/s"),
            rich_progress.TimeRemainingColumn(),
            console=Console(stderr=True),
            # update() draws the bar: a thread would compete with the Kafka client's
            auto_refresh=False,
        )
        self._task = self._bar.add_task(label, total=total, rate=0.0)
        self._start = time.monotonic()
        self._due = Every(BAR_PERIOD_S)
        self._bar.start()

    def update(self, done: int) -> None:
        """Draw the bar if the period is over."""
        if self._due():
            self._draw(done)

    def close(self, done: int) -> None:
        """Draw the bar a last time."""
        self._draw(done)
        self._bar.stop()

    def _draw(self, done: int) -> None:
        elapsed = time.monotonic() - self._start
        self._bar.update(self._task, completed=done, rate=done / elapsed if elapsed else 0.0)
        self._bar.refresh()


def duration(seconds: float) -> str:
    """Write a duration for people: `42 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 - a minute
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004 - an hour
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"
