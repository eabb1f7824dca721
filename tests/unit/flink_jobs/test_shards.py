import pytest

from flink_jobs.shards import MAX_PARALLELISM, _sql_group, _stream_group, shard_keys


@pytest.mark.parametrize("shards", [1, 2, 4, 8, 16])
def test_shards_spread_evenly_over_subtasks(shards: int) -> None:
    keys = shard_keys(shards)
    assert len(set(keys)) == shards
    for parallelism in (each for each in (1, 2, 4, 8, 16) if shards % each == 0):
        subtasks = [_sql_group(key) * parallelism // MAX_PARALLELISM for key in keys]
        assert [subtasks.count(subtask) for subtask in range(parallelism)] == [
            shards // parallelism
        ] * parallelism


@pytest.mark.parametrize("shards", [1, 2, 4, 8, 16])
def test_a_batch_stays_on_the_taskmanager_that_gathered_it(shards: int) -> None:
    for key in shard_keys(shards):
        assert _sql_group(key) == _stream_group(key)


def test_a_key_group_is_that_of_flink() -> None:
    # which Flink 2.3 complained about where a row with this key came to the wrong subtask
    assert _stream_group(43) == 21
