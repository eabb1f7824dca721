"""What SQL makes of customers' ids: it sees the same ones as Python, and finds the same buckets."""

import random

import pytest
from pyflink.table import DataTypes, EnvironmentSettings, TableEnvironment

from flink_jobs.domain.buckets import BUCKETS, SPREAD, bucket_of

pytestmark = pytest.mark.usefixtures("flink")


def test_a_bucket_is_the_same_in_sql_and_in_python() -> None:
    # ASCII, other letters, and characters of two units in UTF-16
    alphabets = [range(0x20, 0x7F), range(0xA0, 0x500), [*range(0x4E00, 0x4E80), *range(0x1F600, 0x1F680)]]
    chosen = random.Random(0)  # noqa: S311 - the same ids each time
    ids = {
        "".join(map(chr, chosen.choices(alphabet, k=length)))
        for alphabet in alphabets
        for length in range(1, 65)
        for _ in range(20)
    }
    tables = TableEnvironment.create(EnvironmentSettings.in_batch_mode())
    row = DataTypes.ROW([DataTypes.FIELD("id", DataTypes.STRING())])
    tables.create_temporary_view("ids", tables.from_elements([(each,) for each in ids], row))
    query = f"SELECT id, ABS(MOD(MOD(HASH_CODE(id), {SPREAD}), {BUCKETS})) FROM ids"  # noqa: S608 - constants
    with tables.execute_sql(query).collect() as rows:
        in_sql = {customer_id: bucket for customer_id, bucket in rows}  # noqa: C416 - rows are no pairs
    assert in_sql == {customer_id: bucket_of(customer_id) for customer_id in ids}
