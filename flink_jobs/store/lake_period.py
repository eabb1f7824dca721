"""A period of the lake in event-time order, though it lies there in the order in which it came."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from flink_jobs.domain.transaction import InvalidTransaction, parse_transaction
from flink_jobs.store.lake_files import PLACE_COLUMNS, LakeFiles, Places, times_s
from flink_jobs.store.object_store import StoredObject

_HOUR_S = 3600
# So many rows are put in order at a time, or those of an hour.
_ROWS_IN_ORDER = 50_000


class Period:
    """Records that happened in a period; first it finds out which hours lie in which part of which file."""

    def __init__(self, files: LakeFiles, since_day: str, since_s: float, until_s: float) -> None:
        """Take the period.

        Args:
            files: of the lake.
            since_day: what came before this day did not happen in it.
            since_s: its begin, in seconds since 1970.
            until_s: its end.

        """
        self._files = files
        self._since_s = since_s
        self._until_s = until_s
        self._parts = {day: self._parts_of(day) for day in files.days(since_day)}

    def in_order(self) -> Iterator[list[tuple[float, bytes]]]:
        """Give event times and payloads, each record once, some thousand at a time."""
        hours: Counter[int] = Counter()
        for part in (part for parts in self._parts.values() for part in parts):
            hours.update(part.hours)
        for first, end in _spans(hours):
            yield self._between(max(self._since_s, first * _HOUR_S), min(self._until_s, end * _HOUR_S))

    def _between(self, since_s: float, until_s: float) -> list[tuple[float, bytes]]:
        tables = [table for day in self._parts for table in self._of_day(day, since_s, until_s)]
        if not tables:
            return []
        table = pa.concat_tables(tables)
        happened_s, partitions, offsets = (
            table[name].to_numpy() for name in ("event_time_s", *PLACE_COLUMNS)
        )
        order = np.lexsort((offsets, partitions, happened_s))
        kept = order[Places().first_met(partitions[order], offsets[order])]
        return list(zip(happened_s[kept].tolist(), table["payload"].take(kept).to_pylist(), strict=True))

    def _of_day(self, day: str, since_s: float, until_s: float) -> list[pa.Table]:
        def read() -> list[pa.Table]:
            return [
                table
                for part in self._parts[day]
                if part.has(since_s, until_s)
                for table in self._rows_between(part, since_s, until_s)
            ]

        def list_anew() -> None:
            self._parts[day] = self._parts_of(day)

        return self._files.while_listed(read, list_anew)

    def _rows_between(self, part: "_Part", since_s: float, until_s: float) -> Iterator[pa.Table]:
        columns = ["payload", *PLACE_COLUMNS]
        parquet = self._files.opened(part.file)
        for happened_s, batch in self._timed(parquet, part.file.key, part.row_group, columns):
            rows = np.flatnonzero((happened_s >= since_s) & (happened_s < until_s))
            if len(rows):
                taken = batch.take(pa.array(rows))
                yield pa.table({"event_time_s": happened_s[rows], **{name: taken[name] for name in columns}})

    def _parts_of(self, day: str) -> list["_Part"]:
        def find() -> list[_Part]:
            found = []
            for file in self._files.of_day(day):
                parquet = self._files.opened(file)
                for row_group in range(parquet.num_row_groups):
                    hours = self._hours(parquet, file.key, row_group)
                    if hours:
                        found.append(_Part(file, row_group, hours))
            return found

        return self._files.while_listed(find)

    def _hours(self, parquet: pq.ParquetFile, name: str, row_group: int) -> Counter[int]:
        """Count the rows of a row group that are of the period, by hours since 1970."""
        hours: Counter[int] = Counter()
        for columns in ([], ["payload"]):
            hours.clear()
            for happened_s, _ in self._timed(parquet, name, row_group, columns):
                if np.isnan(happened_s).any() and not columns:
                    break  # the payload is needed
                inside = happened_s[(happened_s >= self._since_s) & (happened_s < self._until_s)]
                hours.update((inside // _HOUR_S).astype(np.int64).tolist())
            else:
                break
        return hours

    def _timed(
        self, parquet: pq.ParquetFile, name: str, row_group: int, columns: Sequence[str]
    ) -> Iterator[tuple[NDArray[np.float64], pa.RecordBatch]]:
        """Go through a part of a file: event times in seconds since 1970 (NaN: unknown), and columns.

        With `payload` among the columns, times that SQL did not read are read as the job does.
        """
        for batch in self._files.batches(parquet, name, ["event_time", *columns], row_group):
            happened_s = times_s(batch)
            unknown = np.isnan(happened_s)
            if unknown.any() and "payload" in columns:
                payloads = batch["payload"].filter(pa.array(unknown)).to_pylist()
                happened_s[unknown] = [_parsed_time_s(payload, self._until_s) for payload in payloads]
            yield happened_s, batch


class _Part(NamedTuple):
    """A row group of a file, and how many rows it has of each hour since 1970."""

    file: StoredObject
    row_group: int
    hours: dict[int, int]

    def has(self, since_s: float, until_s: float) -> bool:
        return any(hour * _HOUR_S < until_s and (hour + 1) * _HOUR_S > since_s for hour in self.hours)


def _parsed_time_s(payload: bytes | None, now_s: float) -> float:
    try:
        return parse_transaction(payload or b"", now_s).time_s
    except InvalidTransaction:
        return float("nan")


def _spans(hours: dict[int, int]) -> Iterator[tuple[int, int]]:
    """Cut hours into spans of few rows: from an hour to before another."""
    first, rows = None, 0
    for hour in sorted(hours):
        if first is not None and rows + hours[hour] > _ROWS_IN_ORDER:
            yield first, hour
            first, rows = None, 0
        first = hour if first is None else first
        rows += hours[hour]
    if first is not None:
        yield first, hour + 1
