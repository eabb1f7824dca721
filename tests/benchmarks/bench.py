"""`make bench`: measure the running lab, and write the figures as a page and as JSON.

The lab's own jobs are stopped meanwhile, and resume from their savepoints. The benchmarks have topics and
jobs of their own, and remove them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from lab import INSTALLED, REMOTE, ROOT, BenchmarkError, Lab, run, until
from measures import latency, silence, throughput
from report import page

from clients.process import ClientError
from flink_jobs.kafka_to_minio_job import NAME as LAKE_GROUP
from flink_jobs.store.model_registry import model_key
from flink_jobs.store.object_store import read_object, s3_client
from training.column_option import add_columns, location
from training.columns import HANDBOOK_COLUMNS
from training.dataset import Dataset, load
from training.publish import JOBLIB_FILE, promoted_manifest
from training.simulate import simulate, simulated_dataset
from training.tables import DatasetError

INFERENCE = f"{INSTALLED}/ml_inference_job.py"
LAKE_JOB = f"{INSTALLED}/kafka_to_minio_job.py"
# How often the data is in the backlog, each time with other customers: the backlog then lasts for a minute.
# For that long, JVMs go on to compile what they run.
COPIES = 4
# share of the data that is the backlog; the rest is sent live
BACKLOG_SHARE = 0.75
# how often SQL alone reads the backlog, which it would finish too soon to be measured
PASSES = 3
# how long a job that takes one record at a time is watched
SLOW_S = 60
# transactions a second: for how many seconds
RATES = {1_000: 60, 5_000: 20, 10_000: 20}
# sent before latency is measured: JVMs first compile the code for small batches and checkpoints
SETTLE_RATE, SETTLE_S = 1_000, 180
RECOVERY_RATE, RECOVERY_S = 200, 120
CUSTOMERS = (10_000, 100_000, 1_000_000)
FEWEST_CHECKPOINTS = 3
# rates in the sizing table
SIZED_TPS = (1_000, 10_000, 100_000)
BUSY, REPLICAS, KEPT_DAYS, DAY_S = 0.5, 3, {"transactions": 7, "predictions": 3}, 86_400


class Bench:
    """One run.

    Attributes:
        numbers: what was measured so far, ready for JSON.

    """

    def __init__(self, lab: Lab, dataset: Dataset, folder: Path) -> None:
        self._lab = lab
        self._folder = folder
        manifest = promoted_manifest(lab.settings)
        if manifest is None or manifest.kind != "history":
            raise BenchmarkError("the promoted model computes no features; make up promotes one that does")
        self._version = manifest.version
        frame = _copies(dataset.frame, range(COPIES))
        backlog = int(BACKLOG_SHARE * len(frame))
        self._backlog_file = self._keep(frame.iloc[:backlog], "backlog")
        self._live_frame = frame.iloc[backlog:]
        self._customers = frame["customer_id"].nunique()
        self.numbers: dict[str, Any] = {
            "date": datetime.now(UTC).isoformat(timespec="minutes"),
            "machine": {"cores": os.cpu_count(), "processor": _processor()},
            "taskmanagers": len(lab.named("flink_taskmanager")),
            "data": {"source": Path(dataset.source).name, "copies": COPIES, "backlog": backlog},
            "throughput_tps": {},
            "cpu_us": {},
            "scaling": {},
            "latency_ms": {},
            "state": {},
            "samples": {},
        }

    def measure(self) -> None:
        """Measure everything, one after another."""
        with self.backlog():
            self._inference("warm_up")
            self.numbers["scaling"]["1"] = self._inference("one_taskmanager", parallelism=1)
            self._whole()
            self._slow("per_record", f"{REMOTE}/per_record.py")
            self._give_scikit_learn()
            self._slow("plain", f"{REMOTE}/plain.py")
            self._pass_through_and_lake()
        self._state()
        self._size()

    @contextmanager
    def backlog(self) -> Iterator[None]:
        """Have the backlog in Kafka for as long as the block takes."""
        print(f"Sending a backlog of {self.numbers['data']['backlog']:,} transactions", flush=True)
        with self._lab.topics("backlog") as (self._backlog,):
            self._send(self._backlog, self._backlog_file)
            yield

    @contextmanager
    def topics(self) -> Iterator[dict[str, str]]:
        """Topics of a job that reads the backlog."""
        with self._lab.topics("predictions", "alerts", "dlq") as (predictions, alerts, dlq):
            yield {
                "transactions": self._backlog,
                "predictions": predictions,
                "fraud_alerts": alerts,
                "transactions_dlq": dlq,
            }

    def done(self, topics: dict[str, str]) -> Callable[[], int]:
        """Give what tells how many records of the backlog are scored or refused by now."""
        return lambda: self._lab.records(topics["predictions"], topics["transactions_dlq"])

    def _watch(
        self, name: str, topics: dict[str, str], times: int = 1, longest_s: float | None = None
    ) -> int:
        total = times * self.numbers["data"]["backlog"]
        found = throughput(self.done(topics), total, self._lab.cpu_s, longest_s)
        self.numbers["samples"][name] = found["samples"]
        self.numbers["cpu_us"][name] = found["cpu_us"]
        print(f"{name}: {found['tps']:,} a second; µs of processor time for each: {found['cpu_us']}")
        return int(found["tps"])

    def _inference(self, name: str, parallelism: int | None = None) -> int:
        with self.topics() as topics, self._lab.job(INFERENCE, topics, parallelism=parallelism):
            return self._watch(name, topics)

    def _slow(self, name: str, script: str) -> None:
        with self.topics() as topics, self._lab.job(script, topics):
            self.numbers["throughput_tps"][name] = self._watch(name, topics, longest_s=SLOW_S)

    def _whole(self) -> None:
        """Throughput of ml_inference_job on all TaskManagers, and what else the same job is measured for."""
        with self.topics() as topics, self._lab.job(INFERENCE, topics) as job:
            tps = self._watch("inference", topics)
            self.numbers["throughput_tps"]["inference"] = tps
            self.numbers["scaling"][str(self.numbers["taskmanagers"])] = tps
            done = self.done(topics)
            until(lambda: done() >= self._lab.records(self._backlog), 60, "the backlog is done")
            kept = {"transactions": self._backlog, "predictions": topics["predictions"]}
            self.numbers["kafka_bytes"] = {
                name: round(self._lab.bytes_of(topic) / self._lab.records(topic), 1)
                for name, topic in kept.items()
            }
            # this checkpoint saves what the backlog changed, so that none does while latency is measured
            self._checkpoint(job, "whole_histories", self._customers, done())
            run(*self._live(SETTLE_RATE, SETTLE_S))
            for rate, seconds in RATES.items():
                found = latency(self._lab, self._live(rate, seconds), topics["predictions"], rate)
                self.numbers["latency_ms"][str(rate)] = found
                print(f"latency at {rate:,} a second, ms: {found}")
            self.numbers["recovery_s"] = self._recovery(done)

    def _recovery(self, done: Callable[[], int]) -> float:
        """Seconds without a prediction after a TaskManager is killed."""
        with subprocess.Popen(
            self._live(RECOVERY_RATE, RECOVERY_S), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as sending:
            try:
                before = done()
                until(lambda: done() > before + RECOVERY_RATE, 60, "transactions come")
                self._lab.kill_taskmanager()
                found = round(silence(done, RECOVERY_S), 1)
            finally:
                sending.terminate()
        print(f"a killed TaskManager costs {found} s without a prediction")
        return found

    def _give_scikit_learn(self) -> None:
        """Copy scikit-learn and the forest to the TaskManagers, for jobs/plain.py alone."""
        key = model_key(self._version, JOBLIB_FILE)
        packages = Path(pd.__file__).parents[1]
        needed = (
            "sklearn",
            "scipy",
            "scikit_learn.libs",
            "scipy.libs",
            "joblib",
            "threadpoolctl.py",
            "narwhals",
        )
        forest = self._folder / JOBLIB_FILE
        settings = self._lab.settings
        forest.write_bytes(read_object(s3_client(settings.s3), settings.buckets.models, key))
        found = [packages / name for name in needed if (packages / name).exists()]
        for host in self._lab.named("flink_taskmanager"):
            self._lab.copy(host, forest, *found)

    def _pass_through_and_lake(self) -> None:
        """Throughput of SQL alone, and then of the lake's job, which reads what SQL wrote."""
        with self.topics() as topics:
            with self._lab.job(f"{REMOTE}/pass_through.py", topics, f"--times={PASSES}"):
                tps = self._watch("pass_through", topics, PASSES)
                self.numbers["throughput_tps"]["pass_through"] = tps
                total = PASSES * self.numbers["data"]["backlog"]
                until(lambda: self.done(topics)() >= total, 60, "all is passed through")
            self._lake(topics["predictions"])

    def _lake(self, topic: str) -> None:
        """Records a second into the lake, from one completed checkpoint to another."""
        total = self._lab.records(topic)
        with (
            self._lab.topics("labels") as (labels,),
            self._lab.job(LAKE_JOB, {"transactions": topic, "fraud_labels": labels}),
        ):
            seen = [(time.monotonic(), 0)]
            while seen[-1][1] < total:
                time.sleep(0.1)
                read = self._lab.committed(LAKE_GROUP, topic)
                # each TaskManager commits its offsets of a checkpoint by itself: a second later, all have
                if read > seen[-1][1]:
                    at = time.monotonic()
                    time.sleep(1)
                    seen.append((at, self._lab.committed(LAKE_GROUP, topic)))
                if time.monotonic() - seen[0][0] > 600:
                    raise BenchmarkError(f"the lake has {seen[-1][1]:,} of {total:,} records after 600 s")
        files = self._lab.lake_files()
        self.numbers["lake"] = {
            "records": total,
            "files": len(files),
            "bytes": sum(files),
            "checkpoints": [[round(at - seen[0][0], 1), read] for at, read in seen],
        }
        # without the start, and without the last, for which the job had waited with nothing left to read
        whole = seen[1:-1]
        if len(whole) < FEWEST_CHECKPOINTS:
            raise BenchmarkError(f"the lake was done after {len(seen)} checkpoints, too soon to measure")
        (begin, first), (end, last) = whole[0], whole[-1]
        self.numbers["lake_records_per_s"] = round((last - first) / (end - begin))
        print(f"lake: {self.numbers['lake_records_per_s']:,} records a second, {len(files)} files")

    def _state(self) -> None:
        """Size and duration of a checkpoint as customers are added."""
        seed = simulate(
            customers=CUSTOMERS[0], terminals=CUSTOMERS[0] // 10, days=1, start=date(2025, 1, 1), seed=1
        ).rename(columns=HANDBOOK_COLUMNS)
        with (
            self._lab.topics("backlog") as (self._backlog,),
            self.topics() as topics,
            self._lab.job(INFERENCE, topics) as job,
        ):
            done, copies = self.done(topics), 0
            for customers in CUSTOMERS:
                more = _copies(seed, range(copies, customers // CUSTOMERS[0]))
                self._send(self._backlog, self._keep(more, "customers"))
                copies = customers // CUSTOMERS[0]
                sent = self._lab.records(self._backlog)
                until(lambda sent=sent: done() >= sent, 600, "all transactions are scored")
                self._checkpoint(job, f"{customers:,}", copies * seed["customer_id"].nunique(), sent)

    def _checkpoint(self, job: str, name: str, customers: int, transactions: int) -> None:
        found = self._lab.checkpoint(job)
        self.numbers["state"][name] = {
            "customers": customers,
            "transactions": transactions,
            "bytes": found["state_size"],
            "ms": found["end_to_end_duration"],
        }
        print(f"checkpoint, {name}: {self.numbers['state'][name]}")

    def _size(self) -> None:
        """What each rate takes: as measured at this rate, else by what a record of the backlog costs."""
        cpu_us, kafka, lake = (self.numbers[name] for name in ("cpu_us", "kafka_bytes", "lake"))
        kept = sum(kafka[name] * days for name, days in KEPT_DAYS.items()) * REPLICAS * DAY_S
        self.numbers["sizing"] = []
        for tps in SIZED_TPS:
            measured = self.numbers["latency_ms"].get(str(tps))
            backlog = {service: us * tps / 1e6 for service, us in cpu_us["inference"].items()}
            # a backlog's batches are large, so a record in them costs less than at this rate
            busy = measured["cores"] if measured else backlog
            size = {
                "tps": tps,
                "measured": measured is not None,
                "taskmanager_cores": round(busy["taskmanager"] / BUSY, 2),
                "kafka_cores": round(busy["kafka"] / BUSY, 2),
                "kafka_gb": round(tps * kept / 1e9, 1),
                "lake_gb_a_day": round(tps * DAY_S * lake["bytes"] / lake["records"] / 1e9, 2),
            }
            self.numbers["sizing"].append(size)

    def _live(self, rate: int, seconds: int) -> list[str]:
        """Give the command that sends the next transactions."""
        rows = rate * seconds
        if rows > len(self._live_frame):
            raise BenchmarkError("too few transactions; a file of some hundred thousand is needed")
        file = self._keep(self._live_frame.iloc[:rows], f"live-{rate}")
        self._live_frame = self._live_frame.iloc[rows:]
        return _producer(self._backlog, file, rate)

    def _send(self, topic: str, file: Path) -> None:
        run(*_producer(topic, file, "max"))

    def _keep(self, frame: pd.DataFrame, name: str) -> Path:
        file = self._folder / f"{name}.parquet"
        frame.to_parquet(file)
        return file


def _producer(topic: str, file: Path, rate: int | str) -> list[str]:
    return ["fraud-producer", "--topic", topic, "--data", str(file), "--rate", str(rate)]


def _copies(frame: pd.DataFrame, numbers: range) -> pd.DataFrame:
    """Repeat `frame` for each number, with ids of transactions and customers of their own."""
    copies = []
    for number in numbers:
        copy = frame.copy()
        for column in ("transaction_id", "customer_id"):
            copy[column] = f"{number}-" + copy[column].astype(str)
        copies.append(copy)
    return pd.concat(copies).sort_values("event_time", kind="stable")


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), "unknown")


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the data."""
    parser.add_argument(
        "--data",
        type=location,
        metavar="FILE",
        help="transactions with customer and terminal (default: a simulation)",
    )
    add_columns(parser)


def read_data(options: argparse.Namespace) -> Dataset:
    """Read the data that the options of `add_data` name; DatasetError as for `training.dataset.load`."""
    if not options.data:
        return simulated_dataset()
    return load(options.data, columns=options.columns, option=options.columns_option)


def main() -> int:
    """Run the command; 0 when page and numbers were written."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    add_data(parser)
    parser.add_argument(
        "--output", type=Path, default=ROOT / "build", metavar="DIR", help="(default: %(default)s)"
    )
    options = parser.parse_args()
    try:
        lab = Lab()
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(lab, read_data(options), Path(folder))
            with lab.to_itself():
                bench.measure()
    except (BenchmarkError, ClientError, DatasetError, OSError) as error:
        # if bringing the lab's jobs back failed too, that is the error, and its context what went wrong first
        for failure in (None if error.__suppress_context__ else error.__context__, error):
            if failure:
                print(f"bench: {failure}", file=sys.stderr)
        return 1
    (options.output / "bench.json").write_text(json.dumps(bench.numbers, indent=2) + "\n")
    (options.output / "bench.html").write_text(page(bench.numbers))
    print(f"Written: {options.output}/bench.html and bench.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
