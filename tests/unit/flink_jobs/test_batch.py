"""Any bytes come through a batch unchanged."""

from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.domain.batch import BYTES_ENCODING, NUL_SUBSTITUTE, RECORD_SEPARATOR, unpack_batch


def pack(payloads: list[bytes]) -> str:
    """As the job's SQL does it."""
    return RECORD_SEPARATOR.join(
        f"3 {offset} 1530403231000 {len(payload)} "
        + payload.decode(BYTES_ENCODING).replace("\0", NUL_SUBSTITUTE)
        for offset, payload in enumerate(payloads)
    )


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=8))
def test_any_bytes_come_through(payloads: list[bytes]) -> None:
    records = unpack_batch(pack(payloads))
    assert [record.payload for record in records] == payloads
    assert [record.offset for record in records] == list(range(len(payloads)))
    assert {(record.partition, record.timestamp_ms) for record in records} == {(3, 1530403231000)}


def test_text_with_separators_of_its_own_is_one_record() -> None:
    text = '{\n "a": "\u2028 \u2400 \\u2028" \r\n}'.encode()
    assert [record.payload for record in unpack_batch(pack([text, b" "]))] == [text, b" "]
