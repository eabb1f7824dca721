"""How often each terminal was defrauded, as a table that a batch step renews each day.

Labels come a week late, so the numbers for a day end a week before it and change by the day only:
a look-up serves them as well as a second stream of state would.
"""

import io
from collections.abc import Sequence
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from flink_jobs.domain.features import NO_RISK, TERMINAL_FEATURES

RISK_FILE = "terminal_risk.parquet"
VALUE_COLUMNS = tuple(feature.name.removeprefix("terminal_") for feature in TERMINAL_FEATURES)
SCHEMA = pa.schema(
    [("terminal_id", pa.string()), ("day", pa.int32()), *((name, pa.float32()) for name in VALUE_COLUMNS)]
)


class TerminalRisk:
    """What is known of each terminal, by day."""

    def __init__(self, table: pa.Table) -> None:
        if table.schema.names != SCHEMA.names:
            raise ValueError(
                f"terminal risk table has columns {table.schema.names}, expected {SCHEMA.names}: "
                "publish it again with this version"
            )
        days = table["day"].to_numpy()
        self.first_day = int(days.min()) if len(days) else 0
        self.last_day = int(days.max()) if len(days) else 0
        # the last row is for terminals and days that are not known
        known = [table[name].to_numpy() for name in VALUE_COLUMNS]
        self._values = np.append(np.column_stack(known), [NO_RISK], axis=0).astype(np.float32)
        ids = table["terminal_id"].combine_chunks().dictionary_encode()
        self._numbers = {name: number for number, name in enumerate(ids.dictionary.to_pylist())}
        # [terminals, days]: the row of each
        shape = (len(self._numbers) + 1, self.last_day - self.first_day + 2)
        self._rows = np.full(shape, len(table), dtype=np.int32)
        self._rows[ids.indices.to_numpy(), days - self.first_day] = np.arange(len(table))

    def as_of(self, terminal_ids: Sequence[str], days: NDArray[np.int64]) -> NDArray[np.float32]:
        """Give what is known of terminals as of a day each: [rows, TERMINAL_FEATURES].

        Args:
            terminal_ids: one that the table does not know has no transactions and no frauds.
            days: the events', since 1970-01-01; past the table's last day, that one is served.

        """
        number_of, unknown = self._numbers.get, len(self._numbers)
        numbers = [number_of(name, unknown) for name in terminal_ids]
        # before the first day is the last column
        columns = np.maximum(np.minimum(days, self.last_day) - self.first_day, -1)
        found: NDArray[np.float32] = self._values[self._rows[numbers, columns]]
        return found

    @classmethod
    def from_parquet(cls, content: bytes) -> Self:
        """Read a snapshot as `training.terminal_risk` wrote it."""
        return cls(pq.read_table(io.BytesIO(content)))

    @classmethod
    def empty(cls) -> Self:
        """For models that take ready columns: no terminal is known."""
        return cls(SCHEMA.empty_table())
