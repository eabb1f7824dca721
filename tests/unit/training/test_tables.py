"""Files as people have them are read, or it is said what keeps them from it, where, and what to do."""

import decimal
import gzip
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flink_jobs.store.settings import Settings
from training.dataset import Dataset, load
from training.tables import DatasetError

HEADER = "transaction_id,event_time,customer_id,terminal_id,amount,is_fraud"
ROWS = ["t1,2026-05-04T09:00:00Z,c1,p1,12.50,0", "t2,2026-05-04T10:30:00Z,c2,p1,7.00,1"]
Read = Callable[..., Dataset]


@pytest.fixture
def csv(tmp_path: Path) -> Read:
    """Read lines as a CSV file."""

    def read(*lines: str, encoding: str = "utf-8", end: str = "\n") -> Dataset:
        path = tmp_path / "data.csv"
        path.write_bytes(end.join([*lines, ""]).encode(encoding))
        return load(path)

    return read


@pytest.fixture
def parquet(tmp_path: Path) -> Read:
    """Read three good rows as Parquet, with columns of one's own."""

    def read(**columns: Any) -> Dataset:  # noqa: ANN401 - whatever Arrow makes arrays of
        good = {
            "transaction_id": ["t1", "t2", "t3"],
            "event_time": [datetime(2026, 5, 4, hour, tzinfo=UTC) for hour in (9, 10, 11)],
            "customer_id": ["c1", "c2", "c1"],
            "terminal_id": ["p1", "p1", "p2"],
            "amount": [12.5, 7.0, 110.0],
        }
        path = tmp_path / "data.parquet"
        pq.write_table(pa.table(good | columns), path)
        return load(path)

    return read


# What CSV looks like


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters_are_recognised(csv: Read, delimiter: str) -> None:
    data = csv(*(line.replace(",", delimiter) for line in (HEADER, *ROWS)))
    assert data.frame["amount"].tolist() == [12.5, 7.0]
    assert data.frame["customer_id"].tolist() == ["c1", "c2"]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_comma_is_the_decimal_point_where_it_separates_no_columns(csv: Read, delimiter: str) -> None:
    lines = [
        HEADER.replace(",", delimiter),
        *(line.replace(",", delimiter).replace(".", ",") for line in ROWS),
    ]
    assert csv(*lines).frame["amount"].tolist() == [12.5, 7.0]


@pytest.mark.parametrize(
    ("delimiter", "first", "second", "row"),
    [
        (";", "1.250", "7,00", 1),  # 1250 where commas are decimal points
        (";", "1.250,00", "7,00", 1),
        ("\t", "1,250", "7.00", 1),  # 1250 to some, 1.25 to others
        (",", '"12,50"', "7.00", 1),
        (",", "1_000", "7.00", 1),
        (",", "0x10", "7.00", 1),
    ],
)
def test_a_number_that_may_be_two_is_refused(
    csv: Read, delimiter: str, first: str, second: str, row: int
) -> None:
    begin = ["t1", "2026-05-04T09:00:00Z", "c1", "p1"]
    lines = [delimiter.join([*begin, amount, "0"]) for amount in (first, second)]
    with pytest.raises(DatasetError, match=rf"column amount, row {row} is .*; expected a number"):
        csv(HEADER.replace(",", delimiter), *lines)


def test_comments_empty_lines_marks_and_line_breaks_are_passed_over(csv: Read) -> None:
    lines = ["# export of May", "", HEADER, ROWS[0], "# a comment, too", "", ROWS[1]]
    for encoding, end in (("utf-8", "\n"), ("utf-8-sig", "\r\n"), ("utf-8", "\r")):
        assert csv(*lines, encoding=encoding, end=end).frame["transaction_id"].tolist() == ["t1", "t2"]
    # a mark of each tool that it went through
    assert csv("\ufeff" + HEADER, *ROWS, encoding="utf-8-sig").frame["transaction_id"].tolist() == [
        "t1",
        "t2",
    ]
    assert len(csv("sep=;", *(line.replace(",", ";") for line in (HEADER, *ROWS))).frame) == 2


def test_an_id_may_begin_as_a_comment_does_and_hold_the_delimiter(csv: Read) -> None:
    data = csv(HEADER, ROWS[0].replace("t1", "#1"), ROWS[1].replace("c2", '"c,2"'))
    assert data.frame["transaction_id"].tolist() == ["#1", "t2"]
    assert data.frame["customer_id"].tolist() == ["c1", "c,2"]


def test_a_row_of_another_length_is_named(csv: Read) -> None:
    with pytest.raises(
        DatasetError,
        match=r"data\.csv: .*row 2 has 3 values, the header has 6 .*'t2,2026-05-04T10:30:00Z,c2'",
    ):
        csv(HEADER, ROWS[0], "# a comment", "t2,2026-05-04T10:30:00Z,c2")


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("latin-1", "byte 0xeb in line 3 is not UTF-8; save it as UTF-8"),
        ("utf-16", "it is UTF-16; save it as UTF-8"),
        ("utf-16-le", "it is UTF-16; save it as UTF-8"),
        ("utf-16-be", "it is UTF-16; save it as UTF-8"),
    ],
)
def test_another_encoding_is_named(csv: Read, encoding: str, said: str) -> None:
    with pytest.raises(
        DatasetError, match=rf"data\.csv: neither CSV nor Parquet that can be read \(.*{said}"
    ):
        csv(HEADER, ROWS[0], ROWS[1].replace("c2", "Zoë"), encoding=encoding)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(HEADER.encode(), mtime=0), "it is compressed by gzip; unpack it"),
        (
            b"PK\x03\x04\x14\0\x06\0\x08\0\0\0!\0",
            "it is a ZIP archive, as Excel's workbooks are; .* save it as CSV",
        ),
        (b"ARROW1\0\0", "it is Arrow's own format"),
        (b"SQLite format 3\0\0\n1\n", r"its header has U\+0000, so it is no text"),
        (b"", "it has no header"),
        (b"\xef\xbb\xbf\n\n", "it has no header"),
        (b"PAR1", "Parquet file size is 4 bytes"),
    ],
    ids=["gzip", "zip", "arrow", "sqlite", "empty", "empty lines", "parquet without end"],
)
def test_what_is_no_table_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "data").write_bytes(content)
    with pytest.raises(DatasetError, match=rf"neither CSV nor Parquet that can be read \({said}") as refused:
        load(tmp_path / "data")
    assert "\n" not in str(refused.value)


def test_a_parquet_file_that_is_cut_or_damaged_is_refused_in_a_line(tmp_path: Path, parquet: Read) -> None:
    parquet()
    path = tmp_path / "data.parquet"
    content = path.read_bytes()
    for damaged in (content[:-20], content[:200] + bytes(100) + content[300:]):
        path.write_bytes(damaged)
        with pytest.raises(DatasetError, match=r"^\S+: neither CSV nor Parquet that can be read") as refused:
            load(path)
        assert "\n" not in str(refused.value)


def test_a_header_without_rows_is_said(csv: Read) -> None:
    for lines in ([HEADER], [HEADER, "# none yet"]):
        with pytest.raises(DatasetError, match=r"data\.csv: has columns but no rows"):
            csv(*lines)


def test_a_quotation_mark_that_is_left_open_is_named_however_long_the_file_is(csv: Read) -> None:
    rows = [f"t{n},2026-05-04T09:00:00Z,c,p,1,0" for n in range(100_000)]
    with pytest.raises(DatasetError, match="a row is longer than 1 MB; is a quotation mark left open"):
        csv(HEADER, ROWS[0].replace("c1", '"c1'), *rows)


def test_a_message_tells_the_columns_found_and_the_delimiter(csv: Read) -> None:
    with pytest.raises(
        DatasetError,
        match=r"missing column terminal_id\..*found \(separated by semicolons\): transaction_id, ",
    ):
        csv("transaction_id;event_time;customer_id;amount", "t1;2026-05-04T09:00:00Z;c1;1")
    with pytest.raises(
        DatasetError, match=r"none of the expected .*found \(separated by commas\): a\\u001b\[2J"
    ):
        csv("a\x1b[2J", "1")


def test_a_column_that_is_there_twice_is_refused(csv: Read) -> None:
    with pytest.raises(DatasetError, match="column amount is there 2 times"):
        csv(HEADER + ",amount", *(row + ",1" for row in ROWS))


def test_the_handbooks_names_go_with_the_projects_label(csv: Read) -> None:
    names = "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,is_fraud"
    assert csv(names, *ROWS).frame["is_fraud"].tolist() == [0, 1]


# Ids


def test_text_is_text(csv: Read) -> None:
    data = csv(HEADER, ROWS[0].replace("c1", "NA"), ROWS[1].replace("c2", " nan").replace("p1", "null"))
    assert data.frame["customer_id"].tolist() == ["NA", " nan"]
    assert data.frame["terminal_id"].tolist() == ["p1", "null"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "a\0b",
            r"row 2 is 'a\\x00b'; expected an id, but this has U\+0000 at position 1, a control character",
        ),
        ("a\x1b[2Jb", r"'a\\x1b\[2Jb'; expected an id, but this has U\+001B"),
        ("a\x85", r"'a\\x85'; expected an id, but this has U\+0085"),
        ("c" * 65, "expected an id, but this has 65 characters"),
        ("", "row 2 is empty; expected an id of 1 to 64 characters"),
        (
            "9007199254740992.0",
            "row 2 is 9007199254740992.0; expected an id: floats lose digits of numbers as large",
        ),
    ],
)
def test_what_is_no_id_is_refused_with_its_place(csv: Read, parquet: Read, text: str, said: str) -> None:
    with pytest.raises(DatasetError, match=f"column customer_id, .*{said}"):
        csv(HEADER, ROWS[0].replace("c1", "1"), ROWS[1].replace("c2", text))
    with pytest.raises(DatasetError, match=f"column customer_id, .*{said}"):
        parquet(customer_id=["1", text, "1"])


def test_ids_have_as_many_characters_as_they_have_code_points(parquet: Read) -> None:
    longest = "😀" * 64
    assert parquet(customer_id=[longest] * 3).frame["customer_id"].tolist() == [longest] * 3


@pytest.mark.parametrize(
    "column",
    [
        ["288062.0", "7", "-1.0"],
        [288062, 7, -1],
        [288062.0, 7.0, -1.0],
        [decimal.Decimal(288062), decimal.Decimal(7), decimal.Decimal(-1)],
        pa.array([decimal.Decimal(n) for n in (288062, 7, -1)], pa.decimal128(38, 10)),
        pa.array([decimal.Decimal(n) for n in (288062, 7, -1)], pa.decimal256(76, 10)),
        [b"288062", b"7", b"-1"],
        pd.Categorical(["288062", "7", "-1"]),
        pa.array(["288062", "7", "-1"], pa.large_string()),
    ],
)
def test_the_same_id_is_the_same_text_whatever_it_was_stored_as(
    csv: Read, parquet: Read, column: list[Any]
) -> None:
    data = parquet(transaction_id=column)
    assert data.frame["transaction_id"].tolist() == ["288062", "7", "-1"]
    as_text = csv(HEADER, *(f"{n},2026-05-04T09:00:00Z,c,p,1,0" for n in ("288062.0", "7", "-1.0")))
    assert as_text.frame["transaction_id"].tolist() == ["288062", "7", "-1"]


@pytest.mark.parametrize("other", ["x", "007", "01.0", "1.50", "1.0.0", "v1.0", "NA", "-0"])
def test_an_end_of_text_is_a_part_of_it(csv: Read, parquet: Read, other: str) -> None:
    for data in (
        csv(HEADER, ROWS[0].replace("c1", "288062.0"), ROWS[1].replace("c2", other)),
        parquet(customer_id=["288062.0", other, "288062.0"]),
    ):
        assert data.frame["customer_id"].tolist()[:2] == ["288062.0", other]
        assert not any("customer_id" in note for note in data.notes)


@pytest.mark.parametrize("other", ["7", "7.0", "-1", "4.1E+18"])
def test_text_that_reads_like_numbers_throughout_is_numbers_and_that_is_said(
    csv: Read, parquet: Read, other: str
) -> None:
    for data in (
        csv(HEADER, ROWS[0].replace("c1", other), ROWS[1].replace("c2", "288062.0")),
        parquet(customer_id=[other, "288062.0", "288062.0"]),
    ):
        assert data.frame["customer_id"].tolist()[:2] == [other.removesuffix(".0"), "288062"]
        row, before = (1, "7.0") if other == "7.0" else (2, "288062.0")
        said = f"column customer_id reads like numbers, so row {row}, {before}, is the id "
        assert said in data.notes[0]


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ([2.0**53, 1, 2], r"row 1 is 9007199254740992.0; expected an id: floats lose digits"),
        (
            pa.array([1, 2**24 - 1, 2**24], pa.float32()),
            r"row 3 is 16777216.0; expected an id: floats lose digits",
        ),
        (np.array([1, 2**11, 3], np.float16), r"row 2 is 2048.0; expected an id: floats lose digits"),
        ([1.0, 2.5, 3], r"row 2 is 2.5; expected an id: text or a whole number"),
        ([1.0, None, 3], r"row 2 is empty; expected an id"),
        ([b"a", b"\xff", b"c"], r"row 2 is b'\\xff'; expected text in UTF-8"),
        ([True, False, True], r"row 1 is True of type bool; expected an id"),
        ([["a"], ["b"], ["c"]], r"row 1 is \['a'\] of type list<.*; expected an id"),
        ([date(2026, 1, 1)] * 3, r"row 1 is 2026-01-01 of type date32.*; expected an id"),
        ([None] * 3, r"row 1 is empty; expected an id"),
        ([decimal.Decimal("1.5")] * 3, r"row 1 is 1.5; expected an id: text or a whole number"),
        (
            pa.array([decimal.Decimal(1), decimal.Decimal(10**64)] * 2, pa.decimal256(76)).slice(0, 3),
            r"row 2 is 10{64}; expected an id, but this has 65 characters",
        ),
    ],
)
def test_what_parquet_has_instead_of_an_id_is_refused(parquet: Read, column: list[Any], said: str) -> None:
    with pytest.raises(DatasetError, match=rf"data\.parquet: column customer_id, {said}") as refused:
        parquet(customer_id=column)
    assert "\n" not in str(refused.value)


def test_ids_that_a_spreadsheet_shortened_are_warned_of(csv: Read) -> None:
    (note,) = csv(HEADER, *(row.replace("p1", "4.99235E+18") for row in ROWS)).notes
    assert "column terminal_id, row 1 is 4.99235E+18" in note
    assert "2 such rows" in note
    assert not csv(HEADER, *(row.replace("p1", "4E1X") for row in ROWS)).notes


def test_rows_without_an_id_get_one_of_the_files_content_and_the_row(csv: Read) -> None:
    def without(lines: list[str]) -> list[str]:
        return [line.partition(",")[2] for line in lines]

    first, again, other = (
        csv(*without([HEADER, *rows])) for rows in (ROWS, ROWS, [ROWS[0].replace("12.50", "13"), ROWS[1]])
    )
    ids = first.frame["transaction_id"].tolist()
    assert len(set(ids)) == 2
    assert again.frame["transaction_id"].tolist() == ids
    assert not set(ids) & set(other.frame["transaction_id"])
    assert "no column transaction_id" in first.notes[0]


def test_ready_rows_of_two_files_are_not_the_same(tmp_path: Path, ready_frame: pd.DataFrame) -> None:
    ids = []
    for number, part in enumerate((ready_frame.head(5), ready_frame.tail(5))):
        part.to_csv(tmp_path / f"{number}.csv", index=False)
        ids += load(tmp_path / f"{number}.csv").frame["transaction_id"].tolist()
    assert len(set(ids)) == 10


# Times


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-04", "2026-05-04T00:00:00"),
        ("2026-05-04 09:30", "2026-05-04T09:30:00"),
        ("2026-05-04T09:30:15", "2026-05-04T09:30:15"),
        ("2026-05-04t09:30:15z", "2026-05-04T09:30:15"),
        ("2026-05-04T09:30:15+00:00", "2026-05-04T09:30:15"),
        ("2026-05-04T09:30:15+0200", "2026-05-04T07:30:15"),
        ("2026-05-04 00:30:15.5 -02:30", "2026-05-04T03:00:15.500000"),
        ("2026-05-04T09:30:15.1234567Z", "2026-05-04T09:30:15.123457"),
        ("2024-02-29T23:59:59Z", "2024-02-29T23:59:59"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00"),
    ],
)
def test_times_are_utc_where_they_say_nothing_else(csv: Read, text: str, expected: str) -> None:
    data = csv(HEADER, ROWS[0].replace("2026-05-04T09:00:00Z", text))
    assert data.frame["event_time"].tolist() == [pd.Timestamp(expected)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("now", "'now'; expected a date and time such as"),
        ("04.05.2026 09:00", "expected a date and time such as"),
        ("2026-02-29T00:00:00Z", "expected a date and time"),
        ("2026-13-01", "expected a date and time"),
        ("2026-05-04T24:00:00Z", "expected a date and time"),
        ("2026-05-04T09:60:00Z", "expected a date and time"),
        ("2026-05-04T09:00:00+24:00", "expected a date and time"),
        ("1777885200", r"1777885200; .*needs its unit, such as --columns event_time=event_time\*1s"),
        ("20260504", "needs its unit"),
        ("1969-12-31T23:59:59Z", "expected a time from 1970 on"),
        ("1970-01-01T00:00:00+00:01", "expected a time from 1970 on"),
        ("0000-01-01", "expected a time from 1970 on"),
        ("9999-12-31T23:59:59-01:00", "expected a time not over a day ahead of this machine's clock"),
        ("", "is empty; expected a date and time"),
    ],
)
def test_what_is_no_time_is_refused(csv: Read, text: str, said: str) -> None:
    with pytest.raises(DatasetError, match=rf"column event_time, row 2 .*{said}"):
        csv(HEADER, ROWS[0], ROWS[1].replace("2026-05-04T10:30:00Z", text))


def test_a_day_ahead_of_the_clock_is_as_far_as_times_go(csv: Read) -> None:
    soon, late = (datetime.now(UTC) + timedelta(hours=hours) for hours in (23.9, 24.1))
    assert len(csv(HEADER, ROWS[0].replace("2026-05-04T09:00:00Z", soon.isoformat())).frame) == 1
    with pytest.raises(DatasetError, match=r"row 1 is .*expected a time not over a day ahead"):
        csv(HEADER, ROWS[0].replace("2026-05-04T09:00:00Z", late.isoformat()))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_of_parquet_are_read_in_their_unit_and_zone(parquet: Read, unit: str) -> None:
    moments = [datetime(2026, 5, 4, 9), datetime(2026, 5, 4, 10), datetime(2026, 5, 4, 11)]  # noqa: DTZ001
    for zone in (None, "UTC", "Europe/Berlin"):
        column = pa.array(moments, pa.timestamp(unit, "UTC" if zone else None))
        if zone:
            column = column.cast(pa.timestamp(unit, zone))
        assert parquet(event_time=column).frame["event_time"].tolist() == moments


def test_a_time_of_int96_does_not_come_round_again(tmp_path: Path) -> None:
    """As Spark writes times; the year 2600 was read as 2015."""
    row = {"transaction_id": ["t"], "customer_id": ["c"], "terminal_id": ["p"], "amount": [1.0]}
    for year, said in ((2600, "at most 20"), (9999, "at most 20"), (2015, None)):
        times = pa.array([datetime(year, 6, 13)], pa.timestamp("us"))  # noqa: DTZ001 - UTC
        pq.write_table(
            pa.table({**row, "event_time": times}), tmp_path / "data", use_deprecated_int96_timestamps=True
        )
        if said is None:
            assert load(tmp_path / "data").frame["event_time"].tolist() == [pd.Timestamp(2015, 6, 13)]
        else:
            with pytest.raises(DatasetError, match=rf"row 1 is {year}-06-13 .*{said}"):
                load(tmp_path / "data")


def test_nanoseconds_are_rounded_as_the_job_rounds_them(parquet: Read) -> None:
    column = pa.array([1_499, 1_500, 1_999_999_999], pa.timestamp("ns"))
    times = parquet(event_time=column).frame["event_time"].to_numpy().astype("datetime64[us]")
    assert times.astype(int).tolist() == [1, 2, 2_000_000]


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (
            pa.array([1777885200] * 3),
            "row 1 is 1777885200; expected a date and time .* a number needs its unit",
        ),
        (pa.array([9 * 10**15] * 3, pa.timestamp("ms")), "expected a time not over a day ahead"),
        (pa.array([9 * 10**15] * 3, pa.timestamp("s")), "expected a time not over a day ahead"),
        (pa.array([-(9 * 10**15)] * 3, pa.timestamp("s")), "expected a time from 1970 on"),
        (pa.array([2**31 - 1] * 3, pa.date32()), "expected a time not over a day ahead"),
        (pa.array([1] * 3, pa.time64("us")), "expected a date and time"),
        (pa.array([None] * 3, pa.timestamp("us")), "row 1 is empty; expected a date and time"),
    ],
)
def test_what_parquet_has_instead_of_a_time_is_refused(parquet: Read, column: pa.Array, said: str) -> None:
    with pytest.raises(DatasetError, match=rf"data\.parquet: column event_time, .*{said}"):
        parquet(event_time=column)


# Amounts


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ([decimal.Decimal("12.50"), decimal.Decimal("-7.00"), None], r"row 3 is empty; expected a number"),
        (
            [decimal.Decimal("12.50"), decimal.Decimal("-7.00")] * 1 + [decimal.Decimal(1)],
            r"row 2 is -7.00; .*below 0",
        ),
        ([{"a": 1}] * 3, r"row 1 is \{'a': 1\} of type struct<.*; expected a number"),
        ([[1.0]] * 3, r"row 1 is \[1.0\] of type list<.*; expected a number"),
        ([True] * 3, "row 1 is True of type bool; expected a number"),
        ([1, 2, float("inf")], "row 3 is inf; expected a number"),
        ([1, 2, 1.7e308], r"row 3 is 1.7e\+308; expected a number not above 1e\+12"),
        (["1", "2", "-Infinity"], "row 3 is -Infinity; expected a number"),
    ],
)
def test_what_is_no_amount_is_refused_in_a_line(parquet: Read, column: list[Any], said: str) -> None:
    with pytest.raises(DatasetError, match=rf"data\.parquet: column amount, {said}") as refused:
        parquet(amount=column)
    assert "\n" not in str(refused.value)


def test_amounts_may_be_of_any_kind_of_number(parquet: Read) -> None:
    for column in (
        [decimal.Decimal("0.00"), decimal.Decimal("12.50"), decimal.Decimal("1e12")],
        ["0", " 12.5", "1e12"],
    ):
        assert parquet(amount=column).frame["amount"].tolist() == [0, 12.5, 1e12]


def test_a_decimal_is_the_amount_that_csv_reads(parquet: Read) -> None:
    cents = range(0, 100_000, 7)
    amounts = [decimal.Decimal(each) / 100 for each in cents]
    rows = len(amounts)
    for kind in (pa.decimal128(12, 2), pa.decimal128(38, 18), pa.decimal256(60, 2)):
        data = parquet(
            transaction_id=[str(n) for n in range(rows)],
            event_time=["2026-05-04T09:00:00Z"] * rows,
            customer_id=["c"] * rows,
            terminal_id=["p"] * rows,
            amount=pa.array(amounts, kind),
        )
        assert data.frame["amount"].tolist() == [float(str(each)) for each in amounts]


def test_amounts_of_another_currency_are_refused(
    csv: Read, parquet: Read, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAUD_SETTINGS", str(tmp_path / "settings.json"))
    (tmp_path / "settings.json").write_bytes(
        msgspec.json.encode(msgspec.structs.replace(settings, currency="CHF"))
    )
    lines = [
        f"{line},{currency}" for line, currency in zip([HEADER, *ROWS], ["currency", "CHF", ""], strict=True)
    ]
    assert len(csv(*lines).frame) == 2
    with pytest.raises(
        DatasetError, match=r"column currency, row 2 is 'EUR'; expected CHF, as amounts of several"
    ):
        csv(*lines[:2], lines[2] + "EUR")
    with pytest.raises(DatasetError, match=r"column currency, row 1 is 756 of type int64; expected CHF"):
        parquet(currency=[756] * 3)


def test_a_ready_column_that_float32_cannot_hold_is_refused(
    tmp_path: Path, ready_frame: pd.DataFrame
) -> None:
    path = tmp_path / "ready.csv"
    ready_frame.assign(V3=[0.0, 1e39, *[0.0] * (len(ready_frame) - 2)]).to_csv(path, index=False)
    with pytest.raises(DatasetError, match=r"column V3, row 2 is 1e\+39; expected a number not above 3.4"):
        load(path)
