import pytest

from flink_jobs.shards import MAX_PARALLELISM, _binary_row_hash, _key_group, _row_hash, shard_keys


@pytest.mark.parametrize("shards", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("key_hash", [_binary_row_hash, _row_hash], ids=["SQL", "DataStream"])
def test_shards_spread_evenly_over_subtasks(shards: int, key_hash) -> None:  # noqa: ANN001 - either hash
    keys = shard_keys(shards)
    assert len(set(keys)) == shards
    for parallelism in (each for each in (1, 2, 4, 8, 16) if shards % each == 0):
        subtasks = [_key_group(key_hash(key)) * parallelism // MAX_PARALLELISM for key in keys]
        assert [subtasks.count(subtask) for subtask in range(parallelism)] == [
            shards // parallelism
        ] * parallelism


def test_hashes_are_those_of_flink() -> None:
    # where Flink 2.3 was seen to put them, two subtasks: keys 36, 17, 51 on the first, 152 on the second
    assert [_key_group(_row_hash(key)) * 2 // MAX_PARALLELISM for key in (36, 152, 17, 51)] == [0, 1, 0, 0]
