"""Numbers of identifiers, looked up for a whole batch at once.

Arrays only: a dictionary of a million texts would be a million objects, made and freed while scoring waits
for Python's lock; NumPy and Arrow do their work without it.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_WORD_BYTES = 8
# Ends each identifier; UTF-8 has no such byte.
_END = 0xFF
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(32)
# Keeps what is needed while an index is made small.
_IDS_AT_ONCE = 65_536

PackedIds = NDArray[np.uint64]


class IdIndex:
    """Distinct identifiers, each with its number in the order in which they were given.

    They lie as words of 8 bytes, sorted by a hash of 64 bits; a hash that fits is held against the words.
    """

    def __init__(self, ids: pa.StringArray) -> None:
        offsets = _offsets(ids)
        longest = int((offsets[1:] - offsets[:-1]).max()) if len(ids) else 0
        self._width = longest // _WORD_BYTES + 1
        parts = range(0, len(ids), _IDS_AT_ONCE)
        words = np.empty((len(ids), self._width), dtype=np.uint64)
        for first in parts:
            words[first : first + _IDS_AT_ONCE] = _words(ids[first : first + _IDS_AT_ONCE], self._width)
        hashes = _hashes(words)
        order = np.argsort(hashes)
        # the last is for what follows all of them, and is no identifier
        self._numbers = np.append(order, -1).astype(np.int32)
        self._hashes = hashes[order]
        self._words = np.zeros((len(ids) + 1, self._width), dtype=np.uint64)
        np.take(words, order, axis=0, out=self._words[:-1])

    def __len__(self) -> int:
        """Count the identifiers."""
        return len(self._hashes)

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        return self._numbers.nbytes + self._hashes.nbytes + self._words.nbytes

    def numbers(self, ids: Sequence[str]) -> NDArray[np.int32]:
        """Give each identifier's number, -1 where it is not known: [ids].

        Of two known ones with the same hash, of which there are none among millions, one is not found.
        """
        words = _words(pa.array(ids, pa.string()), self._width)
        at = self._hashes.searchsorted(_hashes(words))
        known = np.logical_and.reduce(self._words[at] == words, axis=1)
        numbers: NDArray[np.int32] = np.where(known, self._numbers[at], -1)
        return numbers


def _offsets(ids: pa.StringArray) -> NDArray[np.int32]:
    offsets: NDArray[np.int32] = np.frombuffer(ids.buffers()[1], np.int32)[ids.offset :][: len(ids) + 1]
    return offsets


def _words(ids: pa.StringArray, width: int) -> PackedIds:
    """Write identifiers as words, [ids, width]; nothing but 0, which is none's, where one is too long."""
    packed = np.zeros((len(ids), width * _WORD_BYTES), dtype=np.uint8)
    if not len(ids):
        return packed.view(np.uint64)
    offsets = _offsets(ids)
    begins, ends = offsets[:-1], offsets[1:]
    lengths = ends - begins
    text = np.frombuffer(ids.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    numbers = np.arange(len(ids))
    rows = numbers.repeat(lengths)
    columns = np.arange(offsets[0], offsets[-1]) - begins.repeat(lengths)
    if lengths.max() >= packed.shape[1]:
        fits = lengths < packed.shape[1]
        written = fits[rows]
        rows, columns, text = rows[written], columns[written], text[written]
        numbers, lengths = numbers[fits], lengths[fits]
    packed[rows, columns] = text
    packed[numbers, lengths] = _END
    return packed.view(np.uint64)


def _hashes(words: PackedIds) -> NDArray[np.uint64]:
    hashes = words[:, 0]
    for column in range(1, words.shape[1]):
        hashes = _mixed(hashes) ^ words[:, column]
    return _mixed(hashes)


def _mixed(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed = hashes * _FACTOR
    mixed ^= mixed >> _SHIFT
    return mixed * _FACTOR
