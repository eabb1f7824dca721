"""Keys lie where Flink's own classes put them, and a subtask has the buckets of its shards.

`FLINKS_GROUPS` is what Flink 2.3.0 answered; tests/jobs asks it anew, for other keys.
"""

import pytest

from flink_jobs.domain.buckets import BUCKETS, bucket_of
from flink_jobs.shards import (
    FORMER_SHARD_KEYS,
    MAX_PARALLELISM,
    MOST_SUBTASKS,
    ShardsError,
    bucket_keys,
    bucket_shards,
    check_shards,
    key_group,
    shard_keys,
    sql_group,
    stream_group,
)

# key: (group in SQL, group in a stream)
FLINKS_GROUPS = {
    0: (102, 33),
    1: (94, 44),
    2: (93, 97),
    3: (112, 104),
    5: (19, 17),
    43: (111, 21),
    1000: (112, 5),
    2147483647: (66, 59),
    # the keys of four shards in former releases
    160: (24, 24),
    675: (49, 49),
    483: (87, 87),
    3351: (109, 109),
}


def subtask_of(group: int, parallelism: int) -> int:
    """As Flink's documentation has it."""
    return group * parallelism // MAX_PARALLELISM


def test_key_groups_are_those_of_flink() -> None:
    assert {key: (sql_group(key), stream_group(key)) for key in FLINKS_GROUPS} == FLINKS_GROUPS


@pytest.mark.parametrize("parallelism", range(1, MOST_SUBTASKS + 1))
def test_a_subtask_gathers_scores_and_keeps_the_same_customers(parallelism: int) -> None:
    for shards in (parallelism, 2 * parallelism):
        keys = shard_keys(shards)
        assert len(set(keys)) == shards
        shard_of_bucket = bucket_shards(shards)
        assert set(shard_of_bucket) == set(range(shards))
        for bucket, shard in enumerate(shard_of_bucket):
            at = {
                subtask_of(group, parallelism)
                for group in (key_group(bucket), sql_group(keys[shard]), stream_group(keys[shard]))
            }
            assert len(at) == 1, f"bucket {bucket} of shard {shard} of {shards}"
        in_subtask = [shard * parallelism // shards for shard in range(shards)]
        assert {in_subtask.count(subtask) for subtask in range(parallelism)} == {shards // parallelism}


def test_each_bucket_has_a_key_group_of_its_own_for_good() -> None:
    keys = bucket_keys()
    assert [stream_group(key) for key in keys] == [key_group(bucket) for bucket in range(BUCKETS)]
    assert len(set(keys)) == BUCKETS
    # savepoints have the state under these
    assert keys[:8] == [250, 13, 22, 113, 57, 0, 60, 2]
    assert (keys[-1], sum(keys)) == (85, 17_786)
    assert set(keys).isdisjoint(FORMER_SHARD_KEYS)


def test_customers_of_a_former_shard_stay_in_the_span_of_its_key() -> None:
    assert tuple(stream_group(key) // 32 for key in FORMER_SHARD_KEYS) == (0, 1, 2, 3)
    for number in range(1000):
        customer = f"customer-{number}"
        hashed = 0
        for character in customer:
            hashed = (31 * hashed + ord(character) + 2**31) % 2**32 - 2**31
        assert key_group(bucket_of(customer)) // 32 == abs(hashed) % 4


def test_a_shard_of_one_bucket_is_one_subtasks_own_however_many_there_are() -> None:
    keys, shard_of_bucket = shard_keys(BUCKETS), bucket_shards(BUCKETS)
    assert sorted(shard_of_bucket) == list(range(BUCKETS))
    for bucket, shard in enumerate(shard_of_bucket):
        # Flink divides no key group, and restores by it
        assert sql_group(keys[shard]) == stream_group(keys[shard]) == key_group(bucket)


@pytest.mark.parametrize(
    ("shards", "subtasks"),
    [(1, 1), (128, 1), (4, 2), (6, 3), (32, 32), (128, 32), (128, 12), (128, 11), (128, 31)],
)
def test_shards_that_subtasks_can_share_are_taken(shards: int, subtasks: int) -> None:
    check_shards(shards, subtasks)


@pytest.mark.parametrize(
    ("shards", "subtasks", "advice"),
    [
        (4, 3, "4 shards cannot be shared by 3 subtasks: choose a multiple of 3, such as --shards 6"),
        (2, 4, "--shards 8"),
        (0, 4, "--shards 8"),
        (256, 2, "at most 128"),
        (127, 11, "choose a multiple of 11"),
        (33, 33, "a parallelism of 33: choose one from 1 to 32"),
    ],
)
def test_shards_that_subtasks_cannot_share_are_refused(shards: int, subtasks: int, advice: str) -> None:
    with pytest.raises(ShardsError, match=advice):
        check_shards(shards, subtasks)
