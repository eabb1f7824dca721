"""Customers lie in the buckets where Flink's SQL has them.

`FLINKS_BUCKETS` is what Flink 2.3.0 answered to `SELECT id, ABS(MOD(MOD(HASH_CODE(id), 4084), 128))`;
tests/jobs asks it anew, for other ids.
"""

from collections import Counter

import pytest

from flink_jobs.domain.buckets import BUCKETS, bucket_of

FLINKS_BUCKETS = {
    "1": 49,
    "12345": 63,
    "0000596": 34,
    "customer-0": 91,
    "customer-11": 85,
    "N A": 71,
    "x" * 64: 100,
    "Zoë": 62,
    "ÿ": 127,
    "€uro": 6,
    "\u2028": 64,
    "客户一二三四": 73,
    # two units of UTF-16 each
    "a😀": 100,
    "\ue000\uffff\U0010ffff": 107,
}


def test_a_customer_lies_where_sql_has_it() -> None:
    assert {customer_id: bucket_of(customer_id) for customer_id in FLINKS_BUCKETS} == FLINKS_BUCKETS


@pytest.mark.parametrize("pattern", ["{}", "customer-{}", "{:016}"])
def test_numbered_customers_spread_evenly(pattern: str) -> None:
    customers = Counter(bucket_of(pattern.format(number)) for number in range(100_000, 112_800))
    assert len(customers) == BUCKETS
    # 100 on average; with Java's hash alone, up to 211
    assert max(customers.values()) <= 125
