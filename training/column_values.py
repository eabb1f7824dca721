"""Numbers, times and texts of whole columns at once; what is none of them is NULL, NaN or NaT."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from training.printable import printable

_SHOWN_CHARACTERS = 80
# So many microseconds are far past any clock, and none of them overflows.
_LATEST_US = 2.0**62

_UNITS_US = {"s": 1_000_000, "ms": 1_000, "us": 1}
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
# 1,234 may be a thousand and more, where commas separate nothing
_THOUSANDS = r"^[+-]?[1-9]\d{0,2}(,\d{3})+$"
_TIME = (
    r"^(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)"
    r"(?:[ Tt](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?"
    r" ?(?:[Zz]|(?P<sign>[+-])(?P<ahead_h>\d\d):?(?P<ahead_min>\d\d))?)?$"
)
_MOST = {"hour": 23, "minute": 59, "second": 59, "ahead_h": 23, "ahead_min": 59}


def numbers(texts: pa.ChunkedArray, delimiter: str = "") -> NDArray[np.float64]:
    """Read numbers; NaN for what is none.

    A comma is the decimal point in a column of a file whose columns it does not separate. There, a point or
    a comma that may separate thousands is no part of a number.

    Args:
        texts: as the file has them.
        delimiter: of a CSV file.

    """
    trimmed = pc.utf8_trim_whitespace(texts)
    readable = pc.match_substring_regex(trimmed, _NUMBER)
    if delimiter not in ("", ",") and pc.any(pc.match_substring(trimmed, ",")).as_py():
        readable = pc.invert(pc.match_substring(trimmed, "."))
        if delimiter != ";":
            readable = pc.and_(readable, pc.invert(pc.match_substring_regex(trimmed, _THOUSANDS)))
        trimmed = pc.replace_substring(trimmed, ",", ".")
        readable = pc.and_(readable, pc.match_substring_regex(trimmed, _NUMBER))
    return floats(pc.if_else(readable, trimmed, None))


def floats(values: pa.ChunkedArray) -> NDArray[np.float64]:
    """Give numbers as the nearest floats; NULL is NaN."""
    if pa.types.is_decimal(values.type):
        # Arrow divides, and rounds twice: 3.30 would be another number than in CSV
        values = values.cast(pa.string())
    found: NDArray[np.float64] = values.cast(pa.float64(), safe=False).to_numpy()
    return found


def read_times(texts: pa.ChunkedArray) -> NDArray[Any]:
    """Read times in ISO 8601, UTC where they name no offset, to the microsecond; NaT for what is none."""
    fields = pc.extract_regex(pc.utf8_trim_whitespace(texts), _TIME).combine_chunks()
    matched = fields.is_valid().to_numpy(zero_copy_only=False)

    def field(name: str, nothing: str = "0") -> NDArray[np.int64]:
        digits = fields.field(name)
        filled = pc.if_else(pc.fill_null(pc.equal(digits, ""), True), nothing, digits)  # noqa: FBT003 - pyarrow's own
        found: NDArray[np.int64] = filled.cast(pa.int64()).to_numpy(zero_copy_only=False)
        return found

    found = {name: field(name) for name in ("hour", "minute", "second", "ahead_h", "ahead_min")}
    months = (field("year", "1970") - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (
        field("month") - 1
    )
    days = months.astype("datetime64[D]") + (field("day") - 1)
    month = field("month")
    exists = matched & (month >= 1) & (month <= 12) & (days.astype("datetime64[M]") == months)  # noqa: PLR2004
    for name, most in _MOST.items():
        exists &= found[name] <= most
    seconds = found["hour"] * 3600 + found["minute"] * 60 + found["second"]
    ahead = found["ahead_h"] * 3600 + found["ahead_min"] * 60
    behind = pc.fill_null(pc.equal(fields.field("sign"), "-"), False).to_numpy(zero_copy_only=False)  # noqa: FBT003
    seconds -= np.where(behind, -ahead, ahead)
    # a digit more, as the job rounds to the nearest microsecond
    fraction = pc.utf8_rpad(pc.utf8_slice_codeunits(fields.field("fraction"), 0, 7), 7, "0")
    microseconds = (pc.fill_null(fraction, "0").cast(pa.int64()).to_numpy(zero_copy_only=False) + 5) // 10
    at = days.astype("datetime64[us]") + (seconds * 1_000_000 + microseconds).astype("timedelta64[us]")
    return np.where(exists, at, np.datetime64("NaT"))


def counted_times(counts: NDArray[np.float64], unit_us: int, origin_us: int) -> NDArray[Any]:
    """Give times that are counted in a unit from an origin; NaT for what is no finite number."""
    known = np.isfinite(counts)
    units = np.where(known, counts, 0)
    at = np.clip(np.rint(units * unit_us) + origin_us, -_LATEST_US, _LATEST_US)
    return np.where(known, at.astype("datetime64[us]"), np.datetime64("NaT"))


def microseconds(values: pa.ChunkedArray) -> NDArray[Any]:
    """Give dates and timestamps of any unit in microseconds; those past every calendar stay there."""
    if pa.types.is_date(values.type):
        values = values.cast(pa.timestamp("ms"))
    units = pc.fill_null(values.cast(pa.int64()), 0).to_numpy()
    unit_us = _UNITS_US.get(values.type.unit)
    if unit_us is None:
        units = units // 1_000 + (units % 1_000 >= 500)  # noqa: PLR2004 - half of a microsecond
    else:
        most = int(_LATEST_US) // unit_us
        units = np.clip(units, -most, most) * unit_us
    return np.where(mask(values.is_null()), np.datetime64("NaT", "us"), units.astype("datetime64[us]"))


def whole_numbers(whole: NDArray[np.float64]) -> pa.Array:
    """Write whole numbers; NULL for NaN."""
    empty = np.isnan(whole)
    return pa.array(np.where(empty, 0, whole).astype(np.int64), mask=empty).cast(pa.string())


def is_empty(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Tell which values are NULL, NaN or text without a character."""
    empty = values.is_null(nan_is_null=pa.types.is_floating(values.type))
    return pc.or_kleene(empty, pc.equal(values, "")) if pa.types.is_string(values.type) else empty


def mask(values: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Give what pyarrow found as NumPy takes it; NULL is False."""
    found: NDArray[np.bool_] = pc.fill_null(values, False).to_numpy(zero_copy_only=False)  # noqa: FBT003 - pyarrow's own
    return found


def is_utf8(value: bytes | None) -> bool:
    """Tell whether bytes are text; NULL may be."""
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def reads_as_number(value: pa.Scalar) -> bool:
    """Tell whether a value is a number, or is written like one."""
    try:
        float(value.as_py())
    except (TypeError, ValueError):
        return False
    return True


def value_text(value: pa.Scalar) -> str:
    """Write a value for a message; quoted if it is text and no number."""
    if value.is_valid and (pa.types.is_timestamp(value.type) or pa.types.is_date(value.type)):
        # Python's own reach no further than the year 9999
        return str(value.cast(pa.string()))
    plain = value.as_py()
    if plain is None or plain == "" or (isinstance(plain, float) and math.isnan(plain)):
        return "empty"
    return shortened(str(plain) if not isinstance(plain, str) or reads_as_number(value) else repr(plain))


def shortened(text: str) -> str:
    """Make a text fit for a message: of one line, and cut."""
    text = printable(text)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
