"""Keys by which Flink puts shards, and the buckets of their customers, on the same subtask.

Flink hands a key to a subtask by a hash of the key's hash: that gives one of 128 key groups, and each subtask
has a span of these. A bucket of customers has a key group of its own; a shard is a span of them, whose
records are gathered into batches together. Keys are numbers that Flink's hashes put there.
"""

from itertools import count

from flink_jobs.domain.buckets import BUCKETS

MAX_PARALLELISM = 128  # Flink's default, and the number of its key groups
MOST_SUBTASKS = 32
# If not told otherwise: one is gathered while the other is scored.
SHARDS_OF_A_SUBTASK = 2
# Former releases kept the state under these keys of four shards; a customer's hash chose one.
FORMER_SHARD_KEYS = (160, 675, 483, 3351)
_QUARTER = MAX_PARALLELISM // len(FORMER_SHARD_KEYS)
_WORD = 0xFFFFFFFF


class ShardsError(ValueError):
    """Shards, or the state of a former release, do not fit the subtasks."""


def check_shards(shards: int, subtasks: int) -> None:
    """Check that each shard is a subtask's own.

    Raises:
        ShardsError: it is not; says which numbers are fine.

    """
    if not 1 <= subtasks <= MOST_SUBTASKS:
        raise ShardsError(f"a parallelism of {subtasks}: choose one from 1 to {MOST_SUBTASKS}")
    if not can_share(shards, subtasks) or not subtasks <= shards <= BUCKETS:
        raise ShardsError(
            f"{shards} shards cannot be shared by {subtasks} subtasks: choose a multiple of {subtasks}, such "
            f"as --shards {2 * subtasks}, and at most {BUCKETS}"
        )


def can_share(shards: int, subtasks: int) -> bool:
    """Tell whether each shard is one subtask's own.

    As many shards as there are buckets always are: each has one key group, which Flink never divides. Then
    some subtasks have a shard more than others.
    """
    return shards == BUCKETS or shards % subtasks == 0


def key_group(bucket: int) -> int:
    """Give a bucket's key group; the customers of a former shard stay in the span of its key, of four."""
    return bucket % len(FORMER_SHARD_KEYS) * _QUARTER + bucket // len(FORMER_SHARD_KEYS)


def bucket_keys() -> list[int]:
    """Choose a key for each bucket: the first of its key group, where a stream is keyed by `Row(key)`."""
    keys: dict[int, int] = {}
    for key in count():
        if key not in FORMER_SHARD_KEYS:
            keys.setdefault(stream_group(key), key)
            if len(keys) == MAX_PARALLELISM:
                return [keys[key_group(bucket)] for bucket in range(BUCKETS)]
    raise AssertionError


def shard_keys(shards: int) -> list[int]:
    """Choose a key for each shard, in its span both where SQL groups by it and where a stream is keyed by it.

    Where the parallelism divides the number of shards, one subtask has the whole span.
    """
    keys: dict[int, int] = {}
    for key in count():
        shard = _part(sql_group(key), shards)
        if shard == _part(stream_group(key), shards):
            keys.setdefault(shard, key)
            if len(keys) == shards:
                return [keys[shard] for shard in range(shards)]
    raise AssertionError


def bucket_shards(shards: int) -> list[int]:
    """Give the shard of each bucket."""
    return [_part(key_group(bucket), shards) for bucket in range(BUCKETS)]


def _part(group: int, parts: int) -> int:
    """Give which of so many spans a key group lies in, as Flink gives it to one of so many subtasks."""
    return group * parts // MAX_PARALLELISM


def sql_group(key: int) -> int:
    """Give the key group of a key where SQL groups by it."""
    return _key_group(_binary_row_hash(key))


def stream_group(key: int) -> int:
    """Give the key group of a key where a stream is keyed by `Row(key)`."""
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
