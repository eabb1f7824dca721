"""Choice of a job's snapshots that no job needs any more."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# A folder of checkpoints is named by its job's id, a savepoint's by parts of that and a random number. Files
# in one name those in others by their whole path: an incremental checkpoint refers to files of a former job.
UNIT = re.compile(rb"savepoint-[0-9a-f]{6}-[0-9a-f]{12}|(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")


class Store(Protocol):
    """Where snapshots lie."""

    def list_files(self, folder: str) -> list[tuple[str, float]]:
        """Give (path below the folder, time of change in s since 1970) of each file in it."""

    def read(self, folder: str, path: str) -> bytes:
        """Give a file's content."""


@dataclass
class Unit:
    """A folder that is kept or deleted as a whole.

    Attributes:
        changed_s: when one of its files was last written.
        completed_s: when its last snapshot was complete, 0 if it has none.

    """

    folder: str
    name: str
    changed_s: float = 0
    completed_s: float = 0
    metadata: list[str] = field(default_factory=list)


def list_units(store: Store, folders: Iterable[str]) -> dict[str, Unit]:
    """Give the units in the folders, by name."""
    units: dict[str, Unit] = {}
    for folder in folders:
        for path, changed_s in store.list_files(folder):
            name = path.partition("/")[0]
            if not UNIT.fullmatch(name.encode()):
                continue
            unit = units.setdefault(name, Unit(folder, name))
            unit.changed_s = max(unit.changed_s, changed_s)
            if path.endswith("/_metadata"):
                unit.completed_s = max(unit.completed_s, changed_s)
                unit.metadata.append(path)
    return units


def find_unneeded(
    units: dict[str, Unit],
    in_use: Iterable[str],
    keep: int,
    settled_before_s: float,
    read: Callable[[Unit, str], bytes],
) -> list[Unit]:
    """Give the units that may be deleted.

    Units stay that a job uses, the newest ones, recently changed ones, and all to which one of these refers.

    Args:
        units: all there are, by name.
        in_use: ids of jobs that have not ended, and paths of the snapshots that they began with.
        keep: how many of the newest complete ones stay.
        settled_before_s: units that changed since then, in s since 1970, stay.
        read: gives the content of a unit's file.

    """
    newest = sorted((unit for unit in units.values() if unit.completed_s), key=lambda unit: -unit.completed_s)
    names = {name.decode() for place in in_use for name in UNIT.findall(place.encode())}
    names |= {unit.name for unit in newest[:keep]}
    names |= {unit.name for unit in units.values() if unit.changed_s >= settled_before_s}
    needed: set[str] = set()
    while waiting := (names & units.keys()) - needed:
        name = waiting.pop()
        needed.add(name)
        for path in units[name].metadata:
            names |= {found.decode() for found in UNIT.findall(read(units[name], path))}
    return [unit for name, unit in sorted(units.items()) if name not in needed]
