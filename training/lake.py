"""What the lake's job keeps: folders of Parquet, with the bytes of each record as they came."""

import hashlib
import io
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from flink_jobs.domain.transaction import InvalidTransaction, parse_transaction
from flink_jobs.store.lake import is_finished
from flink_jobs.store.object_store import ObjectStoreError, list_keys, read_object, s3_client
from flink_jobs.store.settings import SettingsError, load_settings

COLUMNS = ("payload", "kafka_partition", "kafka_offset", "kafka_time")
_MICROSECONDS = 1_000_000
_RECORDS_AT_ONCE = 8192


class LakeError(Exception):
    """The folder cannot be read, or is not the lake's."""


class Folder:
    """The records of a folder, in the order in which they came to Kafka.

    Attributes:
        sha256: of the files.

    """

    def __init__(self, location: str, files: Iterable[tuple[str, bytes]]) -> None:
        digest = hashlib.sha256()
        tables = []
        for name, content in files:
            digest.update(content)
            try:
                parquet = pq.ParquetFile(io.BytesIO(content))
                missing = set(COLUMNS).difference(parquet.schema_arrow.names)
                if missing:
                    raise LakeError(
                        f"{location}: {name} has no column {', '.join(sorted(missing))}; expected what "
                        "kafka_to_minio_job writes"
                    )
                tables.append(parquet.read(columns=list(COLUMNS)))
            except pa.ArrowException as error:
                raise LakeError(f"{location}: {name} is no Parquet that can be read ({error})") from None
        table = pa.concat_tables(tables, promote_options="permissive")
        order = ("kafka_time", "kafka_partition", "kafka_offset")
        self._table = table.sort_by([(name, "ascending") for name in order])
        self.sha256 = digest.hexdigest()

    def records(self) -> Iterator[tuple[bytes, float]]:
        """Give the bytes of each record, and when it came, in seconds since 1970."""
        for payload, time_us, _, _ in self.placed_records():
            yield payload, time_us / _MICROSECONDS

    def placed_records(self) -> Iterator[tuple[bytes, int, int, int]]:
        """Give the bytes of each record, when it came, in microseconds since 1970, partition and offset."""
        for batch in self._table.to_batches(_RECORDS_AT_ONCE):
            times = batch["kafka_time"].cast(pa.timestamp("us"), safe=False).cast(pa.int64())
            columns = (batch["payload"], times, batch["kafka_partition"], batch["kafka_offset"])
            for payload, *place in zip(*(column.to_pylist() for column in columns), strict=True):
                yield payload or b"", *place


def open_folder(location: str, settings_file: str | Path | None = None) -> Folder | None:
    """Read a folder, local or `s3://bucket/folder`; None where it is none.

    Raises:
        LakeError: it cannot be read, or holds something else.

    """
    files = _files(location, settings_file)
    try:
        first = next(files, None)
        return None if first is None else Folder(location, chain([first], files))
    except (ObjectStoreError, SettingsError, OSError) as error:
        raise LakeError(str(error)) from None


def transactions(folder: Folder) -> tuple[pd.DataFrame, int]:
    """Give the folder's transactions, as the scoring job read them, and how many records were left out.

    Left out is what was refused, what names no customer or terminal, and what repeats a transaction.
    """
    rows: dict[str, tuple[str, str, float, int]] = {}
    met = 0
    for payload, time_s in folder.records():
        met += 1
        try:
            read = parse_transaction(payload, time_s)
        except InvalidTransaction:
            continue
        if read.customer_id is not None and read.terminal_id is not None:
            row = (read.customer_id, read.terminal_id, read.amount, round(read.time_s * _MICROSECONDS))
            rows.setdefault(read.transaction_id, row)
    customers, terminals, amounts, times = zip(*rows.values(), strict=True) if rows else ((),) * 4
    frame = pd.DataFrame(
        {
            "transaction_id": list(rows),
            "event_time": np.array(times, dtype=np.int64).astype("datetime64[us]"),
            "customer_id": list(customers),
            "terminal_id": list(terminals),
            "amount": np.array(amounts, dtype=np.float64),
        }
    )
    return frame, met - len(rows)


def _files(location: str, settings_file: str | Path | None) -> Iterator[tuple[str, bytes]]:
    if not location.startswith("s3://"):
        root = Path(location)
        for path in sorted(root.rglob("*")) if root.is_dir() else ():
            if path.is_file() and is_finished(path.name):
                yield str(path.relative_to(root)), path.read_bytes()
        return
    bucket, _, folder = location.removeprefix("s3://").rstrip("/").partition("/")
    if not bucket or not folder:
        return
    client: Any = s3_client(load_settings(settings_file).s3)
    for key in list_keys(client, bucket, f"{folder}/"):
        if is_finished(key):
            yield key, read_object(client, bucket, key)
