"""One Parquet file of several: their rows in their order, each once."""

import io
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from flink_jobs.store.lake_files import PLACE_COLUMNS, open_parquet

_ROWS_AT_ONCE = 100_000
# A record is the same if it came to the same place at the same time: a topic that was lost begins at 0 again.
_IDENTITY = (*PLACE_COLUMNS, "kafka_time")


def merge(contents: Sequence[bytes]) -> bytes:
    """Give one Parquet file with the rows of all files, in their order, each once.

    A column that only some of them have, as a new release adds one, is NULL in the rows of the others.

    Raises:
        pa.ArrowException: a file is no Parquet, or has a column of another type than one before.
        KeyError: it lacks a column of a record's place.

    """
    buffer = io.BytesIO()
    # keep INT96 timestamps: older readers know no others
    types = open_parquet(io.BytesIO(contents[0])).schema
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
    parquet = open_parquet(io.BytesIO(merged))
    groups = 0
    for table in _tables(contents):
        if groups == parquet.num_row_groups or not parquet.read_row_group(groups).equals(table):
            raise ValueError(f"the merged file has other rows, from its row group {groups} on")
        groups += 1
    if groups != parquet.num_row_groups:
        raise ValueError(f"the merged file has {parquet.num_row_groups} row groups instead of {groups}")


def is_whole(content: bytes) -> bool:
    """Tell whether a file can be read to its end."""
    try:
        for _ in open_parquet(io.BytesIO(content)).iter_batches(_ROWS_AT_ONCE):
            pass
    except (pa.ArrowException, OSError):
        return False
    return True


def _tables(contents: Sequence[bytes]) -> Iterator[pa.Table]:
    """Give the rows of some files at a time, each once."""
    files = [open_parquet(io.BytesIO(content)) for content in contents]
    if not files:
        return
    none = pa.unify_schemas([file.schema_arrow for file in files]).empty_table()
    waiting = [none]
    for parquet, kept in zip(files, firsts(contents), strict=True):
        done = 0
        for batch in parquet.iter_batches(_ROWS_AT_ONCE):
            table = pa.Table.from_batches([batch])
            here = kept[done : done + len(table)]
            done += len(table)
            waiting.append(table if here.all() else table.filter(pa.array(here)))
            if sum(map(len, waiting)) >= _ROWS_AT_ONCE:
                yield pa.concat_tables(waiting, promote_options="default")
                waiting = [none]
    yield pa.concat_tables(waiting, promote_options="default")


def firsts(contents: Sequence[bytes]) -> list[NDArray[np.bool_]]:
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
