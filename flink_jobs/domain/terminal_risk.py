"""How often each terminal was defrauded, as a table that a batch step renews each day.

Labels come a week late, so the numbers for a day end a week before it and change by the day only:
a look-up serves them as well as a second stream of state would.
"""

import io
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from flink_jobs.domain.features import NO_RISK, TERMINAL_FEATURES

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
        values = zip(*(table[name].to_pylist() for name in VALUE_COLUMNS), strict=True)
        self._values = dict(
            zip(zip(table["terminal_id"].to_pylist(), days.tolist(), strict=True), values, strict=True)
        )

    def lookup(self, terminal_id: str, day: int) -> tuple[float, ...]:
        """One value for each of TERMINAL_FEATURES, as of a day.

        Args:
            terminal_id: one that the table does not know has no transactions and no frauds.
            day: the event's, in days since 1970-01-01; past the table's last day, that one is served.

        """
        return self._values.get((terminal_id, min(day, self.last_day)), NO_RISK)

    @classmethod
    def from_parquet(cls, content: bytes) -> Self:
        """Read a snapshot as `training.terminal_risk` wrote it."""
        return cls(pq.read_table(io.BytesIO(content)))

    @classmethod
    def empty(cls) -> Self:
        """For models that take ready columns: no terminal is known."""
        return cls(SCHEMA.empty_table())
