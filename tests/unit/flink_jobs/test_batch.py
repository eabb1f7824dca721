"""Any bytes come through a batch unchanged."""

from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.domain.batch import BYTES_ENCODING, RECORD_SEPARATOR, unpack_batch


def pack(payloads: list[bytes], left_out: int = 0) -> bytes:
    """As the job's SQL does it."""
    return RECORD_SEPARATOR.join(
        f"3 {offset} 1530403231000 {left_out} {payload.decode(BYTES_ENCODING)}"
        for offset, payload in enumerate(payloads)
    ).encode()


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=8))
def test_any_bytes_come_through(payloads: list[bytes]) -> None:
    records = unpack_batch(pack(payloads))
    assert [record.payload for record in records] == payloads
    assert [record.offset for record in records] == list(range(len(payloads)))
    assert {(record.partition, record.timestamp_ms) for record in records} == {(3, 1530403231000)}


def test_text_with_separators_of_its_own_is_one_record() -> None:
    text = '{\n "a": "\u2028 \u2400 \\u2028" \r\n}'.encode()
    assert [record.payload for record in unpack_batch(pack([text, b" "]))] == [text, b" "]


def test_what_was_left_out_counts() -> None:
    assert [record.payload_bytes for record in unpack_batch(pack([b"abc", b"\xe9"], left_out=70))] == [73, 71]


def test_records_come_in_the_order_of_their_offsets() -> None:
    """SQL may have gathered them in parts, in another order."""
    packed = pack([b"a", b"b", b"c", b"d"]).decode().split(RECORD_SEPARATOR)
    shuffled = RECORD_SEPARATOR.join([packed[number] for number in (1, 3, 0, 2)]).encode()
    assert [record.payload for record in unpack_batch(shuffled)] == [b"a", b"b", b"c", b"d"]
