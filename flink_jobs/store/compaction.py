"""Merge small Parquet files of a folder into few large ones with the same rows.

A merge says first what it is about to do (`merges.py`), then writes the merged file. The files whose rows it
has are deleted by a later run: whoever listed them has read them by then. A run may be killed at any time:
each row counts once, and the next run goes on.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
from numpy.typing import NDArray

from flink_jobs.store.lake_files import DAY, PLACE_COLUMNS, Places, came_us, open_parquet
from flink_jobs.store.merged_file import check_merged, firsts, is_whole, merge
from flink_jobs.store.merges import (
    MERGED,
    MERGES_FOLDER,
    Merge,
    MergeRecord,
    is_merged,
    read_merges,
    record_name,
    superseded,
)
from flink_jobs.store.object_store import (
    StoredObject,
    create_object,
    delete_object,
    list_objects,
    open_object,
    read_object,
    write_object,
)

# What was merged is deleted so much later.
KEPT_AFTER_MERGE = timedelta(hours=1)
_DELETED_AT_ONCE = 100
# Flink's names for files that are finished; whatever else lies in the lake is not ours to merge or to delete.
_WRITTEN = "part-"
# Parquet that is cut or damaged, or has a column of another type
_NOT_OF_THE_LAKE = (pa.ArrowException, OSError, ValueError, KeyError)


class CompactionError(Exception):
    """Files that cannot be merged; they were left as they are."""


class Compacted(NamedTuple):
    """The outcome of a compaction.

    Attributes:
        files: how many were merged.
        into: how many they became.
        deleted: files that were merged before.
        repeats: rows that lay there twice, and were left out.
        problems: what could not be done, a sentence each; these files were left as they are.

    """

    files: int = 0
    into: int = 0
    deleted: int = 0
    repeats: int = 0
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Say it to people."""
        said = [f"{self.files} files became {self.into}" if self.files else "nothing to merge"]
        if self.repeats:
            said.append(f"{self.repeats} rows that lay there twice left out")
        if self.deleted:
            said.append(f"{self.deleted} files deleted that were merged before")
        return "; ".join(said)


class LakeFolder:
    """A folder of the lake that is compacted."""

    def __init__(
        self,
        client: Any,  # noqa: ANN401 - boto3 makes its classes at run time
        bucket: str,
        folder: str,
        renew: Callable[[], None] = lambda: None,
    ) -> None:
        """Take a folder.

        Args:
            client: of MinIO, allowed to write.
            bucket: of the folder.
            folder: its subfolders hold the files.
            renew: makes sure, before each step that changes anything, that no other compaction runs.

        """
        self._client = client
        self._bucket = bucket
        self._folder = folder
        self._renew = renew

    def compact(
        self,
        target_bytes: int,
        settled: timedelta,
        now: datetime,
        kept_after_merge: timedelta = KEPT_AFTER_MERGE,
    ) -> Compacted:
        """Delete what was merged long enough ago, and merge the small files of each subfolder.

        Args:
            target_bytes: size of a merged file; files of at least half of it stay.
            settled: files written up to so long before the job's last one are left alone: a job that goes on
                from its last checkpoint or savepoint checks that they are there.
            now: the time.
            kept_after_merge: merged files are deleted so long after the merge.

        Raises:
            ObjectStoreError: not allowed, or the server does not answer.
            CompactionError: it is not known what was merged before.

        """
        listed = [
            each._replace(key=each.key.removeprefix(f"{self._folder}/"))
            for each in list_objects(self._client, self._bucket, f"{self._folder}/")
        ]
        records = [each for each in listed if each.key.startswith(f"{MERGES_FOLDER}/")]
        found = {each.key: each for each in listed if _is_ours(each.key)}
        try:
            merges = read_merges(records, self._read)
        except ValueError as error:
            raise CompactionError(f"{self._name('')}{error}") from None
        merged = self._delete_merged(found, merges, now - kept_after_merge)
        done = superseded(found, merges)
        made = {merge.target: merge.sources for _, merge in merges}
        written = [each.modified for each in found.values() if not is_merged(each.key)]
        small = [
            each
            for each in found.values()
            if each.key not in done
            and each.size < target_bytes / 2
            and (is_merged(each.key) or each.modified < max(written) - settled)
        ]
        for group in _groups(small, target_bytes):
            try:
                repeats = self._merge([each.key for each in group], made)
            except CompactionError as error:
                merged = merged._replace(problems=(*merged.problems, str(error)))
                continue
            merged = merged._replace(
                files=merged.files + len(group), into=merged.into + 1, repeats=merged.repeats + repeats
            )
        return merged

    def _delete_merged(
        self, found: dict[str, StoredObject], merges: list[MergeRecord], before: datetime
    ) -> Compacted:
        """Delete files whose rows another has had since then, and records of what is no more."""
        problems = []
        old = superseded(
            found,
            [
                record
                for record in merges
                if record.merge.target in found and found[record.merge.target].modified <= before
            ],
        )
        for target in sorted(set(old.values())):
            sources = [source for source in old if old[source] == target]
            try:
                self._check_held(found[target], [found[source] for source in sources])
            except CompactionError as error:
                problems.append(str(error))
                for source in sources:
                    del old[source]
        for count, source in enumerate(old):
            if count % _DELETED_AT_ONCE == 0:
                self._renew()
            delete_object(self._client, self._bucket, self._key(source))
        for source in old:
            del found[source]
        for name, recorded in merges:
            if recorded.target not in found:
                delete_object(self._client, self._bucket, self._key(name))
        return Compacted(deleted=len(old), problems=tuple(problems))

    def _check_held(self, target: StoredObject, sources: list[StoredObject]) -> None:
        held = Places()
        anew = f"Delete the former and {self._name(record_name(target.key))} to merge anew"
        try:
            held.first_met(*self._places(target))
        except _NOT_OF_THE_LAKE as error:
            problem = f"cannot be read, so what was merged into it stays: {_line(error)}. {anew}"
            raise CompactionError(f"{self._name(target.key)} {problem}") from None
        for source in sources:
            try:
                lacks = held.first_met(*self._places(source)).any()
            except _NOT_OF_THE_LAKE as error:
                raise CompactionError(f"{self._name(source.key)} cannot be read: {_line(error)}") from None
            if lacks:
                raise CompactionError(
                    f"{self._name(target.key)} lacks rows of {source.key}, which was merged into it; "
                    f"both stay. {anew}"
                )

    def _merge(self, names: list[str], made: dict[str, list[str]]) -> int:
        """Merge some files into one; returns how many rows lay there twice."""
        contents = [self._read(name) for name in names]
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
        into = f"{names[0].rpartition('/')[0]}/{MERGED}{digest}.parquet"
        try:
            content = merge(contents)
            check_merged(content, contents)
        except _NOT_OF_THE_LAKE as error:
            unreadable = [name for name, each in zip(names, contents, strict=True) if not is_whole(each)]
            which = self._name(unreadable[0] if unreadable else names[0])
            raise CompactionError(
                f"{which} and {len(names) - 1} more are left as they are: {_line(error)}"
            ) from None
        earlier = {source for name in names for source in made.get(name, ())}
        record = msgspec.json.encode(Merge(into, sorted({*names, *earlier})))
        self._renew()
        key = self._key(record_name(into))
        if (
            not create_object(self._client, self._bucket, key, record)
            and self._read(record_name(into)) != record
        ):
            raise CompactionError(
                f"{self._name(record_name(into))} is there already, and tells of another merge"
            )
        write_object(self._client, self._bucket, self._key(into), content)
        if self._read(into) != content:
            delete_object(self._client, self._bucket, self._key(into))
            raise CompactionError(f"{self._name(into)} does not hold what was written to it; try again")
        return int(sum((~kept).sum() for kept in firsts(contents)))

    def _places(self, file: StoredObject) -> list[NDArray[Any]]:
        """Give partitions, offsets, and when records came: a topic that is made anew repeats the others."""
        opened = open_object(self._client, self._bucket, self._key(file.key), file.size)
        table = open_parquet(opened).read(columns=[*PLACE_COLUMNS, "kafka_time"])
        return [*(table[name].to_numpy() for name in PLACE_COLUMNS), came_us(table)]

    def _read(self, name: str) -> bytes:
        return read_object(self._client, self._bucket, self._key(name))

    def _key(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def _name(self, name: str) -> str:
        return f"s3://{self._bucket}/{self._key(name)}"


def _is_ours(name: str) -> bool:
    """Tell files that a job has finished, or that were merged, in a day's folder or right in the lake's."""
    folder, _, file = name.rpartition("/")
    in_place = not folder or (folder.startswith(DAY) and "/" not in folder)
    return in_place and (file.startswith(_WRITTEN) or is_merged(name))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _groups(found: Sequence[StoredObject], target_bytes: int) -> Iterator[list[StoredObject]]:
    """Group the files of each folder, two or more at a time, up to the target size."""
    for _, neighbours in groupby(found, lambda each: each.key.rpartition("/")[0]):
        group: list[StoredObject] = []
        for each in sorted(neighbours, key=lambda each: each.modified):
            group.append(each)
            if sum(member.size for member in group) >= target_bytes:
                yield group
                group = []
        if len(group) > 1:
            yield group
