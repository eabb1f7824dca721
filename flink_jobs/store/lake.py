"""The lake's layout, and how it is read; no other module knows the layout.

`kafka_to_minio_job` writes Parquet files, a folder for each day of Kafka's clock (UTC). They hold the bytes
of each record as they came, its place in Kafka, and the columns that SQL could read. A finished file never
changes. Compaction replaces many files by one; for a moment their rows lie there twice.
"""

import hashlib
import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import fs

from flink_jobs.domain.transaction import InvalidTransaction, parse_transaction
from flink_jobs.store.object_store import ObjectStoreError, list_keys, read_object, s3_client
from flink_jobs.store.settings import Settings, SettingsError, load_settings

# folders of the bucket, each with a folder a day
TRANSACTIONS_FOLDER = "raw/transactions"
LABELS_FOLDER = "labels"

_PLACE_COLUMNS = ("kafka_partition", "kafka_offset")
_RECORD_COLUMNS = ("payload", *_PLACE_COLUMNS, "kafka_time")
_MICROSECONDS = 1_000_000
_RECORDS_AT_ONCE = 8192
# A file written this long before a run holds nothing of it, even if the clocks differ.
_CLOCK_SLACK = timedelta(minutes=5)


class LakeError(Exception):
    """The lake cannot be read, or has a file that is not the lake's."""


def is_finished(path: str) -> bool:
    """Tell finished files from files in progress and from markers."""
    return not path.rpartition("/")[2].startswith((".", "_"))


def day_of_file(path: str) -> str:
    """Give the day on which a file's records came, such as 2026-06-15."""
    return path.rsplit("/", 2)[1].rpartition("=")[2]


def list_day_folders(client: Any, bucket: str, folder: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - boto3 makes its classes at run time
    """List the days of a folder in order: the prefix of each day's keys, and the day.

    Raises:
        ObjectStoreError: the store does not answer.

    """
    for prefix in list_keys(client, bucket, f"{folder}/", folders=True):
        yield prefix, day_of_file(prefix)


def days_touched(first: datetime, last: datetime) -> list[str]:
    """List the UTC days that `first` to `last` touches, as in the folders' names."""
    day, end = first.astimezone(UTC).date(), last.astimezone(UTC).date()
    return [(day + timedelta(days=n)).isoformat() for n in range((end - day).days + 1)]


class LakeRecords:
    """All records of some files, in the order in which they came to Kafka.

    Attributes:
        sha256: of the files.

    """

    def __init__(self, location: str, files: Iterable[tuple[str, bytes]]) -> None:
        digest = hashlib.sha256()
        tables = []
        for name, content in files:
            digest.update(content)
            try:
                tables.append(_read_columns(io.BytesIO(content), f"{location}: {name}", _RECORD_COLUMNS))
            except pa.ArrowException as error:
                raise LakeError(f"{location}: {name} is no Parquet that can be read ({error})") from None
        table = pa.concat_tables(tables, promote_options="permissive")
        order = ("kafka_time", "kafka_partition", "kafka_offset")
        self._table = table.sort_by([(name, "ascending") for name in order])
        self.sha256 = digest.hexdigest()

    def timed(self) -> Iterator[tuple[bytes, float]]:
        """Give the bytes of each record, and when it came, in seconds since 1970."""
        for payload, time_us, _, _ in self.placed():
            yield payload, time_us / _MICROSECONDS

    def placed(self) -> Iterator[tuple[bytes, int, int, int]]:
        """Give the bytes of each record, when it came, in microseconds since 1970, partition and offset."""
        for batch in self._table.to_batches(_RECORDS_AT_ONCE):
            times = batch["kafka_time"].cast(pa.timestamp("us"), safe=False).cast(pa.int64())
            columns = (batch["payload"], times, batch["kafka_partition"], batch["kafka_offset"])
            for payload, *place in zip(*(column.to_pylist() for column in columns), strict=True):
                yield payload or b"", *place


def read_lake_folder(location: str, settings_file: str | Path | None = None) -> LakeRecords | None:
    """Read a folder, local or `s3://bucket/folder`; None if no finished file is there.

    Raises:
        LakeError: a file cannot be read, or is not the lake's.

    """
    files = _finished_files(location, settings_file)
    try:
        first = next(files, None)
        return None if first is None else LakeRecords(location, chain([first], files))
    except (ObjectStoreError, SettingsError, OSError) as error:
        raise LakeError(str(error)) from None


class PlaceCounts(Protocol):
    """Counts records, each of which is a partition and an offset."""

    def add_all(self, partitions: NDArray[Any], offsets: NDArray[Any], /) -> None:
        """Count many: two arrays of equal length."""


class Lake:
    """The transactions' folder; each method reads only the columns that it needs.

    Attributes:
        name: for messages.

    """

    def __init__(self, filesystem: fs.FileSystem, root: str, name: str) -> None:
        """Take the folder `root` on `filesystem` as the lake; `name` stands in messages."""
        self._filesystem = filesystem
        self._root = root
        self.name = name
        self._read: set[str] = set()

    def count_new(self, counts: PlaceCounts, started_at: datetime, ended_at: datetime) -> int:
        """Count the rows of files that are new since the last call; return the number of these files.

        Raises:
            LakeError: the lake cannot be read, or a file in it is not the lake's.

        """
        try:
            files = self._new_files(started_at, ended_at)
            for path in files:
                self._count(path, counts)
        except (OSError, pa.ArrowException) as error:
            raise LakeError(f"cannot read the lake, {self.name}: {error}") from None
        return len(files)

    def last_event_s(self, before_s: float) -> float | None:
        """Find the latest event time before a time; None where there is none.

        Raises:
            LakeError: as for `count_new`.

        """
        latest = None
        for times_s, _ in self._events(["event_time"]):
            known = times_s[times_s < before_s]  # leaves out NaN
            if len(known):
                latest = max(float(known.max()), latest or 0.0)
        return latest

    def payloads(self, since_s: float, until_s: float) -> list[tuple[float, bytes]]:
        """Read the records of a period: event time in seconds since 1970, and the bytes; in event-time order.

        Each counts once, though it may lie there twice while the lake is compacted.

        Raises:
            LakeError: as for `count_new`.

        """
        found: dict[tuple[int, int], tuple[float, bytes]] = {}
        for times_s, batch in self._events(["event_time", "payload", *_PLACE_COLUMNS]):
            unknown = np.isnan(times_s)
            rows = np.flatnonzero(unknown | ((times_s >= since_s) & (times_s < until_s)))
            taken = batch.take(pa.array(rows))
            places = zip(*(taken[name].to_pylist() for name in _PLACE_COLUMNS), strict=True)
            for row, payload, place in zip(rows.tolist(), taken["payload"].to_pylist(), places, strict=True):
                # Flink's SQL cannot read every valid time, such as one with an offset
                time_s = _parsed_time_s(payload, until_s) if unknown[row] else float(times_s[row])
                if since_s <= time_s < until_s:
                    found[place] = (time_s, payload)
        return sorted(found.values(), key=lambda each: each[0])

    def _events(self, columns: list[str]) -> Iterator[tuple[NDArray[np.float64], Any]]:
        """Go through all rows, in batches: event times in seconds since 1970 (NaN: unknown), and columns."""
        try:
            # Flink writes times that reach further than nanoseconds do
            parquet = pyarrow.dataset.ParquetFileFormat(coerce_int96_timestamp_unit="us")
            dataset = pyarrow.dataset.dataset(self._root, filesystem=self._filesystem, format=parquet)
            for batch in dataset.to_batches(columns=columns) if dataset.files else ():
                microseconds = batch["event_time"].cast(pa.timestamp("us"), safe=False).cast(pa.int64())
                yield microseconds.to_numpy(zero_copy_only=False).astype(np.float64) / _MICROSECONDS, batch
        except (OSError, pa.ArrowException) as error:
            raise LakeError(f"cannot read the lake, {self.name}: {error}") from None

    def _new_files(self, started_at: datetime, ended_at: datetime) -> list[str]:
        found = []
        for day in days_touched(started_at - _CLOCK_SLACK, ended_at + _CLOCK_SLACK):
            selector = fs.FileSelector(f"{self._root}/dt={day}", allow_not_found=True, recursive=True)
            found += [
                info.path
                for info in self._filesystem.get_file_info(selector)
                if info.type == fs.FileType.File
                and is_finished(info.path)
                and info.path not in self._read
                and info.mtime >= started_at - _CLOCK_SLACK
            ]
        return sorted(found)

    def _count(self, path: str, counts: PlaceCounts) -> None:
        with self._filesystem.open_input_file(path) as file:
            table = _read_columns(file, path, _PLACE_COLUMNS)
        counts.add_all(*(table[name].to_numpy() for name in _PLACE_COLUMNS))
        self._read.add(path)


def open_lake(settings: Settings) -> Lake:
    """Open the lake in MinIO; nothing is asked of the server yet."""
    scheme, _, host = settings.s3.endpoint_url.rpartition("://")
    filesystem = fs.S3FileSystem(
        access_key=settings.s3.access_key,
        secret_key=settings.s3.secret_key,
        region=settings.s3.region,
        scheme=scheme or "http",
        endpoint_override=host,
        connect_timeout=5,
        request_timeout=30,
    )
    root = f"{settings.buckets.datalake}/{TRANSACTIONS_FOLDER}"
    return Lake(filesystem, root, f"s3://{root} at {settings.s3.endpoint_url}")


def _finished_files(location: str, settings_file: str | Path | None) -> Iterator[tuple[str, bytes]]:
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


def _read_columns(file: Any, name: str, columns: Iterable[str]) -> pa.Table:  # noqa: ANN401 - whatever Arrow reads from
    """Read columns of a file of the lake; LakeError: it lacks one; ArrowException: it is no Parquet."""
    parquet = pq.ParquetFile(file)
    missing = set(columns).difference(parquet.schema_arrow.names)
    if missing:
        raise LakeError(
            f"{name} has no column {', '.join(sorted(missing))}; expected what kafka_to_minio_job writes"
        )
    return parquet.read(columns=list(columns))


def _parsed_time_s(payload: bytes, now_s: float) -> float:
    try:
        return parse_transaction(payload, now_s).time_s
    except InvalidTransaction:
        return float("nan")
