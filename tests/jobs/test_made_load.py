"""The loads that benchmarks let Flink SQL make."""

import sys
from collections import Counter
from pathlib import Path

import pytest

from flink_jobs.configuration import stream_environment

sys.path.append(str(Path(__file__).parents[1] / "benchmarks/jobs"))

from made_load import load_query, number_records

pytestmark = pytest.mark.usefixtures("flink")

RECORDS, CUSTOMERS = 3_000, 60


def made(whose: str, cohorts: int = 1, first_day: int = 0, days: int = 30) -> list[tuple[str, ...]]:
    """Give id, time and customer of each transaction."""
    tables = number_records(stream_environment("made", {"parallelism.default": "1"}), RECORDS)
    query = load_query(whose, RECORDS, CUSTOMERS, cohorts, first_day, days)
    return [tuple(row)[:3] for row in tables.execute_sql(query).collect()]


def test_customers_follow_zipf_and_transactions_the_clock() -> None:
    rows = made("zipf")
    seen = Counter(customer for _, _, customer in rows)
    assert len(rows) == len({transaction for transaction, _, _ in rows}) == RECORDS
    assert set(seen) == {f"made-{number}" for number in range(CUSTOMERS)}
    # the first comes as often as the second and the third together, and the tenth about a tenth as often
    assert seen["made-0"] == pytest.approx(seen["made-1"] + seen["made-2"], rel=0.05)
    assert seen["made-0"] / seen["made-9"] == pytest.approx(7.3, rel=0.1)
    times = [time for _, time, _ in rows]
    assert times == sorted(times)
    assert (times[0], times[-1]) == ("2025-01-01T00:00:00Z", "2025-01-30T23:45:36Z")


def test_one_customer_makes_a_tenth_of_all_and_the_others_are_even() -> None:
    seen = Counter(customer for _, _, customer in made("hot"))
    assert seen.pop(f"made-{CUSTOMERS}") == RECORDS // 10
    assert len(seen) == CUSTOMERS
    assert max(seen.values()) <= 1.2 * min(seen.values())


def test_cohorts_come_one_after_another_with_customers_of_their_own() -> None:
    rows = made("even", cohorts=3, first_day=30, days=1)
    for cohort in range(3):
        part = rows[cohort * 1_000 : (cohort + 1) * 1_000]
        assert {customer for _, _, customer in part} == {
            f"made-{cohort * 20 + number}" for number in range(20)
        }
        assert (part[0][1], part[-1][1][:13]) == ("2025-01-31T00:00:00Z", "2025-01-31T23")
