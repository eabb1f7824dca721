"""Labels of a file: CSV or Parquet, read by the same rules as transactions."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.checked_columns import CheckedColumns
from training.columns import LABEL, Mapping, labels_layout
from training.tables import open_table


class LabelTable(NamedTuple):
    """One entry a label, in the order of the file.

    Attributes:
        transaction_ids: as in the transactions.
        frauds: 1 for fraud.
        labelled_by: None where the file does not say.
        labelled_at: UTC, microseconds; NaT where the file does not say.
        event_times: the same; None if the file has none.
        sha256: of the file.
        notes: what a user should know of the file, a sentence each.

    """

    transaction_ids: list[str]
    frauds: NDArray[np.int8]
    labelled_by: list[str | None]
    labelled_at: NDArray[Any]
    event_times: NDArray[Any] | None
    sha256: str
    notes: list[str]


def read_label_table(
    location: str,
    settings_file: str | Path | None = None,
    columns: Mapping | None = None,
    required: Iterable[str] = (),
    option: str = "--columns",
) -> LabelTable:
    """Read labels from a CSV or Parquet file, local or ``s3://bucket/key``.

    Args:
        location: where it is.
        settings_file: says where ``s3://`` is.
        columns: of the file, by our names, where its own names do not tell.
        required: columns that must be there, and have a value in each row.
        option: by which a user tells them, for messages.

    Raises:
        DatasetError: no such file, a missing column, or a value that is refused where labels are read.

    """
    required = list(required)
    table = open_table(location, settings_file, option)
    checked = CheckedColumns(table, labels_layout(table, columns, required), time.time())

    def times(ours: str) -> NDArray[Any]:
        if ours in checked:
            return checked.times(ours, optional=ours not in required)
        return np.full(checked.rows, np.datetime64("NaT", "us"))

    people: list[str | None] = [None] * checked.rows
    if "labelled_by" in checked:
        people = checked.ids("labelled_by", optional="labelled_by" not in required).to_pylist()
    return LabelTable(
        transaction_ids=checked.transaction_ids().to_pylist(),
        frauds=checked.labels(LABEL),
        labelled_by=people,
        labelled_at=times("labelled_at"),
        event_times=times("event_time") if "event_time" in required else None,
        sha256=table.sha256,
        notes=checked.notes,
    )
