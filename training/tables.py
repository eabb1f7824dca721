"""Tables from files, CSV or Parquet, local or ``s3://bucket/key``; columns are read when asked for."""

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from flink_jobs.store.object_store import ObjectStoreError, read_object, s3_client
from flink_jobs.store.settings import SettingsError, load_settings
from training.csv_file import CsvError, CsvFile
from training.printable import printable


class DatasetError(Exception):
    """The data cannot be used: says which file and column, and what was expected."""


class TooLittleDataError(DatasetError):
    """There is not enough data yet; what is there may be right."""


@dataclass(frozen=True)
class Table:
    """A table of which nothing but the header was read.

    Attributes:
        source: where it is, for messages.
        names: of its columns.
        sha256: of its bytes.
        delimiter: of a CSV file; empty for other tables.
        option: by which a user tells the columns of this table.

    """

    source: str
    names: tuple[str, ...]
    sha256: str
    reader: Callable[[list[str]], pa.Table]
    delimiter: str = ""
    option: str = "--columns"

    def told(self, mapping: str) -> str:
        """Give what a user has to type for a mapping of columns."""
        return f"{self.option}{'' if self.option.endswith('=') else ' '}{mapping}"

    def read(self, names: Iterable[str]) -> pa.Table:
        """Read columns; DatasetError: they cannot be read, or a name is there twice."""
        wanted = list(dict.fromkeys(names))
        counts = Counter(self.names)
        for name in wanted:
            if counts[name] > 1:
                raise DatasetError(f"{self.source}: column {printable(name)} is there {counts[name]} times")
        try:
            return self.reader(wanted)
        except (CsvError, pa.ArrowException, OSError) as error:
            raise _unreadable(self.source, error) from None


def open_table(location: str, settings_file: str | Path | None = None, option: str = "--columns") -> Table:
    """Open a CSV or Parquet file, told apart by the first bytes, not by the name.

    Args:
        location: a path or `s3://bucket/key`.
        settings_file: says where `s3://` is.
        option: by which a user tells the file's columns, for messages.

    Raises:
        DatasetError: no such file, or neither format.

    """
    content = (
        _read_object(location, settings_file) if location.startswith("s3://") else _read_file(Path(location))
    )
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        if content.startswith(b"PAR1"):
            # in nanoseconds, times of INT96 come round again after 584 years
            parquet = pq.ParquetFile(io.BytesIO(content), coerce_int96_timestamp_unit="us")
            names = tuple(parquet.schema_arrow.names)
            return Table(location, names, sha256, lambda wanted: parquet.read(columns=wanted), option=option)
        csv = CsvFile(content)
        return Table(location, csv.names, sha256, csv.read, csv.delimiter, option)
    except (CsvError, pa.ArrowException, OSError) as error:
        raise _unreadable(location, error) from None


def table_in_memory(table: pa.Table, source: str, sha256: str) -> Table:
    """Take a table that is no file."""
    return Table(source, tuple(table.column_names), sha256, table.select)


def _unreadable(source: str, error: Exception) -> DatasetError:
    return DatasetError(
        f"{source}: neither CSV nor Parquet that can be read ({' '.join(str(error).split())})"
    )


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file (looked from {Path.cwd()})") from None
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror})") from None


def _read_object(location: str, settings_file: str | Path | None) -> bytes:
    bucket, _, key = location.removeprefix("s3://").partition("/")
    if not bucket or not key:
        raise DatasetError(f"{location}: expected s3://bucket/key")
    try:
        return read_object(s3_client(load_settings(settings_file).s3), bucket, key)
    except (ObjectStoreError, SettingsError) as error:
        raise DatasetError(str(error)) from None
