"""The table of terminal risk answers for known terminals and days, and is neutral for others."""

import io
import sys
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from counted import count_instructions
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.domain.features import NO_RISK
from flink_jobs.domain.id_index import IdIndex
from flink_jobs.domain.terminal_risk import SCHEMA, TerminalRisk, said_of_table


def table(*rows: tuple[str, int, float]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"terminal_id": name, "day": day} | dict.fromkeys(SCHEMA.names[2:], value)
            for name, day, value in rows
        ],
        SCHEMA,
    )


def as_of(risk: TerminalRisk, terminal: str, day: int) -> tuple[float, ...]:
    return tuple(risk.as_of([terminal], np.array([day]))[0].tolist())


def test_a_terminal_is_looked_up_as_of_the_day() -> None:
    risk = TerminalRisk(table(("t", 100, 0.25), ("t", 101, 0.5)))
    assert as_of(risk, "t", 100) == (0.25,) * len(NO_RISK)
    assert as_of(risk, "t", 101) == (0.5,) * len(NO_RISK)


@pytest.mark.parametrize(
    ("terminal", "day"), [("unknown", 100), ("t", 99), ("t", 102), ("t", 104), ("t", 20_000), ("u", 100)]
)
def test_what_is_not_known_has_no_risk(terminal: str, day: int) -> None:
    """A terminal that the table does not know, and a day before, between or past those that it has."""
    risk = TerminalRisk(table(("t", 100, 0.25), ("u", 101, 0.5), ("t", 103, 0.75)))
    assert as_of(risk, terminal, day) == NO_RISK
    assert as_of(TerminalRisk.empty(), terminal, day) == NO_RISK


@pytest.mark.parametrize(
    ("day", "known", "age"),
    [(99, False, 0), (100, True, 0), (102, False, 2), (103, True, 0), (113, False, 10)],
)
def test_the_age_of_a_day_is_counted_from_what_the_table_knows(day: int, known: bool, age: int) -> None:  # noqa: FBT001 - a case
    risk = TerminalRisk(table(("t", 100, 0.25), ("t", 103, 0.75)))
    assert risk.covers(day) is known
    assert risk.age_days(day) == age
    assert not TerminalRisk.empty().covers(day)
    assert TerminalRisk.empty().age_days(day) == 0


def test_a_table_may_know_a_day_without_a_row() -> None:
    """A day on which no terminal had a payment."""
    said = said_of_table(7, [100, 101])
    risk = TerminalRisk(table(("t", 100, 0.25)).replace_schema_metadata(said))
    assert risk.covers(101)
    assert as_of(risk, "t", 101) == NO_RISK
    assert risk.age_days(102) == 1


ids = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(
    ["", "a", "a\0", "ab", "é", "1" * 7]
)


@given(st.lists(ids, unique=True, max_size=50), st.lists(ids, max_size=50))
def test_ids_are_told_apart_whatever_their_characters(known: list[str], asked: list[str]) -> None:
    index = IdIndex(pa.array(known, pa.string()))
    numbers = {name: number for number, name in enumerate(known)}
    assert index.numbers(asked + known).tolist() == [numbers.get(name, -1) for name in asked + known]
    # a part of a column, as Arrow cuts it
    part = IdIndex(pa.array(["other", *known, "other"], pa.string())[1:-1])
    assert part.numbers(known).tolist() == list(range(len(known)))


@cache
def snapshot_of(terminals: int, days: int = 4) -> bytes:
    """A snapshot of this many terminals, as a renewal writes it."""
    names = np.repeat(np.char.add("terminal-", np.arange(terminals).astype(str)), days)
    columns = {name: np.ones(len(names), dtype=np.float32) for name in SCHEMA.names[2:]}
    numbers = np.tile(np.arange(20_000, 20_000 + days, dtype=np.int32), terminals)
    content = io.BytesIO()
    pq.write_table(pa.table({"terminal_id": names, "day": numbers, **columns}, schema=SCHEMA), content)
    return content.getvalue()


def test_taking_over_a_million_terminals_makes_no_object_of_each() -> None:
    """Python holds its lock while it works, so its work is the same for a thousand terminals and a million.

    Arrow and NumPy work on arrays without the lock.
    """
    small, large = snapshot_of(1_000), snapshot_of(1_000_000)
    TerminalRisk.from_parquet(small)  # Arrow loads parts of itself at first use
    work = {
        len(content): count_instructions(lambda c=content: TerminalRisk.from_parquet(c))
        for content in (small, large)
    }
    before = sys.getallocatedblocks()
    risk = TerminalRisk.from_parquet(large)
    assert sys.getallocatedblocks() - before < 1_000
    assert work[len(large)] < 10_000, work
    assert risk.nbytes < 4 * 1_000_000 * (32 + 4) + 1_000_000 * (16 + 8 + 4 + 4) + 1_000
    found = risk.as_of(
        ["terminal-0", "terminal-999999", "terminal-1000000"], np.array([20_000, 20_003, 20_000])
    )
    assert found.tolist() == [[1.0] * len(NO_RISK)] * 2 + [list(NO_RISK)]


def test_a_long_identifier_takes_no_room_but_its_own() -> None:
    """The longest that is accepted; in columns of a fixed width, all others would take as much."""
    names = [f"terminal-{n}" for n in range(100_000)]
    long = "\N{MONEY WITH WINGS}" * 64
    plain, index = (IdIndex(pa.array(each, pa.string())) for each in (names, [*names, long]))
    assert index.nbytes - plain.nbytes < 16 * len(long.encode()) + 100
    before_last = long[:-1] + "\N{MONEY BAG}"
    asked = [long, "terminal-99999", before_last, long[:-1], long + "\0"]
    assert index.numbers(asked).tolist() == [100_000, 99_999, -1, -1, -1]


def test_a_batch_after_a_change_over_takes_the_work_of_any_other() -> None:
    """Looking up takes as many instructions in a table of a million as in one of a thousand."""
    tables = [TerminalRisk.from_parquet(snapshot_of(terminals)) for terminals in (1_000, 1_000_000)]
    names, days = [f"terminal-{n}" for n in range(50)], np.full(50, 20_001)
    counted = [count_instructions(lambda t=t: t.as_of(names, days)) for t in tables]
    assert counted[0] == counted[1] < 400, counted


def test_a_file_with_other_columns_is_refused() -> None:
    content = io.BytesIO()
    pq.write_table(table(("t", 100, 0.25)).drop_columns(["risk_30d"]), content)
    with pytest.raises(ValueError, match="risk_30d"):
        TerminalRisk.from_parquet(content.getvalue())
