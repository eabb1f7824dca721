"""Keys lie where Flink's own classes put them."""

import pytest
from pyflink.java_gateway import get_gateway

from flink_jobs.shards import MAX_PARALLELISM, bucket_keys, shard_keys, sql_group, stream_group

pytestmark = pytest.mark.usefixtures("flink")


def test_key_groups_are_those_of_flink() -> None:
    flink = get_gateway().jvm.org.apache.flink
    group_of = flink.runtime.state.KeyGroupRangeAssignment.assignToKeyGroup

    def in_sql(key: int) -> int:
        row = flink.table.data.binary.BinaryRowData(1)
        writer = flink.table.data.writer.BinaryRowWriter(row)
        writer.writeInt(0, key)
        writer.complete()
        group: int = group_of(row, MAX_PARALLELISM)
        return group

    def in_a_stream(key: int) -> int:
        row = flink.types.Row(1)
        row.setField(0, key)
        group: int = group_of(row, MAX_PARALLELISM)
        return group

    keys = {*range(200), *bucket_keys(), *(key for shards in (1, 3, 64) for key in shard_keys(shards))}
    assert {key: (in_sql(key), in_a_stream(key)) for key in keys} == {
        key: (sql_group(key), stream_group(key)) for key in keys
    }
