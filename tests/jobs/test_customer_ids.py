"""SQL sees the customer that Python sees, in the same bucket; where it cannot, the record is refused."""

import json
import random

import pytest
from pyflink.table import DataTypes, EnvironmentSettings, TableEnvironment

from flink_jobs.domain.buckets import BUCKETS, bucket_of
from flink_jobs.domain.transaction import parse_transaction
from flink_jobs.ml_inference_job import packed_query
from flink_jobs.shards import bucket_shards, shard_keys

pytestmark = pytest.mark.usefixtures("flink")

OTHERS = b'"transaction_id":"t","event_time":"2026-02-10T12:00:00Z","terminal_id":"x","amount":1'
# Whatever reads JSON in other ways than others: what the record has beside OTHERS, and its customer.
WAYS = {
    "UTF-8": ('"customer_id":"Zoë"', "Zoë"),
    "escapes": (r'"customer_id":"Zo\u00eb"', "Zoë"),
    "escapes of a surrogate pair": (r'"customer_id":"a\ud83d\ude00\/"', "a😀/"),
    "the last character there is": ('"customer_id":"\U0010ffff"', "\U0010ffff"),
    "no composed character": ('"customer_id":"e\u0301"', "e\u0301"),
    "blanks": ('"customer_id":" c "', " c "),
    "a word of JSON": ('"customer_id":"null"', "null"),
    "a path": ('"customer_id":"$.customer_id"', "$.customer_id"),
    "an escaped name": (r'"customer\u005fid":"c"', "c"),
    "a name twice": ('"customer_id":"a","customer_id":"c"', "c"),
    "a name twice, escaped": (r'"customer_id":"a","customer\u005fid":"c"', "c"),
    "a name twice, null first": ('"customer_id":null,"customer_id":"c"', "c"),
    "the name in other cases": ('"Customer_ID":"a","customer_id":"c","CUSTOMER_ID":"b"', "c"),
    "the name elsewhere": ('"x":[{"customer_id":"a"}],"customer_id":"c","y":{"customer_id":"b"}', "c"),
    "no name": ('"":{"customer_id":"a"},"customer_id":"c"', "c"),
    "NUL elsewhere": (r'"x":"\u0000","customer_id":"c"', "c"),
    "line breaks": ('\n\t"customer_id"\r:\n"c","x":"\u2028"', "c"),
    "900 levels": (f'"x":{"[" * 900}{"]" * 900},"customer_id":"c"', "c"),
    "4,000 fields": (",".join(f'"{n}":{n}' for n in range(4000)) + ',"customer_id":"c"', "c"),
    "60,000 characters": (f'"x":"{"x" * 60_000}","customer_id":"c"', "c"),
    "1,000 digits": (f'"x":{"1" * 1000},"customer_id":"c"', "c"),
    "a number too large": ('"x":1e400,"customer_id":"c"', "c"),
}
# SQL reads no record with these: it goes to any shard, so to any subtask.
MISREAD = {
    "1,001 digits": f'"x":{"1" * 1001}',
    "1,001 decimal places": f'"x":0.{"1" * 1001}',
    "an exponent of 12 digits": '"x":1e999999999999',
    "a name of 50,001 characters": f'"{"x" * 50_001}":1',
}


def payload(more: str) -> bytes:
    return b"{%s,%s}" % (OTHERS, more.encode())


def buckets_in_sql(payloads: list[bytes]) -> list[int]:
    """Give the bucket of each record, by the job's own SQL."""
    tables = TableEnvironment.create(EnvironmentSettings.in_batch_mode())
    row = DataTypes.ROW(
        [DataTypes.FIELD("offset", DataTypes.BIGINT()), DataTypes.FIELD("payload", DataTypes.BYTES())]
    )
    records = [(offset, bytearray(each)) for offset, each in enumerate(payloads)]
    tables.create_temporary_view("numbered", tables.from_elements(records, row))
    tables.execute_sql(
        "CREATE TEMPORARY VIEW records AS "
        "SELECT *, 7 AS `partition`, TO_TIMESTAMP_LTZ(0, 3) AS `timestamp` FROM numbered"
    )
    # as many shards as buckets: each has one
    shards = bucket_shards(BUCKETS)
    buckets = {key: shards.index(shard) for shard, key in enumerate(shard_keys(BUCKETS))}
    query = f"SELECT `offset`, shard FROM ({packed_query(BUCKETS, 'records')})"  # noqa: S608 - our own
    with tables.execute_sql(query).collect() as rows:
        found = {row[0]: buckets[row[1]] for row in rows}
    return [found[offset] for offset in range(len(payloads))]


def test_a_customer_has_one_bucket_however_the_record_is_written() -> None:
    # ASCII, other letters, and characters of two units in UTF-16
    alphabets = [range(0x20, 0x7F), range(0xA0, 0x500), [*range(0x4E00, 0x4E80), *range(0x1F600, 0x1F680)]]
    chosen = random.Random(0)  # noqa: S311 - the same ids each time
    ids = [
        "".join(map(chr, chosen.choices(alphabet, k=length)))
        for alphabet in alphabets
        for length in range(1, 65)
        for _ in range(10)
    ]
    named = [
        payload(f'"customer_id":{json.dumps(each, ensure_ascii=number % 2 == 0)}')
        for number, each in enumerate(ids)
    ]
    expected = [*ids, *(customer_id for _, customer_id in WAYS.values())]
    payloads = [*named, *(payload(more) for more, _ in WAYS.values())]
    assert [parse_transaction(each, 2e9).customer_id for each in payloads] == expected
    found = buckets_in_sql(payloads)
    wrong = [
        customer_id
        for customer_id, bucket in zip(expected, found, strict=True)
        if bucket != bucket_of(customer_id)
    ]
    assert not wrong


@pytest.mark.parametrize("more", MISREAD.values(), ids=MISREAD)
def test_what_sql_cannot_read_goes_by_its_offset(more: str) -> None:
    record = payload(f'{more},"customer_id":"c"')
    assert parse_transaction(record, 2e9).customer_id == "c"
    assert buckets_in_sql([record] * 3) == [bucket_of(str(offset)) for offset in range(3)]
