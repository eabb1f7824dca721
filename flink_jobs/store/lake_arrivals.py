"""What came into a folder of the lake since somebody looked last: rows of files that were not there."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flink_jobs.store.lake_files import ANSWERED_COLUMNS, DAY, PLACE_COLUMNS, LakeFiles

# A prediction's or dead letter's: the place of its transaction, and then its own.
ANSWER_COLUMNS = (*ANSWERED_COLUMNS, *PLACE_COLUMNS)


class NoteRows(Protocol):
    """Takes the rows of a file: its name, and an array for each column, with a value for each row."""

    def __call__(self, file: str, /, *columns: NDArray[np.int64], partly_known: bool) -> None:
        """Take them; `partly_known`: the file was merged of some that were taken, and of others."""


def names_of_days(files: LakeFiles, days: Iterable[str]) -> dict[str, set[str]]:
    """List the files of days, such as 2026-06-15; LakeError as for `LakeFiles`."""
    return {day: {file.key for file in files.of_day(f"{DAY}{day}")} for day in days}


def read_arrivals(
    files: LakeFiles, days: Iterable[str], columns: Sequence[str], read: dict[str, set[str]], note: NoteRows
) -> None:
    """Give the rows of files of `days` that were not read yet, and note these files in `read`, by day.

    A file that was merged of files that were all read has nothing new, and is not opened.

    Args:
        files: of a folder.
        days: such as 2026-06-15.
        columns: as for `LakeFiles.places`.
        read: names of files, by day.
        note: takes the rows.

    Raises:
        LakeError: as for `LakeFiles`; files that were given are noted.

    """

    def once() -> None:
        for day in days:
            known = read.setdefault(day, set())
            for file, merge in files.of_day_with_merges(f"{DAY}{day}"):
                if file.key in known:
                    continue
                if merge is None or not known.issuperset(merge.sources):
                    partly_known = merge is not None and not known.isdisjoint(merge.sources)
                    note(file.key, *files.places(file, columns), partly_known=partly_known)
                known.add(file.key)

    files.while_listed(once)
