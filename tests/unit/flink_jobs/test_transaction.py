"""A record is a transaction, or it is refused with the reason and the field."""

import json
import math
from datetime import UTC, datetime

import pytest

from flink_jobs.domain.transaction import (
    MAX_PAYLOAD_BYTES,
    InvalidTransaction,
    id_problem,
    parse_transaction,
)

NOW_S = 1_800_000_000.0
VALID = {
    "transaction_id": "288062",
    "event_time": "2018-07-01T00:00:31Z",
    "customer_id": "3156",
    "terminal_id": "1365",
    "amount": 146.0,
}


def payload(**changes: object) -> bytes:
    return json.dumps(VALID | changes).encode()


def without(field: str) -> bytes:
    return json.dumps({name: value for name, value in VALID.items() if name != field}).encode()


def test_a_valid_record_is_read() -> None:
    transaction = parse_transaction(payload(), NOW_S)
    assert transaction.transaction_id == "288062"
    assert transaction.time_s == 1530403231.0
    assert transaction.amount == 146.0


@pytest.mark.parametrize("event_time", ["2018-07-01T02:00:31+02:00", "2018-07-01T00:00:31.000Z"])
def test_offsets_and_fractions_mean_the_same_instant(event_time: str) -> None:
    assert parse_transaction(payload(event_time=event_time), NOW_S).time_s == 1530403231.0


def test_unknown_fields_are_ignored_and_text_may_be_any_unicode() -> None:
    transaction = parse_transaction(payload(channel="web", customer_id=" Zoë \N{GRINNING FACE}"), NOW_S)
    assert transaction.customer_id == " Zoë \N{GRINNING FACE}"


def test_amounts_are_in_the_deployments_currency_whether_it_is_named_or_not() -> None:
    for own, other in (("EUR", "USD"), ("USD", "EUR")):
        for content in (payload(), payload(currency=None), payload(currency=own)):
            assert parse_transaction(content, NOW_S, own).amount == 146.0
        with pytest.raises(InvalidTransaction, match=f"other_currency: currency is '{other}'.* in {own}"):
            parse_transaction(payload(currency=other), NOW_S, own)


@pytest.mark.parametrize("field", ["transaction_id", "customer_id", "terminal_id"])
@pytest.mark.parametrize("character", ["\0", "\n", "\x1f", "\x7f", "\x80", "\x9f"])
def test_an_id_has_no_control_character_however_it_is_written(field: str, character: str) -> None:
    escaped = payload(**{field: "a?b"}).replace(b"?", b"\\u%04x" % ord(character))
    # below a space, JSON wants it escaped
    raw = [payload(**{field: "a?b"}).replace(b"?", character.encode())] if character > " " else []
    for content in [escaped, *raw]:
        with pytest.raises(InvalidTransaction) as refused:
            parse_transaction(content, NOW_S)
        assert refused.value.reason == "bad_id"
        assert refused.value.detail.startswith(f"{field} has U+{ord(character):04X} at position 1")


@pytest.mark.parametrize("text", ["NA", "null", "nan", " ", "\N{GRINNING FACE}" * 64, "\xa0", "\u2028"])
def test_what_is_text_is_an_id(text: str) -> None:
    assert id_problem(text) is None
    assert parse_transaction(payload(customer_id=text), NOW_S).customer_id == text


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "is empty"), ("x" * 65, "has 65 characters"), ("a\0", "control"), ("\ud800", "surrogate")],
)
def test_it_is_said_why_a_text_is_no_id(text: str, said: str) -> None:
    assert said in (id_problem(text) or "")


def test_a_table_of_ready_columns_needs_neither_customer_nor_terminal() -> None:
    ready = {
        "transaction_id": "row-1",
        "event_time": VALID["event_time"],
        "amount": 1,
        "features": {"V1": -1.5},
    }
    assert parse_transaction(json.dumps(ready).encode(), NOW_S).features == {"V1": -1.5}


def test_limits_are_within_what_is_read() -> None:
    def padded(length: int) -> bytes:
        content = payload(note="")
        return content.replace(b'"note": ""', b'"note": "%s"' % (b"x" * (length - len(content))))

    def ahead(seconds: float) -> bytes:
        return payload(event_time=datetime.fromtimestamp(NOW_S + seconds, UTC).isoformat())

    for within, beyond, reason in (
        (padded(65_536), padded(65_537), "too_large"),
        (ahead(86_400), ahead(86_400.001), "future_event_time"),
        (payload(customer_id="x" * 64), payload(customer_id="x" * 65), "bad_id"),
        (payload(amount=0), payload(amount=-5e-324), "bad_amount"),
        (payload(amount=1e12), payload(amount=1_000_000_000_000.0001), "bad_amount"),
        (
            payload(event_time="1970-01-01T00:00:00Z"),
            payload(event_time="1969-12-31T23:59:59Z"),
            "bad_event_time",
        ),
    ):
        parse_transaction(within, NOW_S)
        with pytest.raises(InvalidTransaction) as refused:
            parse_transaction(beyond, NOW_S)
        assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("content", "reason", "named"),
    [
        (b"", "empty", "no value"),
        (b"hello", "not_json", "byte 0"),
        (payload()[:-1], "not_json", "truncated"),
        (payload() + b"}", "not_json", "trailing"),
        (b"[" * 60_000, "wrong_type", "array"),
        (b'{"x":' + b"[" * 60_000, "not_json", ""),
        (b"[1]", "wrong_type", "array"),
        (payload().replace(b"3156", b"\xff\xfe"), "not_utf8", "0xff"),
        (payload(note="x").replace(b'"x"', b'"\xff"'), "not_utf8", "0xff"),
        (b"x" * 1_000_000, "too_large", str(MAX_PAYLOAD_BYTES)),
        (without("transaction_id"), "missing_field", "transaction_id"),
        (without("event_time"), "missing_field", "event_time"),
        (without("amount"), "missing_field", "amount"),
        (payload(amount="146"), "wrong_type", "amount"),
        (payload(amount=None), "wrong_type", "amount"),
        (payload(amount=True), "wrong_type", "amount"),
        (payload(amount=-0.01), "bad_amount", "amount"),
        (payload(amount=math.nan), "bad_amount", "nan"),
        (payload(amount=math.inf), "bad_amount", "inf"),
        (payload().replace(b"146.0", b"1e999"), "bad_amount", "amount"),
        (payload(customer_id=3156), "wrong_type", "customer_id"),
        (payload(customer_id=""), "bad_id", "customer_id"),
        (payload(transaction_id="x" * 65), "bad_id", "transaction_id"),
        (payload(event_time="2018-07-01 00:00:31"), "bad_event_time", "timezone"),
        (payload(event_time="yesterday"), "bad_event_time", "event_time"),
        (payload(event_time="1969-07-20T20:17:40Z"), "bad_event_time", "1970"),
        (payload(event_time=1530403231), "wrong_type", "event_time"),
        (payload(event_time="2099-01-01T00:00:00Z"), "future_event_time", "2099"),
        (payload(event_time="9999-12-31T23:59:59-01:00"), "future_event_time", "9999"),
        (payload(currency="USD"), "other_currency", "'USD'"),
        (payload(currency="usd"), "bad_currency", "currency"),
        (payload(currency="EURO"), "bad_currency", "currency"),
        (payload(currency=978), "wrong_type", "currency"),
        (payload(event_time="0001-01-01T00:00:00+01:00"), "bad_event_time", "0001"),
    ],
)
def test_a_bad_record_is_refused_with_its_reason(content: bytes, reason: str, named: str) -> None:
    with pytest.raises(InvalidTransaction) as refused:
        parse_transaction(content, NOW_S)
    assert refused.value.reason == reason
    assert named in refused.value.detail
