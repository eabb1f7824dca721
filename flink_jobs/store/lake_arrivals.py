"""What came into a folder of the lake since somebody looked last: rows of files that were not there."""

from collections.abc import Iterable
from typing import Any, Protocol

from numpy.typing import NDArray

from flink_jobs.store.lake_files import DAY, LakeFiles


class NoteRows(Protocol):
    """Takes the rows of a file: its name, and a partition and an offset for each row."""

    def __call__(
        self, file: str, partitions: NDArray[Any], offsets: NDArray[Any], *, partly_known: bool
    ) -> None:
        """Take them; `partly_known`: the file was merged of some that were taken, and of others."""


def names_of_days(files: LakeFiles, days: Iterable[str]) -> dict[str, set[str]]:
    """List the files of days, such as 2026-06-15; LakeError as for `LakeFiles`."""
    return {day: {file.key for file in files.of_day(f"{DAY}{day}")} for day in days}


def read_arrivals(files: LakeFiles, days: Iterable[str], read: dict[str, set[str]], note: NoteRows) -> None:
    """Give the rows of files of `days` that were not read yet, and note these files in `read`, by day.

    A file that was merged of files that were all read has nothing new, and is not opened.

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
                    partitions, offsets = files.places(file)
                    note(file.key, partitions, offsets, partly_known=partly_known)
                known.add(file.key)

    files.while_listed(once)
