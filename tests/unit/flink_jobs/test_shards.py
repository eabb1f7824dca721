"""Shards' keys lie where Flink's own classes put them.

`FLINKS_GROUPS` is what Flink 2.3.0 answered, asked once by a Java program with flink-dist,
flink-table-runtime and flink-table-api-java-uber on its class path:

    BinaryRowData row = new BinaryRowData(1);
    BinaryRowWriter writer = new BinaryRowWriter(row);
    writer.writeInt(0, key);
    writer.complete();
    KeyGroupRangeAssignment.assignToKeyGroup(row, 128);          // where SQL groups by the key
    KeyGroupRangeAssignment.assignToKeyGroup(Row.of(key), 128);  // where a stream is keyed by it
"""

import pytest

from flink_jobs.shards import MAX_PARALLELISM, _sql_group, _stream_group, shard_keys

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
    # the keys of 1, 2, 4, 8 and 16 shards
    100: (66, 66),
    123: (37, 37),
    160: (24, 24),
    422: (7, 7),
    483: (87, 87),
    675: (49, 49),
    909: (52, 52),
    1358: (18, 18),
    1793: (84, 84),
    2243: (62, 62),
    3060: (93, 93),
    3090: (30, 30),
    3217: (68, 68),
    3351: (109, 109),
    3758: (120, 120),
    4109: (98, 98),
    4657: (10, 10),
    4875: (122, 122),
    5373: (102, 102),
    6533: (5, 5),
    7087: (77, 77),
    7403: (42, 42),
    12826: (114, 114),
}


@pytest.mark.parametrize("shards", [1, 2, 4, 8, 16])
def test_shards_spread_evenly_over_flinks_subtasks(shards: int) -> None:
    groups = [FLINKS_GROUPS[key][0] for key in shard_keys(shards)]
    assert len(set(groups)) == shards
    for parallelism in (each for each in (1, 2, 4, 8, 16) if shards % each == 0):
        # each subtask has an equal span of Flink's 128 groups
        subtasks = [group // (128 // parallelism) for group in groups]
        assert [subtasks.count(subtask) for subtask in range(parallelism)] == [
            shards // parallelism
        ] * parallelism


@pytest.mark.parametrize("shards", [1, 2, 4, 8, 16])
def test_a_batch_stays_on_the_taskmanager_that_gathered_it(shards: int) -> None:
    for key in shard_keys(shards):
        in_sql, in_a_stream = FLINKS_GROUPS[key]
        assert in_sql == in_a_stream


def test_key_groups_are_those_of_flink() -> None:
    assert MAX_PARALLELISM == 128
    assert {key: (_sql_group(key), _stream_group(key)) for key in FLINKS_GROUPS} == FLINKS_GROUPS
