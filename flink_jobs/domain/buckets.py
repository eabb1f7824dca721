"""The buckets that customers' histories lie in: parts of the state whose customers never change."""

BUCKETS = 128  # one for each of Flink's key groups
# Java's hashes of short numbers differ little in the bits that choose a bucket; modulo four times a prime,
# they differ there. The last two bits, which chose one of four shards in former releases, stay as they are.
SPREAD = 4 * 1021
_SIGN = 1 << 31


def bucket_of(customer_id: str) -> int:
    """Give the customer's bucket, as SQL does by `ABS(MOD(MOD(HASH_CODE(customer_id), SPREAD), BUCKETS))`.

    HASH_CODE of a string is Java's `String.hashCode()`, over units of UTF-16.
    """
    units = customer_id.encode("ascii") if customer_id.isascii() else _utf16(customer_id)
    hashed = 0
    for unit in units:
        hashed = 31 * hashed + unit
    hashed = (hashed + _SIGN) % (2 * _SIGN) - _SIGN
    return abs(hashed) % SPREAD % BUCKETS


def _utf16(text: str) -> memoryview:
    byte_order_mark = 1
    return memoryview(text.encode("utf-16")).cast("H")[byte_order_mark:]
