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
_LONGEST_ROW_BYTES = 1024**2
_LOOKED_AT_BYTES = 1000
# how other files begin, and what to do with them
_NO_TEXT = {
    b"\x1f\x8b": "it is compressed by gzip; unpack it",
    b"\x28\xb5\x2f\xfd": "it is compressed by zstd; unpack it",
    b"PK\x03\x04": "it is a ZIP archive, as Excel's workbooks are; unpack it, or save it as CSV in UTF-8",
    b"ARROW1": "it is Arrow's own format (Feather); save it as Parquet",
    b"PARE": "it is Parquet with its footer encrypted",
}


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
        if any("\0" in name for name in names):
            raise CsvError("its header has U+0000, so it is no text")
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

        if not self._rows.size:
            return pa.table({name: pa.array([], pa.string()) for name in names})
        places = {name: str(self.names.index(name)) for name in names}
        try:
            table = pa_csv.read_csv(
                self._rows,
                # rows have numbers only where one thread reads
                pa_csv.ReadOptions(
                    use_threads=False,
                    block_size=_LONGEST_ROW_BYTES,
                    column_names=[str(n) for n in range(len(self.names))],
                ),
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
            # what the reader says of a row that is longer than what it reads at once
            too_long = "straddl" in str(error) and (
                f"a row is longer than {_LONGEST_ROW_BYTES // 1024**2} MB; is a quotation mark left open?"
            )
            raise CsvError(broken or too_long or str(error)) from None
        return table.rename_columns(list(places))


def _utf8(content: bytes) -> bytes:
    """Check the encoding, and leave out its mark."""
    for begin, problem in _NO_TEXT.items():
        if content.startswith(begin):
            raise CsvError(problem)
    if _is_utf16(content[:_LOOKED_AT_BYTES]):
        raise CsvError("it is UTF-16; save it as UTF-8")
    while content.startswith(codecs.BOM_UTF8):
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


def _is_utf16(begin: bytes) -> bool:
    """Tell by the mark, or as most bytes at odd or even places are zero where most text is Latin."""
    if begin.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    return any(places.count(0) > len(places) / 2 for places in (begin[::2], begin[1::2]))


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
