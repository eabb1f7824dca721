"""Which column of a file is which of ours: by the names that it has, and by the option `--columns`."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from flink_jobs.domain.manifest import ModelKind
from training.csv_file import DELIMITERS
from training.instants import parse_instant
from training.known_tables import HANDBOOK, PUBLIC_TABLES, READY, READY_COLUMNS
from training.printable import printable
from training.tables import DatasetError, Table

HISTORY_NAMES = ("transaction_id", "event_time", "customer_id", "terminal_id", "amount")
LABEL = "is_fraud"
CURRENCY = "currency"
LABEL_NAMES = ("transaction_id", LABEL, "labelled_by", "labelled_at")
NAMES = tuple(dict.fromkeys((*HISTORY_NAMES, CURRENCY, *LABEL_NAMES)))
_TIMES = ("event_time", "labelled_at")
# A row without an id gets one of its own; a label may come another way; a currency is the deployment's.
_OPTIONAL = ("transaction_id", LABEL, CURRENCY)

UNITS_US = {"us": 1, "ms": 10**3, "s": 10**6, "min": 60 * 10**6, "h": 3600 * 10**6, "d": 86_400 * 10**6}
_COUNTED = re.compile(rf"(.+)\*([1-9]\d{{0,8}})({'|'.join(UNITS_US)})(?:@(.+))?")
_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN_NAMES = 40


@dataclass(frozen=True)
class Column:
    """A column of a file.

    Attributes:
        name: as the file spells it.
        unit_us: of a time that is a number, in microseconds; None: a time that is written as one.
        origin_us: what such a number counts from, in microseconds since 1970.

    """

    name: str
    unit_us: int | None = None
    origin_us: int = 0


Mapping = dict[str, Column]


@dataclass(frozen=True)
class Layout:
    """A kind of transactions, and the file's columns by our names; id and label need not be there."""

    kind: ModelKind
    columns: Mapping


class _Schema(NamedTuple):
    """A kind of file: how it spells our names, and columns that are features as they stand."""

    title: str
    kind: ModelKind
    spelling: Mapping
    features: tuple[str, ...] = ()

    def find(self, present: set[str], given: Mapping) -> tuple[Mapping, list[str]]:
        """Give the columns that are there, and the names of those that are missing."""
        columns, missing = {}, []
        for ours, spelt in (self.spelling | {CURRENCY: Column(CURRENCY)}).items():
            column = given.get(ours) or next(
                (each for each in (spelt, Column(ours)) if each.name in present), None
            )
            if column is not None:
                columns[ours] = column
            elif ours not in _OPTIONAL:
                missing.append(spelt.name)
        return columns, missing + [name for name in self.features if name not in present]

    def spelt_otherwise(self, names: Iterable[str]) -> str:
        """Give the mapping for names that differ in case and punctuation; empty where that is not all."""
        alike = {_letters(name): name for name in names}
        found = {ours: alike.get(_letters(spelt.name)) for ours, spelt in self.spelling.items()}
        if self.features or any(name is None and ours not in _OPTIONAL for ours, name in found.items()):
            return ""
        return ",".join(f"{ours}={printable(name)}" for ours, name in found.items() if name is not None)

    @property
    def required(self) -> list[str]:
        """Its columns without which there are no transactions, as it spells them."""
        return [spelt.name for ours, spelt in self.spelling.items() if ours not in _OPTIONAL] + [
            *self.features
        ]


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def parse_columns(text: str) -> Mapping:
    """Read `customer_id=cc_num,event_time=step*1h@2017-01-01`; ValueError says what is wrong with it."""
    mapping: Mapping = {}
    for pair in text.split(","):
        name, _, column = pair.partition("=")
        name = name.strip()
        if not column:
            raise ValueError(f"{pair!r} is no pair such as customer_id=cc_num")
        if name not in NAMES:
            raise ValueError(f"{name!r} is none of our columns: {', '.join(NAMES)}")
        if name in mapping:
            raise ValueError(f"{name} is there twice")
        mapping[name] = _column(name, column)
    return mapping


def _column(name: str, text: str) -> Column:
    counted = _COUNTED.fullmatch(text)
    if counted is None:
        return Column(text)
    column, count, unit, origin = counted.groups()
    if name not in _TIMES:
        raise ValueError(f"{text!r}: {name} has no unit, only {' and '.join(_TIMES)} have")
    try:
        begin = parse_instant(origin) if origin else _BEGIN
    except ValueError:
        raise ValueError(f"{origin!r} is no date such as 2017-01-01") from None
    return Column(column, int(count) * UNITS_US[unit], (begin - _BEGIN) // timedelta(microseconds=1))


_HANDBOOK = parse_columns(HANDBOOK)
# the Handbook's names of what tells a transaction, and ours
HANDBOOK_COLUMNS = {spelt.name: ours for ours, spelt in _HANDBOOK.items() if ours != LABEL}
_SCHEMAS = (
    _Schema("transactions (Handbook names)", "history", _HANDBOOK),
    _Schema("transactions", "history", {name: Column(name) for name in (*HISTORY_NAMES, LABEL)}),
    _Schema("ready numeric columns", "columns", parse_columns(READY), READY_COLUMNS),
)


def transactions_layout(table: Table, given: Mapping | None = None) -> Layout:
    """Find the kind of a file and its columns.

    Args:
        table: the file.
        given: `--columns`; comes before the names that are known.

    Raises:
        DatasetError: a column is missing; proposes a mapping where the file is a public set.

    """
    given = given or {}
    _check_given(table, given)
    layout = _complete(set(table.names), given)
    if layout is None:
        raise DatasetError(_what_is_missing(table, given))
    return layout


def labels_layout(table: Table, given: Mapping | None = None, required: Iterable[str] = ()) -> Mapping:
    """Find the columns of labels.

    A file of transactions is one of labels as well; only there, rows may have no transaction id.

    Args:
        table: the file.
        given: `--columns`.
        required: by our names, besides `is_fraud`.

    Raises:
        DatasetError: a column is missing.

    """
    given = given or {}
    _check_given(table, given)
    present = set(table.names)
    spelling = {name: _HANDBOOK.get(name, Column(name)) for name in (*LABEL_NAMES, "event_time")}
    columns, _ = _Schema("labels", "history", spelling).find(present, given)
    missing = [name for name in ("transaction_id", LABEL, *required) if name not in columns]
    if missing:
        layout = _complete(present, given)
        columns = {**layout.columns, **columns} if layout else columns
        missing = [
            name for name in missing if name not in columns and (layout is None or name != "transaction_id")
        ]
    proposal = _proposal(table, given)
    if missing and proposal:
        raise DatasetError(f"{table.source}{proposal}")
    if missing:
        names = (f"{name} or {_HANDBOOK[name].name}" if name in _HANDBOOK else name for name in missing)
        expected = dict.fromkeys((*LABEL_NAMES, *required))
        raise DatasetError(
            f"{table.source}: missing {_counted(missing)} {', '.join(names)}. Expected of labels: "
            f"{', '.join(expected)}; {_found(table)}; {table.option} tells columns of other names"
        )
    return columns


def label_spellings(kind: ModelKind) -> str:
    """Name the columns that tell frauds in a kind of file."""
    return " or ".join(schema.spelling[LABEL].name for schema in _SCHEMAS if schema.kind == kind)


def _complete(present: set[str], given: Mapping) -> Layout | None:
    for schema in _SCHEMAS:
        columns, missing = schema.find(present, given)
        if not missing:
            return Layout(schema.kind, columns)
    return None


def _check_given(table: Table, given: Mapping) -> None:
    for ours, column in given.items():
        if column.name not in table.names:
            raise DatasetError(
                f"{table.source}: has no column {printable(column.name)}, which {table.option} says is "
                f"{ours}; {_found(table)}"
            )


def _what_is_missing(table: Table, given: Mapping) -> str:
    """Compare with the kind that shares most columns with the file."""
    proposal = _proposal(table, given)
    present = set(table.names)
    told = present.union(given)
    nearest = max(_SCHEMAS, key=lambda schema: len(told.intersection(schema.required)))
    _, missing = nearest.find(present, given)
    if proposal and not given:
        return f"{table.source}{proposal}"
    spelt_otherwise = [each for schema in _SCHEMAS if (each := schema.spelt_otherwise(table.names))]
    if spelt_otherwise and not given:
        return (
            f"{table.source}: spells its columns otherwise; it is read with {table.told(spelt_otherwise[0])}"
        )
    if len(missing) == len(nearest.required):
        known = "; or ".join(f"{', '.join(each.required)} [{each.title}]" for each in _SCHEMAS)
        return f"{table.source}: none of the expected columns is there. Expected: {known}; {_found(table)}"
    return (
        f"{table.source}: missing {_counted(missing)} {', '.join(missing)}. Expected for {nearest.title}: "
        f"{', '.join(nearest.required)} (and {nearest.spelling[LABEL].name} for training); {_found(table)}; "
        f"{table.option} tells columns of other names"
    )


def _proposal(table: Table, given: Mapping) -> str:
    for public in PUBLIC_TABLES:
        if set(public.told_by) <= set(table.names) and not given:
            if public.lacks:
                return f": this looks like {public.title}, of which no model can be made: {public.lacks}"
            return f": this looks like {public.title}; it is read with {table.told(public.columns)}"
    return ""


def _found(table: Table) -> str:
    names = [printable(name) for name in table.names]
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    apart = f" (separated by {DELIMITERS.get(table.delimiter, table.delimiter)})" if table.delimiter else ""
    return f"found{apart}: {', '.join(names[:_SHOWN_NAMES])}{more}"


def _counted(missing: list[str]) -> str:
    return "column" if len(missing) == 1 else "columns"
