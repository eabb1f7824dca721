"""The table of terminal risk answers for known terminals and days, and is neutral for others."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flink_jobs.domain.features import NO_RISK
from flink_jobs.domain.terminal_risk import SCHEMA, TerminalRisk


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


def test_past_the_last_day_that_day_is_served() -> None:
    risk = TerminalRisk(table(("t", 100, 0.25), ("u", 101, 0.5)))
    assert as_of(risk, "u", 200) == (0.5,) * len(NO_RISK)


@pytest.mark.parametrize(("terminal", "day"), [("unknown", 100), ("t", 99)])
def test_what_is_not_known_has_no_risk(terminal: str, day: int) -> None:
    assert as_of(TerminalRisk(table(("t", 100, 0.25))), terminal, day) == NO_RISK
    assert as_of(TerminalRisk.empty(), terminal, day) == NO_RISK


def test_a_file_with_other_columns_is_refused() -> None:
    content = io.BytesIO()
    pq.write_table(table(("t", 100, 0.25)).drop_columns(["risk_30d"]), content)
    with pytest.raises(ValueError, match="risk_30d"):
        TerminalRisk.from_parquet(content.getvalue())
