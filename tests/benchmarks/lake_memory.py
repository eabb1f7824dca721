"""How much memory it takes to read lakes of different sizes, each of a year: a process for each reading.

    python tests/benchmarks/lake_memory.py 1000000 10000000

makes the lakes below build/lakes, once, and ends with 1 where a reading of the largest takes more than 1.2
times what the same one of the smallest takes. Training keeps a table of its period, and a job without state
the histories of its customers; what these take is told.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests/unit"))

from buckets_in_memory import HistoriesInMemory  # noqa: E402 - the path comes first

from clients.reconciliation import OffsetCounts  # noqa: E402
from flink_jobs.domain.buckets import BUCKETS  # noqa: E402
from flink_jobs.lake_histories import fold_lake  # noqa: E402
from flink_jobs.lost_state import Beginning  # noqa: E402
from flink_jobs.store.folders import LocalFolder  # noqa: E402
from flink_jobs.store.lake import Lake  # noqa: E402
from training.lake_transactions import read_lake_transactions  # noqa: E402

LAKES = ROOT / "build/lakes"
FIRST_DAY = datetime(2025, 1, 1, tzinfo=UTC)
DAYS = 365
DAY_S = 86_400
PARTITIONS = 8
CUSTOMERS, TERMINALS = 5_000, 10_000
FILES_A_DAY = 4
MOST = 1.2


def make(folder: Path, rows: int) -> None:
    """Write a lake in which a record comes some seconds after it happened, one in a hundred a day later."""
    random = np.random.default_rng(0)
    offset = 0
    for day in range(DAYS):
        count = rows * (day + 1) // DAYS - rows * day // DAYS
        begin_s = (FIRST_DAY + timedelta(days=day)).timestamp()
        came_s = begin_s + np.sort(random.uniform(0, DAY_S - 1, count))
        happened_s = came_s - random.uniform(1, 60, count) - np.where(random.random(count) < 0.01, DAY_S, 0)
        customers, terminals = random.integers(0, CUSTOMERS, count), random.integers(0, TERMINALS, count)
        amounts = random.gamma(2.0, 40.0, count).round(2)
        texts = np.datetime_as_string((happened_s * 1000).astype("datetime64[ms]"), timezone="UTC")
        table = pa.table(
            {
                "transaction_id": [str(offset + n) for n in range(count)],
                "event_time": pa.array((happened_s * 1000).astype(np.int64), pa.timestamp("ms")),
                "customer_id": [str(customer) for customer in customers.tolist()],
                "amount": amounts,
                "kafka_partition": pa.array(np.arange(count) % PARTITIONS, pa.int32()),
                "kafka_offset": pa.array((offset + np.arange(count)) // PARTITIONS, pa.int64()),
                "kafka_time": pa.array((came_s * 1000).astype(np.int64), pa.timestamp("ms", "UTC")),
                "payload": [
                    b'{"transaction_id":"%d","event_time":"%s","customer_id":"%d","terminal_id":"%d","amount":%.2f}'
                    % (offset + n, text.encode(), customer, terminal, amount)
                    for n, (text, customer, terminal, amount) in enumerate(
                        zip(
                            texts.tolist(),
                            customers.tolist(),
                            terminals.tolist(),
                            amounts.tolist(),
                            strict=True,
                        )
                    )
                ],
            }
        )
        offset += count
        path = folder / f"dt={FIRST_DAY + timedelta(days=day):%Y-%m-%d}"
        path.mkdir(parents=True)
        for number in range(FILES_A_DAY):
            first, end = (count * each // FILES_A_DAY for each in (number, number + 1))
            pq.write_table(
                table.slice(first, end - first),
                path / f"part-{number}",
                compression="zstd",
                use_deprecated_int96_timestamps=True,
            )


def drift(lake: Lake) -> int:
    """Read as fraud-drift does: a week, and the month before it that histories reach back to."""
    until_s = (lake.last_event_s(4e9) or 0) + 0.001
    return sum(map(len, lake.payloads(until_s - 37 * DAY_S, until_s)))


def year(lake: Lake) -> int:
    """Read all of it in event-time order."""
    return sum(map(len, lake.payloads(0, 4e9)))


def places(lake: Lake) -> int:
    """Count a day's places as fraud-audit does."""
    day = FIRST_DAY + timedelta(days=DAYS - 1)
    counts = OffsetCounts(dict.fromkeys(range(PARTITIONS), (0, 10000000)))
    lake.count_new(counts, day, day)
    return counts.distinct


def training(lake: Lake) -> int:
    """Read into a table as fraud-train --since does, the last 10 days."""
    since = FIRST_DAY + timedelta(days=DAYS - 10)
    return len(read_lake_transactions(lake, since.replace(tzinfo=None)).frame)


def histories(lake: Lake) -> int:
    """Fold the last 37 days into histories, as the only subtask of a job without state does."""
    return fold_lake(lake, _ALL_IN_LAKE, HistoriesInMemory(), range(BUCKETS))


def half(lake: Lake) -> int:
    """Do the same as one subtask of two."""
    return fold_lake(lake, _ALL_IN_LAKE, HistoriesInMemory(), range(BUCKETS // 2))


_ALL_IN_LAKE = Beginning({}, {}, {}, int((FIRST_DAY + timedelta(days=DAYS)).timestamp() * 1000))
READINGS: dict[str, Callable[[Lake], int]] = {
    each.__name__: each for each in (drift, year, places, training, histories, half)
}
# what these keep grows with what they read
KEEP = {each.__name__ for each in (training, histories, half)}


def measure(name: str, folder: Path) -> None:
    """Read, and print what it took as JSON."""
    begun = time.process_time()
    rows = READINGS[name](Lake(LocalFolder(folder)))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": rows, "cpu_s": time.process_time() - begun, "peak_mb": peak_mb}))


def main() -> int:
    """Make the lakes and compare them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("rows", type=int, nargs="+", help="of each lake, the smallest first")
    parser.add_argument("--measure", choices=READINGS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, LAKES / str(options.rows[0]))
        return 0
    for rows in options.rows:
        folder = LAKES / str(rows)
        if not folder.exists():
            partial = folder.with_name(f".{rows}")
            shutil.rmtree(partial, ignore_errors=True)
            make(partial, rows)
            partial.rename(folder)
    worst = 0.0
    for name in READINGS:
        peaks = []
        for rows in options.rows:
            command = [sys.executable, __file__, str(rows), "--measure", name]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            peaks.append(found["peak_mb"])
            print(
                f"{name:<9} {rows:>11,} in the lake {found['rows']:>11,} read "
                f"{found['cpu_s']:>7.1f} s of processor {found['peak_mb']:>6.0f} MB",
                flush=True,
            )
        if name not in KEEP:
            worst = max(worst, peaks[-1] / peaks[0])
    print(f"at most {worst:.2f} times the memory")
    return int(worst > MOST)


if __name__ == "__main__":
    sys.exit(main())
