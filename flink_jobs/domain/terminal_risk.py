"""How often each terminal was defrauded, by day: a table that training and renewals make, and jobs look up.

Labels come a week late, so the numbers for a day end a week before it and change only from day to day:
a look-up serves them as well as a second stream of state would. On a day that the table does not have, every
terminal is unknown: numbers of weeks ago are not used.
"""

import io
from collections.abc import Callable, Iterable, Sequence
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from flink_jobs.domain.features import LABEL_DELAY_DAYS, TERMINAL_FEATURES, no_risk
from flink_jobs.domain.id_index import IdIndex

RISK_FILE = "terminal_risk.parquet"
VALUE_COLUMNS = tuple(feature.name.removeprefix("terminal_") for feature in TERMINAL_FEATURES)
SCHEMA = pa.schema(
    [("terminal_id", pa.string()), ("day", pa.int32()), *((name, pa.float32()) for name in VALUE_COLUMNS)]
)


# In a file's metadata: how late labels come; LABEL_DELAY_DAYS in older files, which do not say it.
DELAY_KEY = b"label_delay_days"
# In a file's metadata: days that the table knows, besides those of its rows; it may have no row of them.
DAYS_KEY = b"days"


def said_of_table(label_delay_days: int, days: Iterable[int]) -> dict[bytes, str]:
    """Give the metadata of a file."""
    return {DELAY_KEY: str(label_delay_days), DAYS_KEY: " ".join(map(str, sorted(days)))}


class TerminalRisk:
    """What is known of each terminal, by day.

    Attributes:
        label_delay_days: how many days before each day its numbers end.
        days: that the table has, ascending, since 1970-01-01.

    """

    def __init__(self, table: pa.Table) -> None:
        self._fill(table.schema, table.num_rows, table.column)

    def _fill(self, schema: pa.Schema, rows: int, column: Callable[[str], pa.ChunkedArray]) -> None:
        """Take the columns one after another, so that no more than one lies in memory twice."""
        if schema.names != SCHEMA.names:
            raise ValueError(
                f"terminal risk table has columns {schema.names}, expected {SCHEMA.names}: "
                "publish it again with this version"
            )
        said = schema.metadata or {}
        self.label_delay_days = int(said.get(DELAY_KEY, LABEL_DELAY_DAYS))
        days = column("day").to_numpy()
        self.days = np.union1d(days, [int(day) for day in said.get(DAYS_KEY, b"").split()]).astype(np.int64)
        self._days_and_none = np.append(self.days, -1)
        ids = column("terminal_id").dictionary_encode().unify_dictionaries().combine_chunks()
        self._terminals = IdIndex(ids.dictionary)
        # [terminals, days]: row numbers in `_values`; the last terminal, day and row stand for unknown ones
        self._rows = np.full((len(self._terminals) + 1, len(self.days) + 1), rows, dtype=np.int32)
        self._rows[ids.indices.to_numpy(), np.searchsorted(self.days, days)] = np.arange(rows, dtype=np.int32)
        del ids, days
        self._values = np.empty((rows + 1, len(VALUE_COLUMNS)), dtype=np.float32)
        for number, name in enumerate(VALUE_COLUMNS):
            self._values[:-1, number] = column(name).to_numpy()
        self._values[-1] = no_risk(self.label_delay_days)

    def __str__(self) -> str:
        """Name terminals and days."""
        span = [np.datetime64(int(day), "D") for day in self.days[[0, -1]]] if len(self.days) else []
        return f"{len(self._terminals):,} terminals, {' to '.join(map(str, span)) or 'no day'}"

    @property
    def nbytes(self) -> int:
        """Memory of the table."""
        return self._values.nbytes + self._rows.nbytes + self._terminals.nbytes

    def as_of(self, terminal_ids: Sequence[str], days: NDArray[np.int64]) -> NDArray[np.float32]:
        """Give each terminal's features as of its day: [rows, TERMINAL_FEATURES].

        Args:
            terminal_ids: an unknown terminal has no transactions and no frauds.
            days: the events', since 1970-01-01; on a day that the table does not have, no terminal is known.

        """
        columns = self.days.searchsorted(days)
        # -1, the last column, stands for unknown days
        columns = np.where(self._days_and_none[columns] == days, columns, -1)
        found: NDArray[np.float32] = self._values[self._rows[self._terminals.numbers(terminal_ids), columns]]
        return found

    def covers(self, day: int) -> bool:
        """Tell whether the table has a day."""
        return bool(self._days_and_none[np.searchsorted(self.days, day)] == day)

    def age_days(self, day: int) -> int:
        """Count the days from the table's last day up to `day` to `day`; 0 if there is none."""
        before = int(np.searchsorted(self.days, day, side="right"))
        return day - int(self.days[before - 1]) if before else 0

    @classmethod
    def from_parquet(cls, content: bytes) -> Self:
        """Read a snapshot as `training.terminal_labels` wrote it."""
        # hold each id once, not once a day
        file = pq.ParquetFile(io.BytesIO(content), read_dictionary=["terminal_id"])
        risk = cls.__new__(cls)
        risk._fill(  # noqa: SLF001 - its own class
            file.schema_arrow, file.metadata.num_rows, lambda name: file.read(columns=[name]).column(0)
        )
        # Arrow would keep the memory that it no longer needs
        pa.default_memory_pool().release_unused()
        return risk

    @classmethod
    def empty(cls) -> Self:
        """For models that take ready columns: no terminal is known."""
        return cls(SCHEMA.empty_table())
