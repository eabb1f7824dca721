"""A lake on disk with transactions, labels and predictions, as the lake's job writes them."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

PREDICTION_COLUMNS = {
    "transaction_id": pa.string(),
    "score": pa.float64(),
    "threshold": pa.float64(),
    "model_version": pa.string(),
    "risk_version": pa.string(),
    "challenger_score": pa.float64(),
    "challenger_version": pa.string(),
    "control_probability": pa.float64(),
    "transaction_partition": pa.int32(),
    "transaction_offset": pa.int64(),
}
_Record = Mapping[str, Any]


class ServedLake:
    """Writes files; a record of a topic is at the next offset of partition 0."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._offsets: dict[str, int] = {}

    def transactions(self, records: Iterable[_Record], day: str = "2026-06-20") -> None:
        """Write payments: transaction_id, event_time, customer_id, terminal_id and amount."""
        records = list(records)
        times = [datetime.fromisoformat(each["event_time"]).astimezone(UTC) for each in records]
        self._write("raw/transactions", records, day, {"event_time": pa.array(times, pa.timestamp("ms"))})

    def labels(self, records: Iterable[_Record], day: str = "2026-06-20") -> None:
        """Write labels."""
        self._write("labels", list(records), day, {})

    def predictions(
        self, records: Iterable[_Record], day: str = "2026-06-20", at: list[datetime] | None = None
    ) -> None:
        """Write predictions: PREDICTION_COLUMNS, of which those left out are NULL, and when each came."""
        records = list(records)
        columns = {
            name: pa.array([each.get(name) for each in records], kind)
            for name, kind in PREDICTION_COLUMNS.items()
        }
        self._write("predictions", records, day, columns, at)

    def _write(
        self,
        folder: str,
        records: list[_Record],
        day: str,
        columns: dict[str, pa.Array],
        at: list[datetime] | None = None,
    ) -> None:
        first = self._offsets.get(folder, 0)
        self._offsets[folder] = first + len(records)
        at = at or [datetime.fromisoformat(f"{day}T12:00:00Z")] * len(records)
        table = pa.table(
            {
                **columns,
                "kafka_partition": pa.array([0] * len(records), pa.int32()),
                "kafka_offset": pa.array(range(first, first + len(records)), pa.int64()),
                "kafka_time": pa.array(at, pa.timestamp("ms", "UTC")),
                "payload": [json.dumps(each).encode() for each in records],
            }
        )
        path = self.root / folder / f"dt={day}"
        path.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path / f"part-{first:06}", use_deprecated_int96_timestamps=True)
