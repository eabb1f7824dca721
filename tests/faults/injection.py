"""One fault at a time, which ends by itself and is mended, whatever happens meanwhile."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from containers import PRODUCER, Containers, HostError, Step
from harm import Harm

from clients.process import write_file


class Journal:
    """What has to be mended if this process ends now; a file, so that the next one knows."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, name: str, steps: tuple[Step, ...]) -> None:
        """Note how a fault is mended, before it is injected."""
        write_file(self._path, json.dumps({"name": name, "steps": steps}, indent=1).encode())

    def clear(self) -> None:
        """Note that nothing is to be mended any more."""
        self._path.unlink(missing_ok=True)

    def left(self) -> tuple[str, tuple[Step, ...]] | None:
        """Give name and steps of the fault that a process before this left; None without any."""
        try:
            found = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return None
        return found["name"], tuple(Step(*step) for step in found["steps"])

    def mend_left(self, containers: Containers) -> str | None:
        """Mend what was left; name it.

        Raises:
            HostError: it could not be mended; the next call tries again.

        """
        left = self.left()
        if left is None:
            return None
        name, steps = left
        failed = containers.mend([step for step in steps if step.where != PRODUCER])
        if failed:
            raise HostError(f"{name}, which was cut off, could not be mended: {'; '.join(failed)}")
        self.clear()
        return name


class Injection:
    """A harm that is done and mended.

    Attributes:
        failed: what could not be done or mended.

    """

    def __init__(self, name: str, harm: Harm, containers: Containers, journal: Journal) -> None:
        self._name = name
        self._harm = harm
        self._containers = containers
        self._journal = journal
        self.failed: list[str] = []
        self._unmended = False

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Prepare, and tidy up after the block."""
        self._journal.write(self._name, self._harm.undone)
        try:
            for step in self._harm.prepares:
                self._containers.do(step)
            yield
        finally:
            self._mend(self._harm.tidies)
            # what is not mended is tried again by the next row, or the next run
            if not self._unmended:
                self._journal.clear()

    @contextmanager
    def broken(self, producer: Any) -> Iterator[None]:  # noqa: ANN401 - whatever has the settings
        """Break, and mend after the block; where breaking fails, that is noted, and the block is run."""
        try:
            try:
                for step in self._harm.breaks:
                    self._do(step, producer)
            except HostError as error:
                self.failed.append(f"not injected: {error}")
            yield
        finally:
            for step in self._harm.mends:
                if step.where == PRODUCER:
                    self._do(step, producer)
            self._mend(self._harm.mends)

    def _mend(self, steps: tuple[Step, ...]) -> None:
        left = self._containers.mend([step for step in steps if step.where != PRODUCER])
        self._unmended = self._unmended or bool(left)
        self.failed += left

    def _do(self, step: Step, producer: Any) -> None:  # noqa: ANN401 - as above
        if step.where != PRODUCER:
            self._containers.do(step)
            return
        name, _, value = step.command.partition("=")
        if not hasattr(producer, name):
            raise HostError(f"the producer has no setting {name}")
        setattr(producer, name, float(value))
