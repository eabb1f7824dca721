"""`build/faults.json`: what a run found, row by row, so that a run goes on where it was cut."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clients.process import write_file


class RowsError(RuntimeError):
    """A file that is none of ours."""


class Rows:
    """The rows of a run; each is written as soon as it is there.

    Attributes:
        run: seed, rate and begin of the run, and `faults`: its rows.

    """

    def __init__(self, path: Path, run: dict[str, Any], other_seed: int | None = None) -> None:
        """Take a run; in its file lies another one, of that seed, until the first row is kept."""
        self._path = path
        self._other_seed = other_seed
        self.run = run

    def append(self, row: dict[str, Any]) -> None:
        """Keep one more row; ClientError where the file cannot be written."""
        self.run["faults"].append(row)
        if self._other_seed is not None:
            path = self._path
            path.rename(path.with_name(f"{path.stem}-{self._other_seed}{path.suffix}"))
            self._other_seed = None
        write_file(self._path, json.dumps(self.run, indent=1).encode() + b"\n")

    @property
    def done(self) -> list[tuple[str, int]]:
        """Name and seed of each row that is there."""
        return [(row["name"], row["seed"]) for row in self.run["faults"]]


def open_rows(path: Path, seed: int | None, rate_tps: float, new_seed: int) -> Rows:
    """Go on with the run in a file, or begin one.

    Args:
        path: of the file; one of another run is kept beside it, under its seed.
        seed: of the run that is wanted; None goes on with the one that is there.
        rate_tps: of a run that begins.
        new_seed: for one that begins where no seed is given.

    Raises:
        RowsError: the file is no such run.

    """
    found = read_rows(path)
    if found is not None and (seed is None or found["seed"] == seed):
        return Rows(path, found)
    begun = datetime.now(UTC).isoformat(timespec="seconds")
    run = {"seed": new_seed if seed is None else seed, "rate_tps": rate_tps, "begun": begun, "faults": []}
    return Rows(path, run, None if found is None else found["seed"])


def read_rows(path: Path) -> dict[str, Any] | None:
    """Read a run; None where there is none.

    Raises:
        RowsError: the file is no such run.

    """
    try:
        found = json.loads(path.read_bytes())
        return {"seed": int(found["seed"]), **found, "faults": list(found["faults"])}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise RowsError(f"{path} is no run of faults ({error!r}): move it away") from None
