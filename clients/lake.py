"""Rows in the lake: Parquet below raw/transactions/, one folder a day of Kafka's time."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import fs

from clients.command import ClientError
from clients.reconciliation import OffsetCounts
from flink_jobs.domain.transaction import InvalidTransaction, parse_transaction
from flink_jobs.store.lake import TRANSACTIONS_FOLDER, is_finished
from flink_jobs.store.settings import Settings

# A file written this long before the run holds nothing of it, even if the clocks differ.
_CLOCK_SLACK = timedelta(minutes=5)


class Lake:
    """Finished files are never changed, so each is read once.

    Attributes:
        name: for messages.

    """

    def __init__(self, filesystem: fs.FileSystem, root: str, name: str) -> None:
        """Take the folder `root` on `filesystem` as the lake; `name` stands in messages."""
        self._filesystem = filesystem
        self._root = root
        self.name = name
        self._read: set[str] = set()

    def count_new(self, counts: OffsetCounts, started_at: datetime, ended_at: datetime) -> int:
        """Add the rows of files that are new since the last call to `counts`; returns how many files.

        Raises:
            ClientError: the lake cannot be read, or a file in it is not the lake's.

        """
        try:
            files = self._new_files(started_at, ended_at)
            for path in files:
                self._count(path, counts)
        except (OSError, pa.ArrowException) as error:
            raise ClientError(f"cannot read the lake, {self.name}: {error}") from None
        return len(files)

    def last_event_s(self, before_s: float) -> float | None:
        """Find the latest event time before a time; None where there is none.

        Raises:
            ClientError: as for `count_new`.

        """
        latest = None
        for times_s, _ in self._events(["event_time"]):
            known = times_s[times_s < before_s]  # NaN is not
            if len(known):
                latest = max(float(known.max()), latest or 0.0)
        return latest

    def payloads(self, since_s: float, until_s: float) -> list[tuple[float, bytes]]:
        """Read the records of a period: event time in seconds since 1970, and the bytes; in event-time order.

        Raises:
            ClientError: as for `count_new`.

        """
        found: list[tuple[float, bytes]] = []
        for times_s, batch in self._events(["event_time", "payload"]):
            unknown = np.isnan(times_s)
            rows = np.flatnonzero(unknown | ((times_s >= since_s) & (times_s < until_s)))
            for row, payload in zip(
                rows.tolist(), batch["payload"].take(pa.array(rows)).to_pylist(), strict=True
            ):
                # a time that Flink's SQL cannot read, such as one with an offset, may still be one
                time_s = _parsed_time_s(payload, until_s) if unknown[row] else float(times_s[row])
                if since_s <= time_s < until_s:
                    found.append((time_s, payload))
        return sorted(found, key=lambda each: each[0])

    def _events(self, columns: list[str]) -> Iterator[tuple[NDArray[np.float64], Any]]:
        """Go through all rows, in batches: event times in seconds since 1970 (NaN: unknown), and columns."""
        try:
            # Flink writes times that reach further than nanoseconds do
            parquet = pyarrow.dataset.ParquetFileFormat(coerce_int96_timestamp_unit="us")
            dataset = pyarrow.dataset.dataset(self._root, filesystem=self._filesystem, format=parquet)
            for batch in dataset.to_batches(columns=columns) if dataset.files else ():
                microseconds = batch["event_time"].cast(pa.timestamp("us"), safe=False).cast(pa.int64())
                yield microseconds.to_numpy(zero_copy_only=False).astype(np.float64) / 1e6, batch
        except (OSError, pa.ArrowException) as error:
            raise ClientError(f"cannot read the lake, {self.name}: {error}") from None

    def _new_files(self, started_at: datetime, ended_at: datetime) -> list[str]:
        found = []
        for day in days(started_at - _CLOCK_SLACK, ended_at + _CLOCK_SLACK):
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

    def _count(self, path: str, counts: OffsetCounts) -> None:
        with self._filesystem.open_input_file(path) as file:
            parquet = pq.ParquetFile(file)
            missing = {"kafka_partition", "kafka_offset"}.difference(parquet.schema_arrow.names)
            if missing:
                raise ClientError(
                    f"{path} has no column {', '.join(sorted(missing))}; kafka_to_minio_job did not write it"
                )
            table = parquet.read(columns=["kafka_partition", "kafka_offset"])
        counts.add_all(table["kafka_partition"].to_numpy(), table["kafka_offset"].to_numpy())
        self._read.add(path)


def _parsed_time_s(payload: bytes, now_s: float) -> float:
    try:
        return parse_transaction(payload, now_s).time_s
    except InvalidTransaction:
        return float("nan")


def days(first: datetime, last: datetime) -> list[str]:
    """List the UTC days that `first` to `last` touches, as in the folders' names."""
    day, end = first.astimezone(UTC).date(), last.astimezone(UTC).date()
    return [(day + timedelta(days=n)).isoformat() for n in range((end - day).days + 1)]


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
