"""Runs of ml_inference_job on the lab, with the data of one call of the benchmarks."""

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from lab import INSTALLED, BenchmarkError, Lab, run
from loads import copies, producer
from machine import cpu_s, processor
from measures import latency, throughput, to_floor, when_scored_was_sent, when_sent

from flink_jobs.domain.history import KEPT_S
from training.column_option import add_columns, location
from training.dataset import Dataset, load
from training.publish import promoted_manifest
from training.simulate import simulated_dataset

INFERENCE = f"{INSTALLED}/ml_inference_job.py"
# How often the data is in the backlog, each time with other customers: the backlog then lasts for a minute.
# For that long, JVMs go on to compile what they run.
COPIES = 4
# share of the data that is the backlog; the rest is sent live
BACKLOG_SHARE = 0.75


class Runs:
    """What the runs have in common: data, topics, and the figures that they find.

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
        frame = copies(dataset.frame, range(COPIES))
        backlog = int(BACKLOG_SHARE * len(frame))
        times = frame["event_time"].iloc[:backlog]
        self._backlog_file = self._keep(frame.iloc[:backlog], "backlog")
        self._live_frame = frame.iloc[backlog:]
        self._customers = frame["customer_id"].nunique()
        self.numbers: dict[str, Any] = {
            "date": datetime.now(UTC).isoformat(timespec="minutes"),
            "machine": {"cores": os.cpu_count(), "processor": processor()},
            "taskmanagers": len(lab.named("flink_taskmanager")),
            "data": {
                "source": Path(dataset.source).name,
                "copies": COPIES,
                "backlog": backlog,
                "customers": self._customers,
                "in_histories": int((times > times.iloc[-1] - pd.Timedelta(seconds=KEPT_S)).sum()),
            },
            "throughput_tps": {},
            "cpu_us": {},
            "scaling": {},
            "loads": {},
            "latency_ms": {},
            "state": {},
            "samples": {},
        }

    @contextmanager
    def backlog(self) -> Iterator[None]:
        """Have the backlog in Kafka for as long as the block takes."""
        print(f"Sending a backlog of {self.numbers['data']['backlog']:,} transactions", flush=True)
        with self._lab.topics("backlog") as (self._backlog,):
            self._send(self._backlog, self._backlog_file)
            yield

    @contextmanager
    def topics(self, transactions: str | None = None) -> Iterator[dict[str, str]]:
        """Topics of a job that reads `transactions`, or else the backlog."""
        with self._lab.topics("predictions", "alerts", "dlq") as (predictions, alerts, dlq):
            yield {
                "transactions": transactions or self._backlog,
                "predictions": predictions,
                "fraud_alerts": alerts,
                "transactions_dlq": dlq,
            }

    def done(self, topics: dict[str, str]) -> Callable[[], int]:
        """Give what tells how many records are scored or refused by now."""
        return lambda: self._lab.records(topics["predictions"], topics["transactions_dlq"])

    def _watch(
        self, name: str, topics: dict[str, str], times: int = 1, longest_s: float | None = None
    ) -> int:
        total = times * self.numbers["data"]["backlog"]
        found = throughput(self.done(topics), total, cpu_s, longest_s)
        self.numbers["samples"][name] = found["samples"]
        self.numbers["cpu_us"][name] = found["cpu_us"]
        print(f"{name}: {found['tps']:,} a second; µs of processor time for each: {found['cpu_us']}")
        return int(found["tps"])

    def _inference(self, name: str, parallelism: int | None = None, transactions: str | None = None) -> int:
        """Throughput of ml_inference_job, which reads `transactions`, or else the backlog."""
        with self.topics(transactions) as topics, self._lab.job(INFERENCE, topics, parallelism=parallelism):
            return self._watch(name, topics)

    def _latency(self, live: Path, rate: int, predictions: str) -> dict[str, Any]:
        """Latency through the job, and beside it the floor: the same load with no job between."""
        send = producer(self._backlog, live, rate)
        found = latency(self._lab, send, predictions, rate, when_scored_was_sent)
        with self._lab.topics("floor") as (floor,):
            bare = latency(self._lab, producer(floor, live, rate), floor, rate, when_sent)
        found |= {"floor": bare, "to_floor": to_floor(found, bare)}
        print(f"latency at {rate:,} a second, ms: {found}")
        return found

    def _checkpoint(self, job: str, name: str, customers: int, transactions: int) -> None:
        found = self._lab.checkpoint(job)
        self.numbers["state"][name] = {
            "customers": customers,
            "transactions": transactions,
            "bytes": found["state_size"],
            "ms": found["end_to_end_duration"],
        }
        print(f"checkpoint, {name}: {self.numbers['state'][name]}")

    def _live_file(self, rows: int) -> Path:
        """Give a file of the next transactions."""
        if rows > len(self._live_frame):
            raise BenchmarkError("too few transactions; a file of some hundred thousand is needed")
        file = self._keep(self._live_frame.iloc[:rows], "live")
        self._live_frame = self._live_frame.iloc[rows:]
        return file

    def _send(self, topic: str, file: Path, rate: int | str = "max") -> None:
        run(*producer(topic, file, rate))

    def _keep(self, frame: pd.DataFrame, name: str) -> Path:
        file = self._folder / f"{name}.parquet"
        frame.to_parquet(file)
        return file


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
