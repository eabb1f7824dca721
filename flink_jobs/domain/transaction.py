"""A card transaction as it travels on the topic `transactions`, and how it is read."""

import json
import math
from datetime import datetime
from typing import Annotated

import msgspec

MAX_PAYLOAD_BYTES = 64 * 1024  # ml_inference_job cuts longer records and says how long they were
MAX_FUTURE_S = 24 * 3600.0

Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Transaction(msgspec.Struct, frozen=True, gc=False):
    """One card transaction.

    Attributes:
        transaction_id: unique; 1 to 64 characters.
        event_time: when the card was used; RFC 3339 with an offset.
        amount: in the card's currency, finite and not negative.
        customer_id: who paid; absent in tables of ready numeric columns.
        terminal_id: where; absent in tables of ready numeric columns.
        features: ready numeric columns by name, for models that take them as they are.

    """

    transaction_id: Identifier
    event_time: Annotated[datetime, msgspec.Meta(tz=True)]
    amount: Annotated[float, msgspec.Meta(ge=0)]
    customer_id: Identifier | None = None
    terminal_id: Identifier | None = None
    features: dict[str, float] | None = None

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


_decoder = msgspec.json.Decoder(Transaction)


def parse_transaction(payload: bytes, now_s: float) -> Transaction:
    """Read one record of the topic `transactions`.

    Args:
        payload: the record's value as it lies in Kafka.
        now_s: the reader's clock, in seconds since 1970; event times more than a day past it are refused.

    Raises:
        InvalidTransaction: with the reason code and the field.

    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise InvalidTransaction(
            "too_large", f"{len(payload)} bytes; a transaction has at most {MAX_PAYLOAD_BYTES}"
        )
    try:
        if not payload.isascii():
            payload.decode()
        transaction = _decoder.decode(payload)
    except (UnicodeDecodeError, msgspec.MsgspecError, RecursionError) as error:
        raise _explain(payload, error) from None
    time_s = transaction.time_s
    if time_s > now_s + MAX_FUTURE_S:
        raise InvalidTransaction(
            "future_event_time", f"event_time {transaction.event_time.isoformat()} lies over a day ahead"
        )
    if time_s < 0:
        raise InvalidTransaction(
            "bad_event_time", f"event_time {transaction.event_time.isoformat()} lies before 1970"
        )
    return transaction


def _explain(payload: bytes, error: Exception) -> InvalidTransaction:
    """Name the reason; runs for bad records only, so it may take its time."""
    detail = str(error)
    if isinstance(error, UnicodeDecodeError):
        return InvalidTransaction("not_utf8", f"byte 0x{payload[error.start]:02x} at position {error.start}")
    if not isinstance(error, msgspec.ValidationError):
        return _explain_malformed(payload, detail)
    if "missing required field" in detail:
        reason = "missing_field"
    elif "`$.amount`" in detail and (">=" in detail or "range" in detail):
        reason = "bad_amount"
    elif "`$.event_time`" in detail and "got" not in detail:
        reason = "bad_event_time"
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
