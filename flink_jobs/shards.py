"""Keys for shards that Flink spreads evenly over subtasks.

Flink hands a key to a subtask by a hash of the key's hash, so a few keys such as 0, 1, 2 … may well all
land on one subtask. `shard_keys` chooses keys by that hash instead.
"""

from itertools import count

MAX_PARALLELISM = 128  # Flink's default, and the number of its key groups
_WORD = 0xFFFFFFFF


def shard_keys(shards: int) -> list[int]:
    """Choose a key for each shard: the n-th lies in the middle of the n-th of `shards` equal parts.

    A key has the same key group where SQL groups by it and where a DataStream is keyed by `Row(key)`: one
    subtask has both, whatever the parallelism.
    """
    keys: list[int] = []
    for shard in range(shards):
        middle = (2 * shard + 1) * MAX_PARALLELISM // (2 * shards)
        reach = MAX_PARALLELISM // (4 * shards)
        nearby = range(middle - reach, middle + reach + 1)
        keys.append(next(key for key in count() if _sql_group(key) == _stream_group(key) in nearby))
    return keys


def _sql_group(key: int) -> int:
    return _key_group(_binary_row_hash(key))


def _stream_group(key: int) -> int:
    return _key_group(_row_hash(key))


def _key_group(hash_code: int) -> int:
    """`KeyGroupRangeAssignment.computeKeyGroupForKeyHash`."""
    mixed = _finish(_mix(0, hash_code & _WORD) ^ 4)
    signed = mixed - (1 << 32) if mixed >> 31 else mixed
    return abs(signed) % MAX_PARALLELISM


def _row_hash(key: int) -> int:
    """`Row.of(key).hashCode()`: each of two nested lists begins with 31."""
    return 31 + 31 + key


def _binary_row_hash(key: int) -> int:
    """`BinaryRowData.hashCode()` of a row with one INT: 8 bytes of header, 8 of value, as words of four."""
    state = 42
    words = (0, 0, key, 0)
    for word in words:
        state = _mix(state, word)
    return _finish(state ^ 4 * len(words))


def _mix(state: int, word: int) -> int:
    """One step of MurmurHash3 (32 bits)."""
    word = _rotate(word * 0xCC9E2D51 & _WORD, 15) * 0x1B873593 & _WORD
    return (_rotate(state ^ word, 13) * 5 + 0xE6546B64) & _WORD


def _finish(state: int) -> int:
    state = (state ^ state >> 16) * 0x85EBCA6B & _WORD
    state = (state ^ state >> 13) * 0xC2B2AE35 & _WORD
    return state ^ state >> 16


def _rotate(word: int, bits: int) -> int:
    return (word << bits | word >> 32 - bits) & _WORD
