"""The lake's transactions as a table, read as the scoring job read them."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from flink_jobs.domain.transaction import InvalidTransaction, Transaction, parse_transaction
from flink_jobs.store.lake import Lake, LakeRecord
from training.instants import as_datetime64
from training.repeats import conflict_note

_MICROSECONDS = 1_000_000
_ROWS_AT_ONCE = 10_000
_PLACES = ["kafka_partition", "kafka_offset"]


class LakeTransactions(NamedTuple):
    """Transactions of the lake.

    Attributes:
        frame: transaction_id, event_time (UTC, microseconds, no zone), customer_id, terminal_id and amount,
            and where it was asked for, kafka_partition and kafka_offset; in event-time order, some 50 bytes a
            row.
        left_out: records that were refused, name no customer or terminal, or repeat a transaction.
        sha256: of the rows, in whichever files they lie.
        notes: what a user should know of them, a sentence each.

    """

    frame: pd.DataFrame
    left_out: int
    sha256: str
    notes: tuple[str, ...] = ()


def read_lake_transactions(
    lake: Lake,
    since: str | datetime | None = None,
    until: str | datetime | None = None,
    *,
    places: bool = False,
) -> LakeTransactions:
    """Read the transactions with since <= event time < until; None leaves a side open.

    With `places`, the frame says where each lies in its topic.

    Of repeats, the one that came first counts; several transactions of one id all do, as the job folds each.
    LakeError as for `Lake`.
    """
    since_us, until_us = (
        None if each is None else int(as_datetime64(each).astype(np.int64)) for each in (since, until)
    )
    packed = _Packed()
    left_out = 0
    for record in lake.records(None if since_us is None else since_us / _MICROSECONDS):
        try:
            read = parse_transaction(record.payload, record.time_us / _MICROSECONDS, lake.currency)
        except InvalidTransaction:
            left_out += 1
            continue
        happened_us = round(read.time_s * _MICROSECONDS)
        if (since_us is not None and happened_us < since_us) or (
            until_us is not None and happened_us >= until_us
        ):
            continue
        if read.customer_id is None or read.terminal_id is None:
            left_out += 1
            continue
        packed.add(read, happened_us, record)
    table, repeats, shared_ids = packed.firsts()
    sha256 = digest_of(table.drop(columns=_PLACES))
    table = table if places else table.drop(columns=_PLACES)
    notes = (conflict_note(lake.name, shared_ids),) if shared_ids else ()
    return LakeTransactions(table, left_out + repeats, sha256, notes)


def digest_of(frame: pd.DataFrame) -> str:
    """Give a digest of a table's rows."""
    digest = hashlib.sha256()
    for first in range(0, len(frame), _ROWS_AT_ONCE):
        part = frame.iloc[first : first + _ROWS_AT_ONCE]
        digest.update(pd.util.hash_pandas_object(part, index=False).to_numpy().tobytes())
    return digest.hexdigest()


class _Packed:
    """Rows in arrays: as objects of Python, they would take a thousand bytes each."""

    def __init__(self) -> None:
        self._names: tuple[dict[str, int], dict[str, int]] = ({}, {})
        self._rows: list[tuple[str, int, int, float, int, int, int, int]] = []
        self._ids: list[pa.Array] = []
        self._hashes: list[NDArray[np.uint64]] = []
        self._columns: list[list[NDArray[np.int64] | NDArray[np.int32] | NDArray[np.float64]]] = []

    def add(self, read: Transaction, happened_us: int, record: LakeRecord) -> None:
        """Add one with a customer and a terminal."""
        customer, terminal = (
            names.setdefault(name or "", len(names))
            for names, name in zip(self._names, (read.customer_id, read.terminal_id), strict=True)
        )
        place = (record.time_us, record.partition, record.offset)
        self._rows.append((read.transaction_id, customer, terminal, read.amount, happened_us, *place))
        if len(self._rows) >= _ROWS_AT_ONCE:
            self._pack()

    def _pack(self) -> None:
        if self._rows:
            ids, *columns = zip(*self._rows, strict=True)
            self._ids.append(pa.array(ids, pa.string()))
            self._hashes.append(pd.util.hash_array(np.array(ids, dtype=object), categorize=False))
            kinds = (np.int32, np.int32, np.float64, np.int64, np.int64, np.int32, np.int64)
            self._columns.append(
                [np.array(column, dtype=kind) for column, kind in zip(columns, kinds, strict=True)]
            )
            self._rows = []

    def firsts(self) -> tuple[pd.DataFrame, int, list[str]]:
        """Give the table without repeats, how many there were, and the ids of several transactions."""
        self._pack()
        ids = pa.chunked_array(self._ids, pa.string())
        customers, terminals, amounts, times, *place = (
            (np.concatenate(column) for column in zip(*self._columns, strict=True))
            if self._columns
            else (np.array([], dtype=np.int64),) * 7
        )
        hashes = np.concatenate(self._hashes) if self._hashes else np.array([], dtype=np.uint64)
        came = np.lexsort(place[::-1])
        repeats, shared_ids = _repeats(ids, hashes, came, (customers, terminals, amounts, times))
        kept = came[~np.isin(came, repeats)] if len(repeats) else came
        kept = kept[np.argsort(times[kept], kind="stable")]
        frame = pd.DataFrame(
            {
                "transaction_id": pd.Series(
                    pd.array(ids.take(pa.array(kept)).combine_chunks(), dtype="string[pyarrow]")
                ),
                "event_time": times[kept].astype("datetime64[us]"),
                **{
                    name: pd.Categorical.from_codes(
                        codes[kept], categories=pd.Index(list(names), dtype=object)
                    )
                    for name, codes, names in zip(
                        ("customer_id", "terminal_id"), (customers, terminals), self._names, strict=True
                    )
                },
                "amount": amounts[kept].astype(np.float64),
                **{name: column[kept] for name, column in zip(_PLACES, place[1:], strict=True)},
            }
        )
        return frame, len(repeats), shared_ids


def _repeats(
    ids: pa.ChunkedArray, hashes: NDArray[np.uint64], came: NDArray[np.int64], told: Sequence[NDArray[Any]]
) -> tuple[NDArray[np.int64], list[str]]:
    """Find rows that repeat another.

    Args:
        ids: of the rows.
        hashes: of the ids.
        came: the rows in the order in which they came.
        told: columns that tell transactions of one id apart.

    Returns:
        The rows whose like has come before, and the ids that stand for several transactions.

    """
    order = came[np.argsort(hashes[came], kind="stable")]
    ordered = hashes[order]
    like_another = np.zeros(len(order), dtype=np.bool_)
    like_another[1:] = ordered[1:] == ordered[:-1]
    like_another[:-1] |= like_another[1:].copy()
    met: dict[str, set[tuple[Any, ...]]] = {}
    repeats = []
    suspects = order[like_another]
    columns = (column[suspects].tolist() for column in told)
    names = ids.take(pa.array(suspects)).to_pylist()
    for row, id_, *rest in zip(suspects.tolist(), names, *columns, strict=True):
        transactions = met.setdefault(id_, set())
        if tuple(rest) in transactions:
            repeats.append(row)
        transactions.add(tuple(rest))
    return np.array(repeats, dtype=np.int64), [id_ for id_, found in met.items() if len(found) > 1]
