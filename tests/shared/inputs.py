"""Ids, times and amounts as they may come, and what each reader makes of them: one table for all readers."""

import json
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

# when Kafka took the records, and the reader's clock
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
PAYMENT = {
    "transaction_id": "t-1",
    "event_time": "2018-07-01T00:00:31Z",
    "customer_id": "c-1",
    "terminal_id": "s-1",
    "amount": 146.0,
}
LABEL = {
    "transaction_id": "t-1",
    "is_fraud": True,
    "labelled_by": "alice",
    "labelled_at": "2018-07-09T00:00:00Z",
}
# what a value may be one of, in transactions and in labels
PAYMENT_FIELDS = {
    "id": ("transaction_id", "customer_id", "terminal_id"),
    "time": ("event_time",),
    "amount": ("amount",),
}
LABEL_FIELDS: dict[str, tuple[str, ...]] = {
    "id": ("transaction_id", "labelled_by"),
    "time": ("labelled_at",),
    "amount": (),
}
REFUSED = None


class Input(NamedTuple):
    """A value of a field.

    Attributes:
        kind: of fields that may have it.
        written: the value in JSON.
        answer: what it is read as; REFUSED: the record is refused for it.
        cell: the same value in a file; None where a file cannot have it, or writes another value so.

    """

    kind: Literal["id", "time", "amount"]
    written: bytes
    answer: Any
    cell: str | None = None

    def payments(self) -> list[tuple[str, bytes]]:
        """Give transactions with this value, each with the name of the field that has it."""
        return [(name, _with(PAYMENT, name, self.written)) for name in PAYMENT_FIELDS[self.kind]]

    def labels(self) -> list[tuple[str, bytes]]:
        """Give labels with this value, each with the name of the field that has it."""
        return [(name, _with(LABEL, name, self.written)) for name in LABEL_FIELDS[self.kind]]


def _with(record: dict[str, object], field: str, written: bytes) -> bytes:
    return json.dumps(record | {field: "?"}).encode().replace(b'"?"', written)


def _id(text: str, answer: str | None, *, escaped: bool = True) -> Input:
    """An id as JSON writes it: with escapes, or as it is."""
    written = json.dumps(text, ensure_ascii=escaped).encode()
    return Input("id", written, answer, text)


def _time(text: str, answer: str | None, *, in_files: bool = True) -> Input:
    moment = None if answer is None else datetime.fromisoformat(answer).replace(tzinfo=UTC)
    return Input("time", json.dumps(text).encode(), moment, text if in_files else None)


def _amount(written: str, answer: float | None, *, in_files: bool = True) -> Input:
    return Input("amount", written.encode(), answer, written if in_files else None)


_SMILE = "\N{GRINNING FACE}"

INPUTS = (
    # text is text, whatever it says
    *(
        _id(text, text)
        for text in (
            *("c-1", "NA", "N/A", "null", "NULL", "nan", "NaN", "None", "true", "-", "#1"),
            *("007", "-1", "1e3", "1e5", "1.50", "v1.0", "288062", "288062.0", "1e400", "0x10"),
        )
    ),
    *(
        _id(text, text)
        for text in (
            *(" ", " c ", " a", "a ", "[1]", '"', "'", "a\\b", 'a\\"b', "a,b;c", "]"),
            *("x" * 64, _SMILE * 64),
        )
    ),
    *(
        _id(text, text, escaped=False)
        for text in (
            *("ü", "\xa0", "\u2028", "\u200b", "\u202e", "\ufeff", "\ufeffa", "\ufffd", "日本", _SMILE),
            # two ways to write one letter are two ids
            *("Zo\xeb", "Zoe\u0308"),
        )
    ),
    *(_id(text, text) for text in ("ü", "Zo\xeb", "\u2028", _SMILE, "/")),
    Input("id", b'"\\/"', "/", "/"),
    *(
        _id(text, REFUSED)
        for text in (
            *("x" * 65, _SMILE * 65),
            *("\0", "a\0b", "a\nb", "a\rb", "a\tb", "a\x1b[2J", "a\x1fb", "a\x7fb", "a\x85b"),
        )
    ),
    *(_id(text, REFUSED, escaped=False) for text in ("\x7f", "a\x7fb", "\x80", "a\x80b", "a\x9fb")),
    Input("id", b'"a\tb"', REFUSED, "a\tb"),
    Input("id", b'""', REFUSED, ""),
    *(Input("id", written, REFUSED) for written in (b"3156", b"3156.0", b"true", b'["c"]', b'{"a": "c"}')),
    # half of a surrogate pair, and bytes that are no UTF-8
    Input("id", b'"\\ud800"', REFUSED),
    Input("id", b'"a\xffb"', REFUSED),
    # times
    *(
        _time(text, "2018-07-01T00:00:31")
        for text in (
            "2018-07-01T00:00:31Z",
            "2018-07-01T00:00:31+00:00",
            "2018-07-01T00:00:31-00:00",
            "2018-07-01T02:00:31+02:00",
            "2018-07-01T02:00:31+0200",
            "2018-06-30T18:30:31-05:30",
            "2018-07-01T23:59:31+23:59",
            "2018-07-01T00:00:31.000Z",
            "2018-07-01T00:00:31.000000000000Z",
            "2018-07-01 00:00:31Z",
            "2018-07-01t00:00:31z",
        )
    ),
    _time("2018-07-01T00:00:31.5Z", "2018-07-01T00:00:31.500"),
    _time("2018-07-01T00:00:31.25Z", "2018-07-01T00:00:31.250"),
    _time("2018-07-01T00:00:31.000001Z", "2018-07-01T00:00:31.000001"),
    _time("2018-07-01T02:00:31.123456+02:00", "2018-07-01T00:00:31.123456"),
    # to the nearest microsecond
    _time("2018-07-01T00:00:31.123456789Z", "2018-07-01T00:00:31.123457"),
    _time("2018-07-01T00:00:31.1234564999Z", "2018-07-01T00:00:31.123456"),
    _time("2018-07-01T00:00:31.999999999Z", "2018-07-01T00:00:32"),
    _time("2018-07-01T00:00:31.9999995Z", "2018-07-01T00:00:32"),
    Input(
        "time",
        b'"2018-07-01T00:00:31\\u002b00:00"',
        datetime(2018, 7, 1, 0, 0, 31, tzinfo=UTC),
        "2018-07-01T00:00:31+00:00",
    ),
    _time("2020-02-29T12:00:00Z", "2020-02-29T12:00:00"),
    _time("2000-02-29T12:00:00Z", "2000-02-29T12:00:00"),
    _time("2018-12-31T23:59:59Z", "2018-12-31T23:59:59"),
    _time("1970-01-01T00:00:00Z", "1970-01-01T00:00:00"),
    _time("1969-12-31T23:30:00-00:30", "1970-01-01T00:00:00"),
    _time("2026-11-29T12:00:00Z", "2026-11-29T12:00:00"),
    *(
        _time(text, REFUSED)
        for text in (
            "1969-12-31T23:59:59Z",
            "1969-12-31T23:59:59.999999Z",
            "1970-01-01T00:00:00+00:01",
            "1970-01-01T00:30:00+01:00",
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "9999-12-31T23:59:59Z",
            "10000-01-01T00:00:00Z",
            "2100-01-01T00:00:00Z",
            "2026-11-29T14:00:01+02:00",
            "2018-02-29T12:00:00Z",
            "2100-02-29T12:00:00Z",
            "2018-02-30T12:00:00Z",
            "2018-04-31T12:00:00Z",
            "2018-13-01T12:00:00Z",
            "2018-00-01T12:00:00Z",
            "2018-07-00T12:00:00Z",
            "2018-07-01T24:00:00Z",
            "2018-07-01T25:00:00Z",
            "2018-07-01T12:60:00Z",
            "2018-07-01T23:59:60Z",
            "2018-07-01T12:00:00+24:00",
            "2018-7-1T00:00:31Z",
            "20180701T000031Z",
            "20180701",
            "2018-07-01T00:00:31+02",
            "2018-07-01T00:00:31.Z",
            "01.07.2018 00:00",
            "July 1 2018",
            "1530403231",
            "1530403231000",
            "now",
            "yesterday",
            "",
        )
    ),
    # files are read less strictly: they are in UTC where they name no offset, as the Handbook's are
    *(
        _time(text, REFUSED, in_files=False)
        for text in (
            "2018-07-01T00:00:31",
            "2018-07-01 00:00:31",
            "2018-07-01",
            "2018-07-01T00:00Z",
            "2018-07-01T00:00:31 Z",
        )
    ),
    *(Input("time", written, REFUSED) for written in (b"1530403231", b"null", b"true", b"[]")),
    _time("2030-01-01T00:00:00Z", REFUSED),
    # amounts
    *(
        _amount(written, value)
        for written, value in {
            "146.0": 146.0,
            "146": 146.0,
            "12.50": 12.5,
            "0": 0.0,
            "0.0": 0.0,
            "-0": 0.0,
            "-0.0": 0.0,
            "-0.00e7": 0.0,
            "0.01": 0.01,
            "0.0000001": 1e-07,
            "1e3": 1000.0,
            "1E5": 1e5,
            "1E-2": 0.01,
            "1.5e+3": 1500.0,
            "1e-5": 1e-05,
            "1e-400": 0.0,
            "123456789.123456": 123456789.123456,
            "0.1234567890123456": 0.1234567890123456,
            "999999999999.99": 999999999999.99,
            "1000000000000": 1e12,
            "1e12": 1e12,
        }.items()
    ),
    *(
        _amount(written, REFUSED)
        for written in (
            "-0.01",
            "-1",
            "-146",
            "1000000000000.01",
            "1000000000001",
            "1e13",
            "1.7e308",
            "1e999",
            "-1e999",
            "123456789012345678901234567890",
            "NaN",
            "Infinity",
            "-Infinity",
            "1,5",
            "abc",
            "0x10",
            "1_000",
            "null",
            "true",
            "[146]",
            '{"EUR": 146}',
        )
    ),
    # files have no grammar of JSON
    *(_amount(written, REFUSED, in_files=False) for written in ("01", "1.", ".5", "+1", '"146.0"')),
    Input("amount", b'"NaN"', REFUSED, "NaN"),
    Input("amount", b'"abc"', REFUSED, "abc"),
    Input("amount", b'""', REFUSED, ""),
)


class Whole(NamedTuple):
    """A whole record that is not as others are.

    Attributes:
        payload: the record.
        answer: customer, time and amount; REFUSED: it is refused.
        columns: what the lake's columns say of these, where that is something else.

    """

    payload: bytes
    answer: tuple[str, datetime, float] | None
    columns: tuple[str | None, datetime | None, float | None] | None = None

    @property
    def lake(self) -> tuple[Any, ...]:
        """What the lake's columns say."""
        return self.columns or self.answer or (None, None, None)


_AS_SENT = json.dumps(PAYMENT).encode()
_READ = ("c-1", datetime(2018, 7, 1, 0, 0, 31, tzinfo=UTC), 146.0)
_WITHOUT_AMOUNT = (*_READ[:2], None)


def _more(more: bytes) -> bytes:
    return _AS_SENT[:-1] + b", " + more + b"}"


WHOLE = (
    Whole(_AS_SENT, _READ),
    Whole(json.dumps(PAYMENT, indent=2).encode(), _READ),
    Whole(json.dumps(PAYMENT, separators=(",", ":")).encode(), _READ),
    Whole(_AS_SENT.replace(b'":', b'"\t:\r\n'), _READ),
    Whole(_AS_SENT.replace(b"customer_id", b"customer\\u005fid"), _READ),
    Whole(_more(b'"note": "amount \\"amount\\": -1"'), _READ),
    Whole(_more(b'"nested": {"amount": "1", "customer_id": 5, "event_time": null}'), _READ),
    Whole(_more(b'"amount": 147.0'), (*_READ[:2], 147.0)),
    Whole(_more(b'"currency": "EUR"'), _READ),
    Whole(_more(b'"currency": null'), _READ),
    Whole(_more(b'"currency": "USD"'), REFUSED, _WITHOUT_AMOUNT),
    Whole(_more(b'"currency": "eur"'), REFUSED, _WITHOUT_AMOUNT),
    Whole(b"", REFUSED),
    Whole(b"no JSON", REFUSED),
    Whole(_AS_SENT[:-1], REFUSED),
    Whole(b"[" + _AS_SENT + b"]", REFUSED),
    Whole(b'{"customer_id": ' + b"[" * 2000, REFUSED),
    Whole(_more(b'"currenc\\u0079": "USD"'), REFUSED, _WITHOUT_AMOUNT),
    Whole(_more(b'"currency": 5'), REFUSED, _WITHOUT_AMOUNT),
    Whole(_more(b'"currency": "USD", "currency": "EUR"'), _READ),
    Whole(_more(b'"currency": "EUR", "currency": "USD"'), REFUSED, _WITHOUT_AMOUNT),
    Whole(_more(b'"amount": "147"'), REFUSED, _WITHOUT_AMOUNT),
    Whole(_more(b'"amount": "147", "amount": 147'), REFUSED, _WITHOUT_AMOUNT),
    Whole(_AS_SENT + b"}", REFUSED),
    Whole(_AS_SENT + b" {}", REFUSED),
    Whole(_AS_SENT + b" \r\n\t", _READ),
    Whole(_AS_SENT + b"\x0c", REFUSED),
    Whole(b"\xef\xbb\xbf" + _AS_SENT, REFUSED),
    Whole(_AS_SENT.decode().encode("utf-16-le"), REFUSED),
    Whole(_more(b'"note": "\xed\xa0\x80"'), REFUSED),
    Whole(_more(b'"note": "\xc0\x80"'), REFUSED),
    Whole(_more(b'"note": "\\x"'), REFUSED),
    Whole(_more(b'"\xef\xbf\xbd": 0'), _READ),
    Whole(
        b'{"nested": {"customer_id": "c"}, ' + _AS_SENT.replace(b'"c-1"', b"5")[1:],
        REFUSED,
        (None, *_READ[1:]),
    ),
    Whole(_more(b'"note": "' + b"x" * (65_536 - len(_more(b'"note": ""'))) + b'"'), _READ),
    Whole(_more(b'"note": "' + b"x" * (65_537 - len(_more(b'"note": ""'))) + b'"'), REFUSED),
    Whole(_more(b'"note": "' + b"x" * 65_536 + b'"'), REFUSED),
    # only what may be absent may be null, and then the last one counts
    Whole(_more(b'"customer_id": null, "customer_id": "c-1"'), _READ),
    Whole(
        _more(b'"event_time": null, "event_time": "2018-07-01T00:00:31Z"'),
        REFUSED,
        (_READ[0], None, _READ[2]),
    ),
)
