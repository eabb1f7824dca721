"""What benchmarks compute from what they measured, and the loads that they make."""

import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import compare
import lab
import machine
import measures
from loads import copies, of_made_customers
from measures import BenchmarkError, slope, throughput, to_floor
from passing_time import PassingTime
from report import page
from sizing import sizes, state_bytes

PERCENTILES = {"p50": 28.0, "p99": 56.0, "p999": 118.0}
FLOOR = {"p50": 7.0, "p99": 20.0, "p999": 59.0}


def latency(cores: float) -> dict[str, Any]:
    return {
        **PERCENTILES,
        "records": 60_000,
        "cores": {"taskmanager": cores, "kafka": 0.5},
        "floor": {**FLOOR, "records": 60_000},
        "to_floor": to_floor(PERCENTILES, FLOOR),
    }


def checkpoint(customers: int, transactions: int, size: int) -> dict[str, int]:
    return {"customers": customers, "transactions": transactions, "bytes": size, "ms": 1200}


@pytest.fixture
def numbers() -> dict[str, Any]:
    """As a run writes them, of 20,000 customers."""
    costs = {"taskmanager": 25.0, "kafka": 6.0, "minio": 1.0, "jobmanager": 1.0}
    samples = [[0.0, 10], [20.0, 1_000_000], [60.0, 3_500_000]]
    return {
        "date": "2026-11-28T12:00+00:00",
        "machine": {"cores": 2, "processor": "a processor"},
        "taskmanagers": 2,
        "data": {"source": "x.parquet", "copies": 4, "backlog": 3_500_000, "in_histories": 1_400_000},
        "throughput_tps": {"inference": 60_000, "pass_through": 300_000, "per_record": 6_000, "plain": 450},
        "cpu_us": {"inference": costs},
        "scaling": {"1": 50_000, "4": 58_000, "2": 60_000},
        "loads": {
            "even": {"tps": [60_000, 62_000], "cpu_us": [33.0, 33.0]},
            "zipf": {"tps": [58_000, 57_000], "cpu_us": [35.0, 34.0]},
            "hot": {"tps": [54_000, 56_000], "cpu_us": [37.0, 38.0]},
        },
        "latency_ms": {"1000": latency(0.5), "5000": latency(0.6), "10000": latency(0.7)},
        "state": {
            "whole_histories": checkpoint(20_000, 3_500_000, 112_000_000),
            "10,000": checkpoint(7_500, 15_000, 2_000_000),
            "100,000": checkpoint(75_000, 150_000, 12_000_000),
            "1,000,000": checkpoint(749_800, 1_500_000, 110_000_000),
        },
        "samples": {"warm_up": samples, "subtasks_1": samples, "inference": samples},
        "kafka_bytes": {"transactions": 40.0, "predictions": 30.0},
        "lake": {"records": 1_000, "bytes": 29_000},
        "lake_records_per_s": 160_000,
        "recovery_s": 9.5,
    }


@pytest.fixture
def months(numbers: dict[str, Any]) -> dict[str, Any]:
    """The same, with a month of a million customers."""
    numbers["state"]["month of 1,000,000"] = checkpoint(1_000_000, 62_000_000, 3_100_000_000)
    numbers["months"] = {
        "customers": 1_000_000,
        "before": 60_000_000,
        "tps": 40_000,
        "before_tps": 55_000,
        "cpu_us": {"taskmanager": 40.0, "kafka": 6.0},
        "samples": [[0.0, 10], [1_000.0, 59_000_000], [1_060.0, 61_900_000]],
        "latency_ms": {"1000": latency(0.5)},
        "own_checkpoint": {"bytes": 30_000_000, "ms": 900},
    }
    return numbers


def test_each_percentile_is_told_as_a_multiple_of_the_floor() -> None:
    assert to_floor(PERCENTILES, FLOOR) == {"p50": 4.0, "p99": 2.8, "p999": 2.0}


def test_a_rate_is_the_slope_of_the_samples_between_two_numbers_of_records() -> None:
    samples = [(0.0, 0), (1.0, 100), (2.0, 200), (3.0, 500), (4.0, 800), (5.0, 1100), (6.0, 1101)]
    assert slope(samples, 0, 200) == pytest.approx(100)
    assert slope(samples, 500, 1100) == pytest.approx(300)


def test_versions_are_compared_with_what_idle_services_take_and_without_it() -> None:
    def runs(*costs: tuple[float, float]) -> list[dict[str, float]]:
        return [{"taskmanager": total - 5, "kafka": 5, "all": total, "idle": idle} for total, idle in costs]

    found = compare.compared({"before": runs((50, 10), (90, 40), (52, 12)), "after": runs((57, 7), (56, 12))})
    assert found["medians_us"] == {
        "all": {"before": 52, "after": 56.5},
        "beyond_idle": {"before": 40, "after": 47},
    }
    assert found["ratio"] == {"all": 1.087, "beyond_idle": 1.175}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> PassingTime:
    clock = PassingTime()
    monkeypatch.setattr(measures, "time", clock)
    return clock


def test_what_fills_the_state_is_told_apart_from_what_is_measured_after_it(clock: PassingTime) -> None:
    def done() -> int:
        seconds = clock.now_s
        # 1,000 a second up to 20,000, and half as many from there on
        return int(1 + min(seconds * 1_000, 20_000) + max(seconds - 20, 0) * 500)

    def spent() -> dict[str, float]:
        # a record costs 10 µs before, and 30 µs after
        return {"taskmanager": done() * 10e-6 + max(done() - 20_001, 0) * 20e-6}

    found = throughput(done, 30_000, spent, before=20_000)
    assert found["before_tps"] == pytest.approx(1_000, rel=0.01)
    assert found["tps"] == pytest.approx(500, rel=0.01)
    assert found["cpu_us"]["taskmanager"] == pytest.approx(30, rel=0.01)


def test_samples_of_a_long_run_are_thinned_out(clock: PassingTime) -> None:
    found = throughput(lambda: int(1 + clock.now_s * 100), 100_000, dict)
    assert 200 < len(found["samples"]) <= measures.KEPT_SAMPLES
    assert found["samples"][0] == [0.0, 1]
    assert found["before_tps"] is None


def test_a_backlog_that_is_done_too_soon_is_refused(clock: PassingTime) -> None:
    with pytest.raises(BenchmarkError, match="too soon"):
        throughput(lambda: int(1 + clock.now_s * 100_000), 100_000, dict)


def test_a_load_that_may_fill_the_disk_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: SimpleNamespace(free=49_000_000_000))
    with pytest.raises(BenchmarkError, match=r"A month may take 50 GB .* 49 GB are free"):
        machine.check_disk(50_000_000_000, "A month")
    machine.check_disk(48_000_000_000, "A month")


def frame(rows: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "transaction_id": [f"t{n}" for n in range(rows)],
            "event_time": pd.date_range("2018-04-01", periods=rows, freq="min").astype("datetime64[us]"),
            "customer_id": "alice",
            "terminal_id": "x",
            "amount": 1.5,
        }
    )


def test_copies_have_customers_and_transactions_of_their_own_in_order_of_time() -> None:
    made = copies(frame(3), range(1, 3))
    assert sorted(made["transaction_id"]) == ["1-t0", "1-t1", "1-t2", "2-t0", "2-t1", "2-t2"]
    assert set(made["customer_id"]) == {"1-alice", "2-alice"}
    assert made["event_time"].is_monotonic_increasing


def test_transactions_are_given_to_made_customers_of_one_day() -> None:
    made = of_made_customers(frame(1_000), 50, 31)
    assert set(made["customer_id"]) == {f"made-{number}" for number in range(50)}
    assert made["event_time"].dtype == "datetime64[us]"
    assert made["event_time"].is_monotonic_increasing
    assert set(made["event_time"].dt.date.astype(str)) == {"2025-02-01"}
    assert list(made["transaction_id"]) == list(frame(1_000)["transaction_id"])


def test_the_sizing_ends_with_what_32_subtasks_take_at_half_of_their_load(numbers: dict[str, Any]) -> None:
    lines = sizes(numbers)
    assert [line["tps"] for line in lines] == [1_000, 10_000, 100_000, 800_000]
    assert [line["subtasks"] for line in lines] == [1, 1, 4, 32]
    assert [line["measured"] for line in lines] == [True, True, False, False]
    # measured: twice the cores that were busy; calculated: twice the backlog's processor time
    assert [line["taskmanager_cores"] for line in lines] == [1.0, 1.4, 5.0, 40.0]
    assert [line["kafka_cores"] for line in lines] == [1.0, 1.0, 1.2, 9.6]


def test_a_rate_that_32_subtasks_take_is_rounded_down(numbers: dict[str, Any]) -> None:
    numbers["scaling"]["1"] = 43_036
    assert sizes(numbers)[-1]["tps"] == 680_000
    assert sizes(numbers)[-1]["subtasks"] == 32


def test_state_is_sized_by_what_a_transaction_takes_for_37_days(numbers: dict[str, Any]) -> None:
    assert state_bytes(numbers) == 80
    line = sizes(numbers)[2]
    assert line["state_gb"] == round(100_000 * 37 * 86_400 * 80 / 1e9, 1)
    assert line["state_gb_a_subtask"] == round(line["state_gb"] / 4, 1)


def test_state_is_sized_by_the_months_where_they_were_measured(months: dict[str, Any]) -> None:
    assert state_bytes(months) == 50


def shown(numbers: dict[str, Any]) -> str:
    return page({**numbers, "sizing": sizes(numbers)})


def cells(html: str) -> list[list[str]]:
    rows = html.replace("</td>", "\t").split("</tr>")
    return [[cell.rpartition(">")[2] for cell in row.split("\t")[:-1]] for row in rows if "<td" in row]


def test_the_page_tells_loads_and_subtasks_beside_what_they_are_compared_with(
    numbers: dict[str, Any],
) -> None:
    rows = cells(shown(numbers))
    assert ["one customer makes a tenth, the others are even", "55,000", "0.90", "37.5"] in rows
    assert ["every customer as often as any other", "61,000", "1.00", "33.0"] in rows
    assert ["4", "58,000", "1.16"] in rows
    assert ["1,000", "28", "7.0", "4.0", "56", "20.0", "2.8", "118", "59.0", "2.0", "60,000"] in rows
    assert ["800,000", "calculated", "32"] in [row[:3] for row in rows]


def test_the_page_tells_of_months_where_they_were_measured(months: dict[str, Any]) -> None:
    html = shown(months)
    assert "A month of 1,000,000 customers" in html
    assert ["records a second of all customers in turn, after it", "40,000"] in cells(html)
    assert [
        "a month of 1,000,000 customers",
        "1,000,000",
        "62,000,000",
        "3,100.0",
        "3,100",
        "1,200",
    ] in cells(html)


def test_the_page_says_how_months_are_measured_where_they_were_not(numbers: dict[str, Any]) -> None:
    assert "make bench CUSTOMERS=1000000" in shown(numbers)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_ended_gives_the_lab_back(number: signal.Signals) -> None:
    lines = (
        "import time",
        "from lab import end_by_signals",
        "end_by_signals()",
        "try:",
        "    print('begun', flush=True)",
        "    time.sleep(30)",
        "    print('slept')",
        "finally:",
        "    print('given back')",
    )
    # as a shell starts a command in the background
    command = ["sh", "-c", 'trap "" INT; exec "$0" "$@"', sys.executable, "-c", "\n".join(lines)]
    folder = Path(lab.__file__).parent
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
        assert run.stdout
        assert run.stdout.readline() == b"begun\n"
        run.send_signal(number)
        assert run.stdout.read() == b"given back\n"
