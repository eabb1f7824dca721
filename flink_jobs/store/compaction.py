"""Merge small Parquet files of a folder into few large ones with the same rows.

A merge says first what it is about to do (`merges.py`), then writes the merged file. The files whose rows it
has are deleted by a later run: whoever listed them has read them by then. A run may be killed at any time:
each row counts once, and the next run goes on.
"""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from flink_jobs.store.lake_files import PLACE_COLUMNS, Places, is_finished, open_parquet
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
_ROWS_AT_ONCE = 100_000
_DELETED_AT_ONCE = 100
# A record is the same if it came to the same place at the same time: a topic that was lost begins at 0 again.
_IDENTITY = (*PLACE_COLUMNS, "kafka_time")


class CompactionError(Exception):
    """Files that cannot be merged; they were left as they are."""


class Compacted(NamedTuple):
    """The outcome of a compaction.

    Attributes:
        files: how many were merged.
        into: how many they became.
        deleted: files that were merged before.
        repeats: rows that lay there twice, and were left out.

    """

    files: int = 0
    into: int = 0
    deleted: int = 0
    repeats: int = 0

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
            CompactionError: names files that do not fit together, and says why.

        """
        listed = [
            each._replace(key=each.key.removeprefix(f"{self._folder}/"))
            for each in list_objects(self._client, self._bucket, f"{self._folder}/")
        ]
        records = [each for each in listed if each.key.startswith(f"{MERGES_FOLDER}/")]
        found = {each.key: each for each in listed if is_finished(each.key) and not each.key.startswith("_")}
        try:
            merges = read_merges(records, self._read)
        except ValueError as error:
            raise CompactionError(f"{self._name('')}{error}") from None
        deleted = self._delete_merged(found, merges, now - kept_after_merge)
        merged = Compacted(deleted=deleted)
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
            repeats = self._merge([each.key for each in group], made)
            merged = merged._replace(
                files=merged.files + len(group), into=merged.into + 1, repeats=merged.repeats + repeats
            )
        return merged

    def _delete_merged(
        self, found: dict[str, StoredObject], merges: list[MergeRecord], before: datetime
    ) -> int:
        """Delete files whose rows another has had since then, and records of what is no more."""
        old = superseded(
            found,
            [
                record
                for record in merges
                if record.merge.target in found and found[record.merge.target].modified <= before
            ],
        )
        for target in sorted(set(old.values())):
            self._check_held(found[target], [found[source] for source in old if old[source] == target])
        for count, source in enumerate(old):
            if count % _DELETED_AT_ONCE == 0:
                self._renew()
            delete_object(self._client, self._bucket, self._key(source))
        for source in old:
            del found[source]
        for name, merge in merges:
            if merge.target not in found:
                delete_object(self._client, self._bucket, self._key(name))
        return len(old)

    def _check_held(self, target: StoredObject, sources: list[StoredObject]) -> None:
        held = Places()
        held.first_met(*self._places(target))
        for source in sources:
            if held.first_met(*self._places(source)).any():
                raise CompactionError(
                    f"{self._name(target.key)} lacks rows of {source.key}, which was merged into it; "
                    f"both stay. Delete the former and {self._name(record_name(target.key))} to merge anew"
                )

    def _merge(self, names: list[str], made: dict[str, list[str]]) -> int:
        """Merge some files into one; returns how many rows lay there twice."""
        contents = [self._read(name) for name in names]
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
        into = f"{names[0].rpartition('/')[0]}/{MERGED}{digest}.parquet"
        try:
            content = merge(contents)
            check_merged(content, contents)
        except (pa.ArrowException, ValueError, KeyError) as error:
            raise CompactionError(f"{self._name(names[0])} and {len(names) - 1} more: {error}") from None
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
        return int(sum((~kept).sum() for kept in _firsts(contents)))

    def _places(self, file: StoredObject) -> list[NDArray[Any]]:
        opened = open_object(self._client, self._bucket, self._key(file.key), file.size)
        table = open_parquet(opened).read(columns=list(PLACE_COLUMNS))
        return [table[name].to_numpy() for name in PLACE_COLUMNS]

    def _read(self, name: str) -> bytes:
        return read_object(self._client, self._bucket, self._key(name))

    def _key(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def _name(self, name: str) -> str:
        return f"s3://{self._bucket}/{self._key(name)}"


def merge(contents: Sequence[bytes]) -> bytes:
    """Give one Parquet file with the rows of all files, in their order, each once.

    Raises:
        pa.ArrowException: a file is no Parquet, or has other columns than the first.
        KeyError: it lacks a column of a record's place.

    """
    buffer = io.BytesIO()
    # keep INT96 timestamps: older readers know no others
    types = pq.ParquetFile(io.BytesIO(contents[0])).schema
    int96 = any(types.column(number).physical_type == "INT96" for number in range(len(types)))
    writer = None
    for table in _tables(contents):
        if writer is None:
            writer = pq.ParquetWriter(
                buffer, table.schema, compression="zstd", use_deprecated_int96_timestamps=int96
            )
        writer.write_table(table, row_group_size=max(len(table), 1))
    if writer is not None:
        writer.close()
    return buffer.getvalue()


def check_merged(merged: bytes, contents: Sequence[bytes]) -> None:
    """Compare the result of `merge` with the files that went into it.

    Raises:
        ValueError: rows differ.

    """
    parquet = pq.ParquetFile(io.BytesIO(merged))
    groups = 0
    for table in _tables(contents):
        if groups == parquet.num_row_groups or not parquet.read_row_group(groups).equals(table):
            raise ValueError(f"the merged file has other rows, from its row group {groups} on")
        groups += 1
    if groups != parquet.num_row_groups:
        raise ValueError(f"the merged file has {parquet.num_row_groups} row groups instead of {groups}")


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


def _tables(contents: Sequence[bytes]) -> Iterator[pa.Table]:
    """Give the rows of some files at a time, each once."""
    waiting: list[pa.Table] = []
    for content, kept in zip(contents, _firsts(contents), strict=True):
        parquet = pq.ParquetFile(io.BytesIO(content))
        waiting.append(parquet.schema_arrow.empty_table())
        done = 0
        for batch in parquet.iter_batches(_ROWS_AT_ONCE):
            table = pa.Table.from_batches([batch])
            here = kept[done : done + len(table)]
            done += len(table)
            waiting.append(table if here.all() else table.filter(pa.array(here)))
            if sum(map(len, waiting)) >= _ROWS_AT_ONCE:
                yield pa.concat_tables(waiting)
                waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _firsts(contents: Sequence[bytes]) -> list[NDArray[np.bool_]]:
    """Tell of each file which rows are in none before it, nor before in it."""
    identities = [_identities(content) for content in contents]
    if not identities:
        return []
    columns = [np.concatenate(column) for column in zip(*identities, strict=True)]
    order = np.lexsort(columns[::-1])  # stable: the first stays first
    differs = np.ones(len(order), dtype=np.bool_)
    if len(order):
        differs[1:] = np.any([np.diff(column[order]) != 0 for column in columns], axis=0)
    first = np.zeros(len(order), dtype=np.bool_)
    first[order[differs]] = True
    return np.split(first, np.cumsum([len(rows[0]) for rows in identities])[:-1])


def _identities(content: bytes) -> list[NDArray[np.int64]]:
    table = open_parquet(io.BytesIO(content)).read(columns=list(_IDENTITY))
    return [table[name].cast(pa.int64(), safe=False).to_numpy() for name in _IDENTITY]
