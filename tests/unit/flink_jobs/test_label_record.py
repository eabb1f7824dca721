"""A record is a label, or it is said why it is none."""

import json

import pytest

from flink_jobs.domain.label import parse_label

NOW_S = 1_800_000_000.0  # 2027-01-15T08:00:00Z
VALID = {
    "transaction_id": "288062",
    "is_fraud": True,
    "labelled_by": "alice",
    "labelled_at": "2018-07-09T00:00:00+02:00",
}


def payload(**changes: object) -> bytes:
    return json.dumps(VALID | changes).encode()


def test_a_valid_record_is_read() -> None:
    label = parse_label(payload(), NOW_S)
    assert (label.transaction_id, label.is_fraud, label.labelled_by) == ("288062", True, "alice")
    assert label.labelled_at.isoformat() == VALID["labelled_at"]
    assert parse_label(payload(labelled_at="2027-01-16T08:00:00Z"), NOW_S)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no value"),
        (b"\xff", "utf-8"),
        (payload(note="?").replace(b"?", b"\xff"), "utf-8"),
        (payload(is_fraud=1), "is_fraud"),
        (payload(labelled_by=""), "labelled_by"),
        (payload(labelled_by="a\x7fb"), "labelled_by has U\\+007F"),
        (payload(transaction_id="a\0b"), "transaction_id has U\\+0000"),
        (payload(labelled_at=1530403231), "labelled_at"),
        (payload(labelled_at="2018-07-09T00:00:00"), "timezone"),
        (payload(labelled_at="1969-12-31T23:59:59Z"), "before 1970"),
        (payload(labelled_at="0001-01-01T00:00:00+01:00"), "before 1970"),
        (payload(labelled_at="2027-01-16T08:00:01Z"), "over a day ahead"),
        (payload(labelled_at="9999-12-31T23:59:59-01:00"), "over a day ahead"),
    ],
)
def test_of_another_record_it_is_said_why_it_is_no_label(content: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=f"no label: .*{said}"):
        parse_label(content, NOW_S)
