"""Transactions as they go onto the wire."""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.dataset import Dataset

_ROWS_AT_ONCE = 8192


def iter_transactions(dataset: Dataset) -> Iterator[tuple[dict[str, Any], int | None]]:
    """Give each transaction as its wire message, with its label, in event-time order.

    The label is None where the data has none.
    """
    frame = dataset.frame
    for start in range(0, len(frame), _ROWS_AT_ONCE):
        rows = frame.iloc[start : start + _ROWS_AT_ONCE]
        labels: list[int | None]
        labels = [None] * len(rows) if dataset.label is None else rows[dataset.label].tolist()
        yield from zip(_messages(dataset, rows), labels, strict=True)


def _messages(dataset: Dataset, rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    ids = rows["transaction_id"].tolist()
    times = _wire_times(rows["event_time"].to_numpy())
    if dataset.kind == "history":
        others = (rows[name].tolist() for name in ("customer_id", "terminal_id", "amount"))
        for transaction_id, event_time, customer_id, terminal_id, amount in zip(
            ids, times, *others, strict=True
        ):
            yield {
                "transaction_id": transaction_id,
                "event_time": event_time,
                "customer_id": customer_id,
                "terminal_id": terminal_id,
                "amount": amount,
            }
        return
    names = dataset.feature_columns
    values = rows[list(names)].to_numpy(np.float64).tolist()
    amounts = rows["Amount"].tolist()
    for transaction_id, event_time, amount, row in zip(ids, times, amounts, values, strict=True):
        yield {
            "transaction_id": transaction_id,
            "event_time": event_time,
            "amount": amount,
            "features": dict(zip(names, row, strict=True)),
        }


def _wire_times(times: NDArray[Any]) -> list[str]:
    """ISO 8601 in UTC; whole seconds are written without a fraction."""
    whole = times.astype("datetime64[s]")
    unit: Literal["s", "us"] = "s" if np.array_equal(whole.astype(times.dtype), times) else "us"
    return [text + "Z" for text in np.datetime_as_string(times, unit=unit).tolist()]
