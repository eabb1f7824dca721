"""Merge small Parquet files of a folder into few large ones with the same rows."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from flink_jobs.store.lake import is_finished
from flink_jobs.store.object_store import (
    StoredObject,
    delete_object,
    list_objects,
    read_object,
    write_object,
)

_ROWS_AT_ONCE = 100_000
_MERGED = "merged-"


class CompactionError(Exception):
    """Files that cannot be merged; they were left as they are."""


class Compacted(NamedTuple):
    """The outcome of a compaction.

    Attributes:
        files: how many were merged.
        into: how many they became.

    """

    files: int = 0
    into: int = 0


def compact(
    client: Any,  # noqa: ANN401 - boto3 makes its classes at run time
    bucket: str,
    folder: str,
    target_bytes: int,
    settled: timedelta,
) -> Compacted:
    """Merge the small files of each subfolder.

    Until the small files are deleted, their rows lie in the folder twice; readers drop repeats by
    (partition, offset).

    Args:
        client: of MinIO, allowed to write.
        bucket: of the folder.
        folder: its subfolders hold the files.
        target_bytes: size of a merged file; files of at least half of it stay.
        settled: files written up to so long before the job's last one are left alone: a job that goes on
            from its last checkpoint or savepoint checks that they are there.

    Raises:
        ObjectStoreError: not allowed, or the server does not answer.
        CompactionError: names files that do not fit together, and says why.

    """
    found = [each for each in list_objects(client, bucket, f"{folder}/") if is_finished(each.key)]
    written = [each.modified for each in found if not _is_merged(each.key)]
    before = max(written) - settled if written else datetime.max.replace(tzinfo=UTC)
    small = [
        each
        for each in found
        if each.size < target_bytes / 2 and (each.modified < before or _is_merged(each.key))
    ]
    merged = Compacted()
    for group in _groups(small, target_bytes):
        keys = [each.key for each in group]
        contents = [read_object(client, bucket, key) for key in keys]
        name = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]
        into = f"{keys[0].rpartition('/')[0]}/{_MERGED}{name}.parquet"
        try:
            content = merge(contents)
            check_merged(content, contents)
        except (pa.ArrowException, ValueError) as error:
            raise CompactionError(f"s3://{bucket}/{keys[0]} and {len(keys) - 1} more: {error}") from None
        write_object(client, bucket, into, content)
        if read_object(client, bucket, into) != content:
            delete_object(client, bucket, into)
            raise CompactionError(f"s3://{bucket}/{into} does not hold what was written to it; try again")
        for key in keys:
            delete_object(client, bucket, key)
        merged = Compacted(merged.files + len(keys), merged.into + 1)
    return merged


def _is_merged(key: str) -> bool:
    return key.rpartition("/")[2].startswith(_MERGED)


def merge(contents: Sequence[bytes]) -> bytes:
    """Give one Parquet file with the rows of all files, in their order.

    Raises:
        pa.ArrowException: a file is no Parquet, or has other columns than the first.

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
    """Give the rows of some files at a time."""
    waiting: list[pa.Table] = []
    for content in contents:
        waiting.append(pq.ParquetFile(io.BytesIO(content)).read())
        if sum(map(len, waiting)) >= _ROWS_AT_ONCE:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)
