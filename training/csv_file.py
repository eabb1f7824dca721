"""CSV as people have it: which delimiter, where the header is, which lines are comments."""

import codecs
import csv
import io
from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

# in words, for messages
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
# a spreadsheet's way to name its delimiter, in a line of its own before the header
_SEPARATOR_LINE = b"sep="
_LINE_BREAKS = b"\r\n"


class CsvError(Exception):
    """What keeps the content from being read as CSV, and where."""


class CsvFile:
    """A table in CSV: UTF-8, with a header; all values are text.

    Attributes:
        names: of the columns.
        delimiter: the one of comma, semicolon, tab and bar that gives the header most columns.

    """

    def __init__(self, content: bytes) -> None:
        content = _utf8(content)
        begin, delimiter = _header_begin(content)
        headers = {each: _first_row(content, begin, each) for each in delimiter or DELIMITERS}
        # the first of equals
        self.delimiter = max(headers, key=lambda each: len(headers[each][0]))
        names, end = headers[self.delimiter]
        if not any(names):
            raise CsvError("it has no header")
        self.names = tuple(name.strip() for name in names)
        self._rows = pa.py_buffer(content)[end:]

    def read(self, names: Iterable[str]) -> pa.Table:
        """Read these columns, of which there is one each, as text; "" where a row has nothing.

        Lines that begin with `#`, and are no rows, are comments.

        Raises:
            CsvError: a row has too few or too many values.

        """
        comments = 0
        broken = ""

        def decide(row: Any) -> str:  # noqa: ANN401 - pyarrow's own
            nonlocal comments, broken
            if row.text.startswith("#"):
                comments += 1
                return "skip"
            broken = (
                f"row {row.number - comments} has {row.actual_columns} values, the header has "
                f"{row.expected_columns} (the first data row is row 1): {row.text[:80]!r}"
            )
            return "error"

        places = {name: str(self.names.index(name)) for name in names}
        try:
            table = pa_csv.read_csv(
                self._rows,
                # rows have numbers only where one thread reads
                pa_csv.ReadOptions(use_threads=False, column_names=[str(n) for n in range(len(self.names))]),
                pa_csv.ParseOptions(
                    delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=decide
                ),
                pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(places.values(), pa.string()),
                    include_columns=list(places.values()),
                    strings_can_be_null=False,
                ),
            )
        except pa.ArrowException as error:
            raise CsvError(broken or str(error)) from None
        return table.rename_columns(list(places))


def _utf8(content: bytes) -> bytes:
    """Check the encoding, and leave out its mark."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise CsvError("it is UTF-16; save it as UTF-8")
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise CsvError(
            f"byte 0x{content[error.start]:02x} in line {line} is not UTF-8; save it as UTF-8"
        ) from None
    # one line break for all: those of old Macs stand alone
    return content if b"\n" in content else content.replace(b"\r", b"\n") + b"\n"


def _header_begin(content: bytes) -> tuple[int, str]:
    """Pass over comments and empty lines: where the header begins, and the delimiter that the file names."""
    begin, delimiter = 0, ""
    stream = io.BytesIO(content)
    for line in stream:
        if (
            line.lower().startswith(_SEPARATOR_LINE)
            and len(line.strip(_LINE_BREAKS)) == len(_SEPARATOR_LINE) + 1
        ):
            delimiter = line[len(_SEPARATOR_LINE) :][:1].decode()
        elif line.strip() and not line.startswith(b"#"):
            break
        begin += len(line)
    return begin, delimiter


def _first_row(content: bytes, begin: int, delimiter: str) -> tuple[list[str], int]:
    """Give the values of the row that begins here, and where it ends."""
    end = begin

    def lines() -> Iterator[str]:
        nonlocal end
        for line in takewhile(bool, iter(stream.readline, b"")):
            end += len(line)
            yield line.decode()

    stream = io.BytesIO(content)
    stream.seek(begin)
    try:
        return next(csv.reader(lines(), delimiter=delimiter), []), end
    except csv.Error as error:
        raise CsvError(f"its header cannot be read ({error})") from None
