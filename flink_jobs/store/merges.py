"""Which of the lake's files were merged into which: one record beside the files for each merge.

The record is there before the merged file is, and as long as that one is. A file that was merged lies there
for some time more, as somebody may be reading it, and a restored backup may bring it back: its rows count by
the merged file. Records lie in `_merges/<day>/`, where nobody looks for Parquet.
"""

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import msgspec

from flink_jobs.domain.json_errors import NOT_THE_JSON
from flink_jobs.store.object_store import ObjectMissingError, StoredObject

MERGES_FOLDER = "_merges"
MERGED = "merged-"


class Merge(msgspec.Struct, frozen=True):
    """The record of a merge; files by their names in the lake's folder.

    Attributes:
        target: the merged file; it may not be there yet.
        sources: all files whose rows it has, those that were merged before included.

    """

    target: str
    sources: list[str]


class MergeRecord(NamedTuple):
    """A merge, and the name of its record."""

    name: str
    merge: Merge


def is_merged(name: str) -> bool:
    """Tell merged files from those that a job wrote."""
    return name.rpartition("/")[2].startswith(MERGED)


def record_name(target: str) -> str:
    """Give the name of a merged file's record."""
    return f"{MERGES_FOLDER}/{target}.json"


def read_merges(records: Iterable[StoredObject], read: Callable[[str], bytes]) -> list[MergeRecord]:
    """Read records; one that is gone since they were listed is left out.

    Args:
        records: as they were listed.
        read: reads one.

    Raises:
        ValueError: one is no record.
        ObjectStoreError: one cannot be read.

    """
    found = []
    for record in records:
        try:
            merge = msgspec.json.decode(read(record.key), type=Merge)
        except ObjectMissingError:
            continue
        except NOT_THE_JSON as error:
            raise ValueError(f"{record.key}: {error}") from None
        found.append(MergeRecord(record.key, merge))
    return found


def superseded(files: Iterable[str], merges: Iterable[MergeRecord]) -> dict[str, str]:
    """Give those of the files whose rows another one has, each with that one."""
    there = set(files)
    return {
        source: merge.target
        for _, merge in merges
        if merge.target in there
        for source in merge.sources
        if source in there
    }


class Unread(NamedTuple):
    """What of some files was not read.

    Attributes:
        files: to be read, each with the names of all of which nothing is new once it has been read.
        known: names of all of which nothing is new already, what was merged into these and is gone included.

    """

    files: dict[str, set[str]]
    known: set[str]


def unread(files: Iterable[str], merges: Iterable[MergeRecord], read: AbstractSet[str]) -> Unread:
    """Tell which files of a day have to be read; their names are those in the lake's folder.

    A merged file has nothing new where all that was merged into it was read. Where only some of this was, the
    rest is read instead, as long as it is there.
    """
    there, made = set(files), {merge.target: set(merge.sources) for _, merge in merges}
    known = set(read).union(*(made[target] for target in made.keys() & read))
    # what was merged twice has more sources than what it was merged of
    for target in sorted(made, key=lambda target: len(made[target])):
        if made[target] <= known:
            known.add(target)
    again = set().union(*(made[target] for target in made.keys() & there))
    found: dict[str, set[str]] = {}
    for name in there - again - known:
        sources = made.get(name, set())
        rest = sources - known
        # a merged file among the rest may have rows of files that were read
        if rest < sources and rest <= there and not any(map(is_merged, rest)):
            found |= {each: {each, name} for each in rest}
        else:
            found[name] = {name, *sources}
    return Unread(found, known)
