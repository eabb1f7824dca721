"""Numbers of identifiers, looked up for a whole batch at once.

Arrays only: a dictionary of a million texts would be a million objects, made and freed while scoring waits
for Python's lock; NumPy and Arrow do their work without it.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

# Keeps what is needed while an index is made small.
_BYTES_AT_ONCE = 1 << 20


class IdIndex:
    """Distinct identifiers, each with its number in the order in which they were given.

    Of each there are two hashes of 64 bits: sums of its bytes, each times a random number that stands for its
    place. Whatever two identifiers are made of, and however long they are, they have both in common once in
    2 to the 96th times; nobody can choose them so, as the numbers are drawn anew for each index.
    """

    def __init__(self, ids: pa.StringArray) -> None:
        offsets, _ = _layout(ids)
        longest = int((offsets[1:] - offsets[:-1]).max(initial=0))
        # the last is that of all places past the longest
        self._factors = np.random.default_rng().integers(2**64, size=(2, longest + 1), dtype=np.uint64)
        cuts = offsets.searchsorted(np.arange(offsets[0], offsets[-1], _BYTES_AT_ONCE))
        hashes = np.zeros((2, len(ids) + 1), dtype=np.uint64)
        for first, end in pairwise(np.union1d(cuts, [0, len(ids)]).tolist()):
            hashes[:, first:end] = self._hash(ids[first:end])
        # the last is for what follows all of them, and is no identifier
        order = np.append(hashes[0, :-1].argsort(), len(ids))
        self._hashes = hashes.take(order, axis=1)
        self._numbers = order.astype(np.int32)
        self._numbers[-1] = -1

    def __len__(self) -> int:
        """Count the identifiers."""
        return len(self._numbers) - 1

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        return self._factors.nbytes + self._hashes.nbytes + self._numbers.nbytes

    def numbers(self, ids: Sequence[str]) -> NDArray[np.int32]:
        """Give each identifier's number, -1 where it is not known: [ids]."""
        hashes = self._hash(pa.array(ids, pa.string()))
        at = self._hashes[0, :-1].searchsorted(hashes[0])
        known = np.logical_and.reduce(self._hashes[:, at] == hashes)
        numbers: NDArray[np.int32] = np.where(known, self._numbers[at], np.int32(-1))
        return numbers

    def _hash(self, ids: pa.StringArray) -> NDArray[np.uint64]:
        """Give both hashes of each: [2, ids]."""
        offsets, text = _layout(ids)
        ends = offsets - offsets[0]
        begins = ends[:-1]
        places = np.arange(len(text)) - begins.repeat(ends[1:] - begins)
        sums = np.zeros((2, len(text) + 1), dtype=np.uint64)
        # a byte 0 counts too
        summands = self._factors.take(places, axis=1, mode="clip") * (text + np.uint64(1))
        summands.cumsum(axis=1, out=sums[:, 1:])
        found = sums[:, ends]
        hashes: NDArray[np.uint64] = found[:, 1:] - found[:, :-1]
        return hashes


def _layout(ids: pa.StringArray) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Give where each begins and the last ends, and the bytes of all of them: [ids + 1], [bytes]."""
    if not len(ids):
        return np.zeros(1, dtype=np.int32), np.empty(0, dtype=np.uint8)
    offsets = np.frombuffer(ids.buffers()[1], np.int32)[ids.offset :][: len(ids) + 1]
    return offsets, np.frombuffer(ids.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
