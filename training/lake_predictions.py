"""The lake's predictions: for each transaction, by its place in Kafka, the one that came first."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from flink_jobs.store.lake import Lake, day_before
from flink_jobs.store.lake_files import PLACE_COLUMNS, came_us

_SOURCE = ("transaction_partition", "transaction_offset")
_NUMBERS = ("score", "threshold", "challenger_score", "control_probability")
_NAMES = ("model_version", "challenger_version")
# A place as one number: the partition above the offset.
_OFFSET_BITS = 48
_NOT_YET = np.iinfo(np.int64).max


class _Came(NamedTuple):
    """When and where predictions came, [rows] each."""

    times_us: NDArray[np.int64]
    partitions: NDArray[np.int64]
    offsets: NDArray[np.int64]

    def before(self, other: "_Came") -> NDArray[np.bool_]:
        """Tell which came before those of another, row by row."""
        earlier, same = np.zeros(len(self.times_us), np.bool_), np.ones(len(self.times_us), np.bool_)
        for one, two in zip(self, other, strict=True):
            earlier |= same & (one < two)
            same &= one == two
        return earlier


def read_predictions(
    lake: Lake, partitions: NDArray[Any], offsets: NDArray[Any], since_s: float
) -> pd.DataFrame:
    """Read the predictions of transactions; some 80 bytes a transaction are in memory.

    Args:
        lake: the folder of predictions.
        partitions: [transactions], of the topic of transactions, no place twice.
        offsets: the same.
        since_s: none of the transactions happened before, in seconds since 1970.

    Returns:
        A row a transaction: score, threshold, challenger_score, control_probability, model_version and
        challenger_version; NaN where there is none, and throughout where nothing was predicted.

    Raises:
        LakeError: as for `Lake`.

    """
    keys = _keys(partitions, offsets)
    order = np.argsort(keys)
    keys = keys[order]
    first = _Came(*(np.full(len(keys), _NOT_YET) for _ in _Came._fields))
    numbers = {name: np.full(len(keys), np.nan) for name in _NUMBERS}
    codes = {name: np.full(len(keys), -1, np.int32) for name in _NAMES}
    known: dict[str, dict[str, int]] = {name: {} for name in _NAMES}
    for batch in lake.batches([*_SOURCE, *_NUMBERS, *_NAMES], day_before(since_s)):
        of_batch, came = _of_source(batch)
        of_keys = _keys(*(of_batch[name].to_numpy() for name in _SOURCE))
        rows = np.searchsorted(keys, of_keys)
        wanted = np.flatnonzero(np.append(keys, _NOT_YET)[rows] == of_keys)
        # within a batch, the first of each transaction
        ordered = wanted[np.lexsort((*(each[wanted] for each in came[::-1]), rows[wanted]))]
        ordered = ordered[np.diff(rows[ordered], prepend=-1) != 0]
        at, came = rows[ordered], _Came(*(each[ordered] for each in came))
        earlier = came.before(_Came(*(each[at] for each in first)))
        at, taken = at[earlier], ordered[earlier]
        for stored, each in zip(first, came, strict=True):
            stored[at] = each[earlier]
        for name, column in numbers.items():
            column[at] = of_batch[name].to_numpy(zero_copy_only=False)[taken]
        for name, column in codes.items():
            column[at] = _coded(of_batch[name], known[name])[taken]
    back = np.argsort(order)
    names = {name: pd.Index(list(found), dtype=object) for name, found in known.items()}
    columns: dict[str, Any] = {name: column[back] for name, column in numbers.items()}
    columns |= {name: pd.Categorical.from_codes(column[back], names[name]) for name, column in codes.items()}
    return pd.DataFrame(columns)


def control_places(lake: Lake, since_s: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """List control transactions: partitions and offsets, each place once; arguments as `read_predictions`."""
    found = [np.array([], dtype=np.int64)]
    for batch in lake.batches([*_SOURCE, "control_probability"], day_before(since_s)):
        of_batch, _ = _of_source(batch.filter(batch["control_probability"].is_valid()))
        found.append(_keys(*(of_batch[name].to_numpy() for name in _SOURCE)))
    keys = np.unique(np.concatenate(found))
    return keys >> _OFFSET_BITS, keys & ((1 << _OFFSET_BITS) - 1)


def _keys(partitions: NDArray[Any], offsets: NDArray[Any]) -> NDArray[np.int64]:
    return (partitions.astype(np.int64) << _OFFSET_BITS) | offsets.astype(np.int64)


def _of_source(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, _Came]:
    """Leave out rows that name no transaction, and tell when the others came."""
    for name in _SOURCE:
        batch = batch.filter(batch[name].is_valid())
    places = (batch[name].to_numpy().astype(np.int64) for name in PLACE_COLUMNS)
    return batch, _Came(came_us(batch), *places)


def _coded(names: pa.Array, known: dict[str, int]) -> NDArray[np.int32]:
    """Give each name's number, -1 where there is none; `known` learns new ones."""
    encoded = names.dictionary_encode()
    numbers = [known.setdefault(name, len(known)) for name in encoded.dictionary.to_pylist()]
    indices = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    coded: NDArray[np.int32] = np.array([*numbers, -1], dtype=np.int32)[indices]
    return coded
