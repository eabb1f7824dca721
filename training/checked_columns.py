"""Values of a table's columns as the jobs take them: ids, times, amounts, labels; others are refused."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from flink_jobs.domain.transaction import MAX_FUTURE_S, MAX_ID_CHARACTERS, id_problem
from training import column_values as of
from training.columns import Column
from training.printable import printable
from training.tables import DatasetError, Table

# From here on, a float of so many bits stands for several whole numbers.
_INEXACT = {16: 2.0**11, 32: 2.0**24, 64: 2.0**53}
_AN_ID = f"an id of 1 to {MAX_ID_CHARACTERS} characters"
_A_WHOLE_NUMBER = "an id: text or a whole number"
_A_TIME = "a date and time such as 2018-07-01T00:00:31Z"
_WHOLE_FLOAT = r"^(0|-?[1-9]\d*)\.0$"
_WHOLE_NUMBER = r"^(0|-?[1-9]\d*)$"
_SHORTENED = r"^\d([.,]\d+)?[eE]\+\d+$"


class CheckedColumns:
    """Columns of a table; each is checked when it is taken: errors name file, column and first bad row.

    Attributes:
        rows: how many.
        notes: what is not wrong for sure, but should be known.

    """

    def __init__(self, table: Table, columns: Mapping[str, Column], now_s: float | None = None) -> None:
        """Read columns of a table.

        Args:
            table: the file.
            columns: that will be taken, by our names.
            now_s: the reader's clock, in seconds since 1970; times more than a day past it are refused.

        Raises:
            DatasetError: they cannot be read.

        """
        self._table = table
        self._mapping = columns
        self._now_s = now_s
        read = table.read(column.name for column in columns.values())
        self.rows = read.num_rows
        self.notes: list[str] = []
        self._columns: dict[str, pa.ChunkedArray] = {}
        for ours, column in columns.items():
            self._columns[ours] = self._plain(ours, read[column.name])

    def __contains__(self, ours: str) -> bool:
        return ours in self._mapping

    def transaction_ids(self) -> pa.ChunkedArray:
        """Give the ids of transactions; where the table has none, they are of its content and the row."""
        if "transaction_id" in self:
            return self.ids("transaction_id")
        file = self._table.sha256[:16]
        return pa.chunked_array([[f"{file}-{row}" for row in range(1, self.rows + 1)]], pa.string())

    def ids(self, ours: str, *, optional: bool = False) -> pa.ChunkedArray:
        """Give ids as text; with `optional`, NULL for what is empty.

        Text is an id as it stands. A whole number that came with a point is the id that the number is; so is
        text such as `288062.0`, in a column that reads like numbers.
        """
        values = self._columns[ours]
        kind = values.type
        if pa.types.is_floating(kind):
            values = self._whole(ours, values)
        elif pa.types.is_string(kind):
            values = self._texts(ours, values)
        elif pa.types.is_decimal(kind):
            values = self._whole_decimals(ours, values)
        elif not pa.types.is_integer(kind):
            self._refuse_type(ours, _AN_ID)
        values = values.cast(pa.string())
        if pa.types.is_string(kind) or pa.types.is_decimal(kind):
            self._refuse_no_ids(ours, values)
        if optional:
            return pc.if_else(of.is_empty(values), None, values)
        self._refuse(ours, of.mask(of.is_empty(values)), _AN_ID)
        return values

    def numbers(self, ours: str, least: float = -math.inf, most: float = math.inf) -> NDArray[np.float64]:
        """Give finite numbers, `least` and `most` included."""
        values = self._floats(ours, "a number")
        self._refuse(ours, ~np.isfinite(values), "a number")
        self._refuse(ours, values < least, f"a number not below {least:g}")
        self._refuse(ours, values > most, f"a number not above {most:g}")
        return values

    def check_currency(self, ours: str, own: str) -> None:
        """Refuse amounts of another currency than the deployment's; those of an empty one are its own."""
        values = self._columns[ours]
        if not pa.types.is_string(values.type):
            self._refuse_type(ours, own)
        other = pc.and_(pc.not_equal(values, own), pc.not_equal(values, ""))
        expected = f"{own}, as amounts of several currencies are not comparable (`currency` in the settings)"
        self._refuse(ours, of.mask(other), expected)

    def labels(self, ours: str) -> NDArray[np.int8]:
        """Give 0 or 1."""
        values = self._columns[ours]
        if pa.types.is_boolean(values.type):
            found = of.floats(values.cast(pa.int8()))
        elif pa.types.is_string(values.type):
            words = pc.utf8_lower(pc.utf8_trim_whitespace(values))
            for word, digit in (("true", "1"), ("false", "0")):
                words = pc.if_else(pc.equal(words, word), digit, words)
            found = of.numbers(words)
        else:
            found = self._floats(ours, "0 or 1")
        self._refuse(ours, (found != 0) & (found != 1), "0 or 1")
        return found.astype(np.int8)

    def times(self, ours: str, *, optional: bool = False) -> NDArray[Any]:
        """Give times in UTC, microseconds, no zone; with `optional`, NaT for what is empty."""
        moments = self._moments(ours)
        missing = np.isnat(moments)
        if optional:
            missing &= ~of.mask(of.is_empty(self._columns[ours]))
        self._refuse(ours, missing, self._expected_time(ours, missing))
        self._refuse(ours, moments < np.datetime64(0, "us"), "a time from 1970 on")
        if self._now_s is not None:
            latest = datetime.fromtimestamp(self._now_s, UTC) + timedelta(seconds=MAX_FUTURE_S)
            late = moments > np.datetime64(latest.replace(tzinfo=None), "us")
            self._refuse(
                ours, late, f"a time not over a day ahead of this machine's clock, so at most {latest:%FT%TZ}"
            )
        return moments

    def _plain(self, ours: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
        """Give text as strings, whatever it was stored as."""
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        kind = values.type
        if pa.types.is_null(kind):
            return values.cast(pa.string())
        if pa.types.is_large_string(kind) or pa.types.is_string(kind):
            # Parquet's text may be anything; the way over bytes checks it
            values = values.cast(pa.large_binary() if pa.types.is_large_string(kind) else pa.binary())
        elif pa.types.is_fixed_size_binary(kind):
            values = values.cast(pa.binary())
        elif not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
            return values
        try:
            return values.cast(pa.string())
        except pa.ArrowException:
            self._columns[ours] = values
            self._refuse(
                ours, np.array([not of.is_utf8(value) for value in values.to_pylist()]), "text in UTF-8"
            )
            raise

    def _texts(self, ours: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
        """Check text; read `288062.0` as a number where all of the column reads like numbers."""
        floats = pc.match_substring_regex(values, _WHOLE_FLOAT)
        if pc.any(floats).as_py() and not pc.any(pc.invert(self._reads_as_numbers(values))).as_py():
            first = int(np.argmax(of.mask(floats)))
            whole = of.floats(pc.if_else(floats, values, None))
            self._refuse_inexact(ours, whole)
            self.notes.append(
                f"{self._table.source}: column {self._name(ours)} reads like numbers, so row {first + 1}, "
                f"{of.value_text(values[first])}, is the id {whole[first]:.0f}"
            )
            values = pc.if_else(floats, of.whole_numbers(whole), values)
        self._note_shortened(ours, values)
        return values

    def _refuse_no_ids(self, ours: str, texts: pa.ChunkedArray) -> None:
        odd = pc.or_(
            pc.greater(pc.utf8_length(texts), MAX_ID_CHARACTERS),
            pc.match_substring_regex(texts, r"\p{Cc}"),
        )
        if pc.any(odd).as_py():
            rows = of.mask(odd)
            problem = id_problem(texts[int(np.argmax(rows))].as_py())
            self._refuse(ours, rows, f"an id, but this {problem}")

    def _reads_as_numbers(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        """Tell which values are numbers, or empty: a gap makes floats of a column of whole numbers."""
        number = pc.match_substring_regex(values, f"{_WHOLE_NUMBER}|{_WHOLE_FLOAT}|{_SHORTENED}")
        return pc.or_(number, pc.fill_null(of.is_empty(values), True))  # noqa: FBT003 - pyarrow's own

    def _note_shortened(self, ours: str, values: pa.ChunkedArray) -> None:
        shortened = pc.match_substring_regex(values, _SHORTENED)
        count = pc.sum(shortened).as_py()
        if count:
            first = int(np.argmax(of.mask(shortened)))
            self.notes.append(
                f"{self._table.source}: column {self._name(ours)}, row {first + 1} is "
                f"{of.value_text(values[first])}: a spreadsheet shortens long numbers so, and different "
                f"ids may have become one ({count:,} such rows); export the column as text"
            )

    def _whole_decimals(self, ours: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
        whole = pc.trunc(values)
        self._refuse(ours, of.mask(pc.not_equal(values, whole)), _A_WHOLE_NUMBER)
        exact = pa.decimal128 if pa.types.is_decimal128(values.type) else pa.decimal256
        return whole.cast(exact(values.type.precision, 0), safe=False)

    def _whole(self, ours: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
        whole = of.floats(values)
        empty = np.isnan(whole)
        self._refuse(ours, ~empty & (~np.isfinite(whole) | (whole != np.floor(whole))), _A_WHOLE_NUMBER)
        self._refuse_inexact(ours, whole, values.type.bit_width)
        return of.whole_numbers(whole)

    def _refuse_inexact(self, ours: str, whole: NDArray[np.float64], bits: int = 64) -> None:
        self._refuse(
            ours,
            np.abs(whole) >= _INEXACT[bits],
            "an id: floats lose digits of numbers as large; export the column as text or whole numbers",
        )

    def _floats(self, ours: str, expected: str) -> NDArray[np.float64]:
        values = self._columns[ours]
        kind = values.type
        if pa.types.is_string(kind):
            return of.numbers(values, self._table.delimiter)
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
            self._refuse_type(ours, expected)
        return of.floats(values)

    def _moments(self, ours: str) -> NDArray[Any]:
        values, column = self._columns[ours], self._mapping[ours]
        kind = values.type
        if column.unit_us is not None:
            counted = self._floats(ours, f"a number, as {self._table.option} gives it a unit")
            return of.counted_times(counted, column.unit_us, column.origin_us)
        if pa.types.is_string(kind):
            return of.read_times(values)
        if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
            return np.full(self.rows, np.datetime64("NaT", "us"))
        return of.microseconds(values)

    def _expected_time(self, ours: str, missing: NDArray[np.bool_]) -> str:
        """Say what a time is; where a number stands instead, how its unit is given."""
        if not missing.any() or self._mapping[ours].unit_us is not None:
            return "a number" if missing.any() else ""
        if not of.reads_as_number(self._columns[ours][int(np.argmax(missing))]):
            return _A_TIME
        unit = self._table.told(f"{ours}={self._name(ours)}*1s")
        return f"{_A_TIME}; a number needs its unit, such as {unit} for seconds since 1970"

    def _name(self, ours: str) -> str:
        return printable(self._mapping[ours].name)

    def _refuse_type(self, ours: str, expected: str) -> NoReturn:
        kind = of.shortened(str(self._columns[ours].type))
        self._refuse(ours, np.ones(self.rows, dtype=bool), expected, f" of type {kind}")
        # a table without rows
        raise DatasetError(
            f"{self._table.source}: column {self._name(ours)} is of type {kind}; expected {expected}"
        )

    def _refuse(self, ours: str, bad: NDArray[np.bool_], expected: str, of_type: str = "") -> None:
        if not bad.any():
            return
        first = int(np.argmax(bad))
        raise DatasetError(
            f"{self._table.source}: column {self._name(ours)}, row {first + 1} is "
            f"{of.value_text(self._columns[ours][first])}{of_type}; expected {expected} "
            f"({int(bad.sum()):,} such rows; the first data row is row 1)"
        )
