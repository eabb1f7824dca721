"""Moments as people write them, in UTC."""

from datetime import UTC, datetime

import numpy as np


def as_datetime64(value: str | datetime) -> np.datetime64:
    """Give a time in UTC as the frames have it."""
    moment = value if isinstance(value, datetime) else parse_instant(value)
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(moment, "us")


def parse_instant(text: str) -> datetime:
    """Read a date or date-time in ISO 8601, UTC where it names no zone; ValueError otherwise."""
    moment = datetime.fromisoformat(text)
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text} is past the calendar's end in UTC") from None
