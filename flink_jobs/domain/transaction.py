"""A card transaction as it travels on the topic `transactions`, and how it is read."""

import json
import math
import re
from datetime import datetime
from typing import Annotated

import msgspec

from flink_jobs.domain.json_errors import NOT_THE_JSON

MAX_PAYLOAD_BYTES = 64 * 1024  # ml_inference_job cuts longer records and says how long they were
MAX_FUTURE_S = 24 * 3600.0
MAX_ID_CHARACTERS = 64
# sums and squares of amounts stay finite, and every cent has a number of its own.
MAX_AMOUNT = 1e12

# ISO 4217; of a deployment whose settings name none
DEFAULT_CURRENCY = "EUR"

Identifier = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=MAX_ID_CHARACTERS,
        # for readers of the schema: `id_problem` looks, and only where there may be any
        extra_json_schema={"pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"},
    ),
]
Currency = Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]

# as numbers: a search for a byte is four times as quick as one for bytes
_BACKSLASH, _DELETE = b"\\\x7f"
_FIRST_SURROGATE = 0xD800
_NEVER_IN_IDS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Transaction(msgspec.Struct, frozen=True, gc=False):
    """One card transaction.

    Attributes:
        transaction_id: unique; an id, see `id_problem`.
        event_time: when the card was used; RFC 3339 with an offset.
        amount: a number from 0 to MAX_AMOUNT, in the deployment's currency.
        customer_id: who paid; absent in tables of ready numeric columns.
        terminal_id: where; absent in tables of ready numeric columns.
        features: ready numeric columns by name, for models that take them as they are.
        currency: of the amount; where it is absent, the deployment's own.

    """

    transaction_id: Identifier
    event_time: Annotated[datetime, msgspec.Meta(tz=True)]
    amount: Annotated[float, msgspec.Meta(ge=0, le=MAX_AMOUNT)]
    customer_id: Identifier | None = None
    terminal_id: Identifier | None = None
    features: dict[str, float] | None = None
    currency: Currency | None = None

    @property
    def time_s(self) -> float:
        """Event time in seconds since 1970-01-01T00:00:00Z."""
        return self.event_time.timestamp()


class InvalidTransaction(ValueError):  # noqa: N818 - named for the record, not for the failure
    """A record that is no transaction.

    Attributes:
        reason: short code, stable: dashboards count it.
        detail: what is wrong and where, for a person.

    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def id_problem(text: str) -> str | None:
    """Say what keeps a text from being an id, in words that follow the field's name; None if nothing does.

    An id has 1 to MAX_ID_CHARACTERS Unicode characters, none of which is a control character or half of a
    surrogate pair. Nothing is trimmed, folded or read as a gap: `NA` is an id.
    """
    if not text:
        return f"is empty; an id has 1 to {MAX_ID_CHARACTERS} characters"
    if len(text) > MAX_ID_CHARACTERS:
        return f"has {len(text)} characters; an id has 1 to {MAX_ID_CHARACTERS}"
    found = _NEVER_IN_IDS.search(text)
    if found is None:
        return None
    code = ord(found[0])
    what = "half a surrogate pair" if code >= _FIRST_SURROGATE else "a control character"
    return f"has U+{code:04X} at position {found.start()}, {what}; an id has none"


def time_problem(time: datetime, now_s: float) -> str | None:
    """Say what keeps a time from being one of a transaction or label, as `id_problem` does.

    Args:
        time: with an offset.
        now_s: when that was told, in seconds since 1970; times more than a day past it are refused.

    """
    time_s = time.timestamp()
    if time_s < 0:
        return f"{time.isoformat()} lies before 1970"
    if time_s > now_s + MAX_FUTURE_S:
        return f"{time.isoformat()} lies over a day ahead"
    return None


def currency_problem(currency: str, own: str) -> str | None:
    """Say what keeps amounts of a currency from being taken, as `id_problem` does.

    Args:
        currency: that the record or file names.
        own: the deployment's, as `currency` in the settings has it.

    """
    if currency == own:
        return None
    return f"is {currency!r}; this deployment's amounts are in {own} (`currency` in its settings)"


_decoder = msgspec.json.Decoder(Transaction)


def parse_transaction(
    payload: bytes, now_s: float, currency: str = DEFAULT_CURRENCY, payload_bytes: int | None = None
) -> Transaction:
    """Read one record of the topic `transactions`.

    Args:
        payload: the record's value as it lies in Kafka.
        now_s: when the record came, by Kafka's timestamp, in seconds since 1970; event times more than a day
            past it are refused.
        currency: the deployment's own; a transaction that names another is refused.
        payload_bytes: the record's length, where `payload` was cut.

    Raises:
        InvalidTransaction: with the reason code and the field.

    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise InvalidTransaction(
            "too_large",
            f"{payload_bytes or len(payload)} bytes; a transaction has at most {MAX_PAYLOAD_BYTES}",
        )
    plain = payload.isascii()
    try:
        if not plain:
            payload.decode()
        transaction = _decoder.decode(payload)
    except NOT_THE_JSON as error:
        raise _explain(payload, error) from None
    # other JSON has no control characters: raw ones below 0x20 are no JSON, others need one of these
    if not plain or _BACKSLASH in payload or _DELETE in payload:
        _check_ids(transaction)
    time_s = transaction.time_s
    if not 0 <= time_s <= now_s + MAX_FUTURE_S:
        reason = "bad_event_time" if time_s < 0 else "future_event_time"
        raise InvalidTransaction(reason, f"event_time {time_problem(transaction.event_time, now_s)}")
    if transaction.currency is not None:
        problem = currency_problem(transaction.currency, currency)
        if problem:
            raise InvalidTransaction("other_currency", f"currency {problem}")
    return transaction


def _check_ids(transaction: Transaction) -> None:
    for name in ("transaction_id", "customer_id", "terminal_id"):
        text = getattr(transaction, name)
        problem = None if text is None else id_problem(text)
        if problem:
            raise InvalidTransaction("bad_id", f"{name} {problem}")


def _explain(payload: bytes, error: Exception) -> InvalidTransaction:
    """Name the reason; runs for bad records only, so it may take its time."""
    detail = str(error)
    if not payload:
        return InvalidTransaction("empty", "the record has no value, or one without a byte")
    if isinstance(error, UnicodeDecodeError):
        return InvalidTransaction("not_utf8", f"byte 0x{payload[error.start]:02x} at position {error.start}")
    if not isinstance(error, msgspec.ValidationError):
        return _explain_malformed(payload, detail)
    if "missing required field" in detail:
        reason = "missing_field"
    elif "`$.amount`" in detail and ("=" in detail or "range" in detail):
        reason = "bad_amount"
    elif "`$.event_time`" in detail and "got" not in detail:
        reason = "bad_event_time"
    elif "`$.currency`" in detail and "regex" in detail:
        reason = "bad_currency"
    elif "of length" in detail:
        reason = "bad_id"
    else:
        reason = "wrong_type"
    return InvalidTransaction(reason, detail)


def _explain_malformed(payload: bytes, detail: str) -> InvalidTransaction:
    """Tell a number that JSON does not have (NaN, Infinity, 1e999) from text that is no JSON at all."""
    try:
        lenient = json.loads(payload)
    except (ValueError, RecursionError):
        return InvalidTransaction("not_json", detail)
    amount = lenient.get("amount") if isinstance(lenient, dict) else None
    if isinstance(amount, float) and not math.isfinite(amount):
        return InvalidTransaction("bad_amount", f"amount is {amount}; a finite number is expected")
    return InvalidTransaction("not_json", detail)
