"""The lake's layout, and its one reader; no other module knows the layout.

`kafka_to_minio_job` writes Parquet files, a folder for each day of Kafka's clock (UTC). They hold the bytes
of each record as they came, its place in Kafka, and the columns that could be read. A finished file never
changes. Compaction writes one file of many, and deletes those later; until then, `merges.py` tells which
count. Whatever lies there twice, the reader gives each record once.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flink_jobs.domain.transaction import DEFAULT_CURRENCY, MAX_FUTURE_S
from flink_jobs.store.folders import BucketFolder, Folder, LocalFolder, folder_at
from flink_jobs.store.lake_files import (
    DAY,
    PLACE_COLUMNS,
    LakeError,
    LakeFiles,
    LakeRecord,
    Places,
    came_us,
    is_finished,
    read_records,
    records_of,
    times_s,
)
from flink_jobs.store.lake_period import Period
from flink_jobs.store.object_store import list_keys, s3_client
from flink_jobs.store.settings import Settings, SettingsError, Topics, own_currency

__all__ = ["EmptyLakeError", "LakeError", "LakeRecord", "is_finished", "read_records"]

# folders of the bucket, each with a folder a day
TRANSACTIONS_FOLDER = "raw/transactions"
LABELS_FOLDER = "labels"
ALERTS_FOLDER = "alerts"
DEAD_LETTERS_FOLDER = "dead_letters"
PREDICTIONS_FOLDER = "predictions"
FOLDERS = (TRANSACTIONS_FOLDER, LABELS_FOLDER, ALERTS_FOLDER, DEAD_LETTERS_FOLDER, PREDICTIONS_FOLDER)

_DAY_S = 24 * 3600
# A file written this long before a run holds nothing of it, even if the clocks differ.
_CLOCK_SLACK = timedelta(minutes=5)
# Scoring refuses an event time more than this ahead of Kafka's time; a day more where clocks differ.
_AHEAD_S = 2 * MAX_FUTURE_S


class EmptyLakeError(LakeError):
    """Nothing has come into a folder of the lake yet."""


def folders_of(topics: Topics) -> dict[str, str]:
    """Give the folder of each topic."""
    return {
        topics.transactions: TRANSACTIONS_FOLDER,
        topics.fraud_labels: LABELS_FOLDER,
        topics.fraud_alerts: ALERTS_FOLDER,
        topics.transactions_dlq: DEAD_LETTERS_FOLDER,
        topics.predictions: PREDICTIONS_FOLDER,
    }


def day_of_file(path: str) -> str:
    """Give the day on which a file's records came, such as 2026-06-15."""
    return path.rsplit("/", 2)[1].rpartition("=")[2]


def list_day_folders(client: Any, bucket: str, folder: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - boto3 makes its classes at run time
    """List the days of a folder in order: the prefix of each day's keys, and the day.

    Raises:
        ObjectStoreError: the store does not answer.

    """
    for prefix in list_keys(client, bucket, f"{folder}/", folders=True):
        if prefix.removeprefix(f"{folder}/").startswith(DAY):
            yield prefix, day_of_file(prefix)


def days_touched(first: datetime, last: datetime) -> list[str]:
    """List the UTC days that `first` to `last` touches, as in the folders' names."""
    day, end = first.astimezone(UTC).date(), last.astimezone(UTC).date()
    return [(day + timedelta(days=n)).isoformat() for n in range((end - day).days + 1)]


class LakeEnd(NamedTuple):
    """Where the lake ends for a partition.

    Attributes:
        offset: after the last record.
        came_ms: when the last record came, in ms since 1970.

    """

    offset: int
    came_ms: int


class PlaceCounts(Protocol):
    """Counts records, each of which is a partition and an offset."""

    def add_all(self, partitions: NDArray[Any], offsets: NDArray[Any], /) -> None:
        """Count many: two arrays of equal length."""


class Lake:
    """A folder of the lake, read a batch at a time; each method reads only the columns that it needs.

    All methods raise LakeError where the lake cannot be read, or a file in it is not the lake's.

    Attributes:
        name: for messages.
        currency: of the deployment's amounts; a transaction that names another was refused.

    """

    def __init__(self, folder: Folder, currency: str = DEFAULT_CURRENCY) -> None:
        """Take a folder as the lake; nothing is read yet."""
        self.currency = currency
        self._files = LakeFiles(folder)
        self.name = folder.name
        self._read: set[str] = set()
        self._counted = Places()

    def is_empty(self) -> bool:
        """Tell whether no finished file is there."""
        return not any(self._files.of_day(day) for day in self._files.days())

    def batches(self, columns: Iterable[str], since_day: str = "") -> Iterator[pa.RecordBatch]:
        """Give each record once, day after day of Kafka's clock, and in no order within a day.

        Args:
            columns: of them; those of its place and time are there besides.
            since_day: leaves out the days before, such as 2026-06-15.

        """
        wanted = list(columns)
        for day in self._files.days(since_day):
            yield from self._files.batches_of_day(day, wanted)

    def records(self, since_s: float | None = None) -> Iterator[LakeRecord]:
        """Give all records in the order of `batches`, or those that may have happened since a time."""
        for batch in self.batches(["kafka_time", "payload"], "" if since_s is None else day_before(since_s)):
            yield from records_of(batch)

    def count_new(self, counts: PlaceCounts, started_at: datetime, ended_at: datetime) -> int:
        """Count the rows of files that are new since the last call; return the number of these files.

        Files that were merged count by the file that has their rows.
        """
        return self._files.while_listed(lambda: self._count_new(counts, started_at, ended_at))

    def ends(
        self, partitions: Collection[int], since_ms: int = 0, place: Sequence[str] = PLACE_COLUMNS
    ) -> dict[int, LakeEnd]:
        """Tell where the lake ends, by partition; those without any record have none.

        Reads the latest days until each partition was met, and the day before: a record's day may be that of
        the producer's clock. Days long before `since_ms`, in ms since 1970, are not read.

        Args:
            partitions: to be met.
            since_ms: as above.
            place: columns of the partition and the offset, such as `ANSWERED_COLUMNS`; rows without them do
                not count.

        """
        ends: dict[int, LakeEnd] = {}
        for day in reversed(self._files.days(day_before(since_ms / 1000))):
            met_all = ends.keys() >= set(partitions)
            self._files.while_listed(partial(self._note_ends, day, ends, place))
            if met_all and day:
                break
        return ends

    def _note_ends(self, day: str, ends: dict[int, LakeEnd], place: Sequence[str]) -> None:
        for file in self._files.of_day(day):
            columns = [*place, "kafka_time"]
            batches = self._files.batches(self._files.opened(file), file.key, columns)
            for batch in map(pa.RecordBatch.drop_null, batches):
                numbers, offsets = (batch[name].to_numpy() for name in place)
                came = came_us(batch)
                for partition in np.unique(numbers).tolist():
                    rows = np.flatnonzero(numbers == partition)
                    last = int(rows[offsets[rows].argmax()])
                    end = LakeEnd(int(offsets[last]) + 1, int(came[last]) // 1000)
                    ends[partition] = max(end, ends.get(partition, end))

    def last_day(self) -> str:
        """Give the last day of Kafka's clock that has records, such as 2026-06-15; "" where there is none."""
        found = (day for day in reversed(self._files.days()) if self._files.of_day(day))
        return next(found, "").removeprefix(DAY)

    def last_event_s(self, before_s: float) -> float | None:
        """Find the latest event time before a time; None where there is none."""
        latest = None
        for day in reversed(self._files.days()):
            if latest is not None and _day_begin_s(day) + _DAY_S + _AHEAD_S < latest:
                break  # nothing that came by then can be later
            for batch in self._files.batches_of_day(day, ["event_time"]):
                happened_s = times_s(batch)
                known = happened_s[happened_s < before_s]  # leaves out NaN
                if len(known):
                    latest = max(float(known.max()), latest or 0.0)
        return latest

    def payloads(self, since_s: float, until_s: float) -> Iterator[list[tuple[float, bytes]]]:
        """Give the records of a period, each once: event time in seconds since 1970, and the bytes.

        They come in event-time order, some thousand at a time: what happens in an hour, at least, is in
        memory together.
        """
        yield from Period(self._files, day_before(since_s), since_s, until_s).in_order()

    def _count_new(self, counts: PlaceCounts, started_at: datetime, ended_at: datetime) -> int:
        oldest = started_at - _CLOCK_SLACK
        new = 0
        for day in days_touched(oldest, ended_at + _CLOCK_SLACK):
            for file, merge in self._files.of_day_with_merges(f"{DAY}{day}"):
                if file.key in self._read or file.modified < oldest:
                    continue
                partitions, offsets = self._files.places(file)
                first = self._counted.first_met(partitions, offsets)
                if merge is not None and not self._read.isdisjoint(merge.sources):
                    # some of its rows were counted where they lay before
                    partitions, offsets = partitions[first], offsets[first]
                counts.add_all(partitions, offsets)
                self._read.add(file.key)
                new += 1
        return new


def open_lake(settings: Settings, folder: str = TRANSACTIONS_FOLDER) -> Lake:
    """Open a folder of the lake in MinIO; nothing is asked of the server yet."""
    return Lake(BucketFolder(s3_client(settings.s3), settings.buckets.datalake, folder), settings.currency)


def find_lake(location: str, settings_file: str | Path | None = None) -> Lake | None:
    """Find a folder of the lake, local or `s3://bucket/folder`; None where a location may name a file.

    Raises:
        EmptyLakeError: no finished file is there, and the location can only be a folder's.
        LakeError: the lake cannot be read.

    """
    try:
        folder, currency = folder_at(location, settings_file), own_currency(settings_file)
    except SettingsError as error:
        raise LakeError(f"{location}: {error}") from None
    lake = None if folder is None else Lake(folder, currency)
    if lake is None or not lake.is_empty():
        return lake
    if isinstance(folder, LocalFolder) or location.rstrip("/").endswith(
        tuple(f"/{each}" for each in FOLDERS)
    ):
        raise EmptyLakeError(f"{location}: nothing has come into this folder of the lake yet")
    return None


def day_before(since_s: float) -> str:
    """Give the first day of Kafka's clock on which something may have come that happened since then."""
    return datetime.fromtimestamp(max(since_s - _AHEAD_S, 0), UTC).date().isoformat()


def _day_begin_s(day: str) -> float:
    """Give when a day of the lake begins; the end of times for the folder itself."""
    return datetime.fromisoformat(f"{day.removeprefix(DAY)}T00:00Z").timestamp() if day else float("inf")
