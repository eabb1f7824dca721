"""Files of a folder of the lake, by day, and their records; errors name the lake and the file."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from flink_jobs.domain.offset_set import OffsetSet
from flink_jobs.store.folders import Folder
from flink_jobs.store.merges import MERGES_FOLDER, Merge, MergeRecord, is_merged, read_merges, superseded
from flink_jobs.store.object_store import ObjectMissingError, ObjectStoreError, StoredObject

PLACE_COLUMNS = ("kafka_partition", "kafka_offset")
# of a prediction or dead letter: its transaction's place
ANSWERED_COLUMNS = ("transaction_partition", "transaction_offset")
DAY = "dt="

MICROSECONDS = 1_000_000
_ROWS_AT_ONCE = 16_384
# Places are noted so many at a time, and by ten minutes: a topic is not lost, made anew and filled in less.
_BLOCK = 1 << 13
_ALL_MET = 0xFF
_SAME_TIME_US = 600 * MICROSECONDS
# Of a column, so much is read at a time, however large the file.
_READ_BYTES = 1024 * 1024
# A file that is gone was merged: the day is listed anew, but not for ever.
LISTINGS = 5

Found = TypeVar("Found")


class LakeError(Exception):
    """The lake cannot be read, or has a file that is not the lake's."""


class FileGoneError(Exception):
    """A file that was listed is there no more."""


class LakeRecord(NamedTuple):
    """A record: its bytes, when it came, in microseconds since 1970, and its place."""

    payload: bytes
    time_us: int
    partition: int
    offset: int


def is_finished(path: str) -> bool:
    """Tell finished files from files in progress and from markers."""
    return not path.rpartition("/")[2].startswith((".", "_"))


class Places:
    """Places in Kafka that were met; a bit for each, in blocks of which not all were met yet."""

    def __init__(self) -> None:
        self._met: dict[tuple[int, int, int], NDArray[np.uint8]] = {}
        # numbers of the other blocks, by partition and time
        self._whole: defaultdict[tuple[int, int], OffsetSet] = defaultdict(OffsetSet)

    def first_met(
        self, partitions: NDArray[Any], offsets: NDArray[Any], came_us: NDArray[np.int64] | None = None
    ) -> NDArray[np.bool_]:
        """Note places, and tell which are met for the first time: arrays of equal length.

        With the times when records came, in microseconds since 1970, a place counts anew in another ten
        minutes: a topic that was lost begins at offset 0 again.
        """
        first = np.zeros(len(offsets), dtype=np.bool_)
        blocks, within = offsets.astype(np.int64) // _BLOCK, offsets.astype(np.int64) % _BLOCK
        whens = np.zeros_like(blocks) if came_us is None else came_us // _SAME_TIME_US
        for partition, block, when in set(
            zip(partitions.tolist(), blocks.tolist(), whens.tolist(), strict=True)
        ):
            whole = self._whole[partition, when]
            if not whole.gaps(block, block + 1):
                continue
            met = self._met.setdefault((partition, block, when), np.zeros(_BLOCK // 8, dtype=np.uint8))
            rows = np.flatnonzero((partitions == partition) & (blocks == block) & (whens == when))
            distinct, at = np.unique(within[rows], return_index=True)
            octets, bits = distinct >> 3, (1 << (distinct & 7)).astype(np.uint8)
            first[rows[at]] = met[octets] & bits == 0
            np.bitwise_or.at(met, octets, bits)
            if met.min() == _ALL_MET:
                whole.add_ranges([(block, block + 1)])
                del self._met[partition, block, when]
        return first


class LakeFiles:
    """Files of a folder; all methods raise LakeError, FileGoneError where a file was listed and is gone.

    Attributes:
        name: for messages.

    """

    def __init__(self, folder: Folder) -> None:
        """Take a folder; nothing is read yet."""
        self._folder = folder
        self.name = folder.name

    def days(self, since_day: str = "") -> list[str]:
        """List the subfolders from a day on; "" is the folder itself, which may have files too."""
        with _told(self.name):
            days = [name for name in self._folder.subfolders() if name.startswith(DAY)]
        return ["", *(day for day in days if day.removeprefix(DAY) >= since_day)]

    def of_day(self, day: str) -> list[StoredObject]:
        """List the files of a day that count."""
        return [file for file, _ in self.of_day_with_merges(day)]

    def of_day_with_merges(self, day: str) -> list[tuple[StoredObject, Merge | None]]:
        """List the files of a day that count, each with the merge that made it."""
        found, merges = self.finished(day)
        merged = superseded((file.key for file in found), merges)
        made = {merge.target: merge for _, merge in merges}
        return [(file, made.get(file.key)) for file in found if file.key not in merged]

    def finished(self, day: str, known: Collection[str] = ()) -> tuple[list[StoredObject], list[MergeRecord]]:
        """List all finished files of a day, and its merges; no merges where all of the files are known."""
        with _told(self.name):
            # files first: a merge that ends in between counts by its sources
            found = [file for file in self._folder.files(day) if is_finished(file.key)]
            names = {file.key for file in found}
            asked = any(map(is_merged, names)) and not names.issubset(known)
            records = self._folder.files(f"{MERGES_FOLDER}/{day}") if asked else []
            return found, read_merges(records, self._folder.read)

    def batches(
        self, parquet: pq.ParquetFile, name: str, columns: Sequence[str], row_group: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Read columns of a file that was opened, or of one of its row groups."""
        missing = set(columns).difference(parquet.schema_arrow.names)
        if missing:
            raise LakeError(
                f"{self.name}: {name} has no column {', '.join(sorted(missing))}; "
                "expected what kafka_to_minio_job writes"
            )
        groups = None if row_group is None else [row_group]
        with _told(self.name, name):
            yield from parquet.iter_batches(_ROWS_AT_ONCE, groups, list(columns), use_threads=False)

    def batches_of_day(self, day: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Read columns of a day, and those of the place and time of each record; each record once."""
        columns = list(dict.fromkeys([*PLACE_COLUMNS, "kafka_time", *columns]))
        met = Places()
        for listing in range(1, LISTINGS + 1):
            try:
                for file in self.of_day(day):
                    for batch in self.batches(self.opened(file), file.key, columns):
                        partitions, offsets = (batch[name].to_numpy() for name in PLACE_COLUMNS)
                        new = met.first_met(partitions, offsets, came_us(batch))
                        if new.any():
                            yield batch if new.all() else batch.filter(pa.array(new))
            except FileGoneError as error:
                # what was given already is not given again
                if listing == LISTINGS:
                    raise LakeError(f"cannot read the lake, {self.name}: {error}") from None
            else:
                return

    def places(
        self, file: StoredObject, columns: Sequence[str] = PLACE_COLUMNS
    ) -> tuple[NDArray[np.int64], ...]:
        """Read the places of a file's rows, column by column: partitions, offsets; -1 where a row has none.

        Args:
            file: as it was listed.
            columns: partition and offset, of one or more places.

        """
        batches = list(self.batches(self.opened(file), file.key, columns))
        none = np.array([], dtype=np.int64)
        return tuple(
            np.concatenate([none, *(_integers(batch[name]) for batch in batches)]) for name in columns
        )

    def opened(self, file: StoredObject) -> pq.ParquetFile:
        """Open a file."""
        with _told(self.name, file.key):
            return open_parquet(self._folder.open(file))

    def while_listed(self, read: Callable[[], Found], list_anew: Callable[[], None] = lambda: None) -> Found:
        """Read, and once more from a new listing where a file is gone."""
        for _ in range(LISTINGS - 1):
            try:
                return read()
            except FileGoneError:
                list_anew()
        try:
            return read()
        except FileGoneError as error:
            raise LakeError(f"cannot read the lake, {self.name}: {error}") from None


@contextmanager
def _told(name: str, file: str = "") -> Iterator[None]:
    """Raise what goes wrong with the store or a file as an error of the lake."""
    try:
        yield
    except ObjectMissingError as error:
        raise FileGoneError(str(error)) from None
    except (ObjectStoreError, OSError, ValueError) as error:
        # damaged pages are an OSError of Arrow's, whose message has several lines
        no_parquet = file and isinstance(error, (pa.ArrowException, OSError))
        where = f": {file} is no Parquet that can be read" if no_parquet else ""
        raise LakeError(f"cannot read the lake, {name}{where}: {' '.join(str(error).split())}") from None


def open_parquet(file: IO[bytes] | Any) -> pq.ParquetFile:  # noqa: ANN401 - whatever Arrow reads from
    """Open a file of the lake: its columns are read in parts, and its times, which reach far, are kept."""
    return pq.ParquetFile(file, buffer_size=_READ_BYTES, coerce_int96_timestamp_unit="us")


def read_records(file: IO[bytes], name: str) -> Iterator[LakeRecord]:
    """Give the records of one file; LakeError: it is not the lake's."""
    wanted = [*PLACE_COLUMNS, "kafka_time", "payload"]
    with _told(name):
        for batch in open_parquet(file).iter_batches(_ROWS_AT_ONCE, columns=wanted, use_threads=False):
            yield from records_of(batch)


def records_of(batch: pa.RecordBatch) -> Iterator[LakeRecord]:
    """Give the records of a batch with their payload, time and place."""
    times = _microseconds(batch["kafka_time"])
    columns = (batch["payload"], times, *(batch[name] for name in PLACE_COLUMNS))
    for payload, *place in zip(*(column.to_pylist() for column in columns), strict=True):
        yield LakeRecord(payload or b"", *place)


def _integers(column: pa.Array) -> NDArray[Any]:
    """Give integers as an array, -1 for NULL."""
    # not to_numpy, nor fill_null unless need be: their first call imports pandas
    integers: NDArray[Any] = np.from_dlpack(column.fill_null(-1) if column.null_count else column)
    return integers


def _microseconds(times: pa.Array) -> pa.Array:
    return times.cast(pa.timestamp("us", times.type.tz), safe=False).cast(pa.int64())


def came_us(batch: pa.RecordBatch | pa.Table) -> NDArray[np.int64]:
    """Give when the records of a batch came, in microseconds since 1970."""
    microseconds: NDArray[np.int64] = _microseconds(batch["kafka_time"]).to_numpy()
    return microseconds


def times_s(batch: pa.RecordBatch) -> NDArray[np.float64]:
    """Give event times of a batch in seconds since 1970; NaN where the column has none."""
    microseconds = _microseconds(batch["event_time"]).to_numpy(zero_copy_only=False)
    seconds: NDArray[np.float64] = microseconds.astype(np.float64) / MICROSECONDS
    return seconds
