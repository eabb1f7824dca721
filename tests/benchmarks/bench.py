"""`make bench`: measure the running lab, and write the figures as a page and as JSON.

The lab's own jobs are stopped meanwhile, and resume from their savepoints. The benchmarks have topics and
jobs of their own, and remove them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pandas as pd
from lab import INSTALLED, REMOTE, ROOT, BenchmarkError, Lab, end_by_signals, until
from loads import COHORT, MONTH_DAYS, copies, make, make_months, make_next_day, of_made_customers, producer
from machine import check_disk, cpu_s
from measures import silence, throughput
from report import page
from runs import INFERENCE, Runs, add_data, read_data
from sizing import sizes

from clients.process import ClientError
from flink_jobs.kafka_to_minio_job import NAME as LAKE_GROUP
from flink_jobs.store.model_registry import model_key
from flink_jobs.store.object_store import read_object, s3_client
from training.columns import HANDBOOK_COLUMNS
from training.publish import JOBLIB_FILE
from training.simulate import simulate
from training.tables import DatasetError

LAKE_JOB = f"{INSTALLED}/kafka_to_minio_job.py"
# how often SQL alone reads the backlog, which it would finish too soon to be measured
PASSES = 3
# how long a job that takes one record at a time is watched
SLOW_S = 60
# transactions a second: for how many seconds
RATES = {1_000: 60, 5_000: 20, 10_000: 20}
# sent before latency is measured: JVMs first compile the code for small batches and checkpoints
SETTLE_RATE, SETTLE_S = 1_000, 180
RECOVERY_RATE, RECOVERY_S = 200, 120
# of which there are slots for
SUBTASKS = (1, 2, 4)
# Whose the transactions are, in turns, there and back: what a machine gains or loses meanwhile, all have.
TURNS = ("even", "hot", "zipf", "zipf", "hot", "even")
CUSTOMERS = (10_000, 100_000, 1_000_000)
# transactions of customers with a month each, which are measured
NEXT_DAY = 2_000_000
# What each of these customers may take of the disk, with all replicas and checkpoints: rather too much, as a
# full disk would stop the lab.
CUSTOMER_BYTES = 50_000
FEWEST_CHECKPOINTS = 3


class Bench(Runs):
    """All figures of one call."""

    def measure(self, month_of: int) -> None:
        """Measure everything, one after another; `month_of` customers with a month each, if not 0."""
        check_disk(month_of * CUSTOMER_BYTES, f"A month of {month_of:,} customers")
        with self.backlog():
            self._inference("warm_up")
            for subtasks in SUBTASKS:
                # with as many as there are TaskManagers, the job is measured as a whole
                if subtasks != self.numbers["taskmanagers"] and subtasks <= self._lab.slots():
                    tps = self._inference(f"subtasks_{subtasks}", parallelism=subtasks)
                    self.numbers["scaling"][str(subtasks)] = tps
            self._loads()
            self._whole()
            self._slow("per_record", f"{REMOTE}/per_record.py")
            self._give_scikit_learn()
            self._slow("plain", f"{REMOTE}/plain.py")
            self._pass_through_and_lake()
        self._state()
        if month_of:
            self._months(month_of)
        self.numbers["sizing"] = sizes(self.numbers)

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
            self._send(self._backlog, self._live_file(SETTLE_RATE * SETTLE_S), SETTLE_RATE)
            for rate, seconds in RATES.items():
                live = self._live_file(rate * seconds)
                self.numbers["latency_ms"][str(rate)] = self._latency(live, rate, topics["predictions"])
            self.numbers["recovery_s"] = self._recovery(done)

    def _recovery(self, done: Callable[[], int]) -> float:
        """Seconds without a prediction after a TaskManager is killed."""
        send = producer(self._backlog, self._live_file(RECOVERY_RATE * RECOVERY_S), RECOVERY_RATE)
        with subprocess.Popen(send, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sending:
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
            self._lab.topics("labels", "alerts", "dlq", "predictions") as (labels, alerts, dlq, predictions),
            self._lab.job(
                LAKE_JOB,
                {
                    "transactions": topic,
                    "fraud_labels": labels,
                    "fraud_alerts": alerts,
                    "transactions_dlq": dlq,
                    "predictions": predictions,
                },
            ),
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

    def _loads(self) -> None:
        """Throughput by whose the transactions are; apart from that, the loads are the same."""
        records, names = self.numbers["data"]["backlog"], sorted(set(TURNS))
        with self._lab.topics(*names) as made:
            sources = dict(zip(names, made, strict=True))
            for whose, topic in sources.items():
                make(self._lab, topic, whose, records, self._customers)
                self.numbers["loads"][whose] = {"tps": [], "cpu_us": []}
            for number, whose in enumerate(TURNS):
                name = f"{whose}_{number}"
                found = self.numbers["loads"][whose]
                found["tps"].append(self._inference(name, transactions=sources[whose]))
                found["cpu_us"].append(round(sum(self.numbers["cpu_us"][name].values()), 1))

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
            done, made = self.done(topics), 0
            for customers in CUSTOMERS:
                more = copies(seed, range(made, customers // CUSTOMERS[0]))
                self._send(self._backlog, self._keep(more, "customers"))
                made = customers // CUSTOMERS[0]
                sent = self._lab.records(self._backlog)
                until(lambda sent=sent: done() >= sent, 600, "all transactions are scored")
                self._checkpoint(job, f"{customers:,}", made * seed["customer_id"].nunique(), sent)

    def _months(self, customers: int) -> None:
        """What the state of many customers costs, who have a month each and then come in any order."""
        print(f"Making a month of {customers:,} customers", flush=True)
        with self._lab.topics("backlog") as (self._backlog,):
            months = make_months(self._lab, self._backlog, customers)
            make_next_day(self._lab, self._backlog, NEXT_DAY, customers)
            with self.topics() as topics, self._lab.job(INFERENCE, topics) as job:
                done, total = self.done(topics), self._lab.records(self._backlog)
                found = throughput(done, total, cpu_s, before=months)
                until(lambda: done() >= total, 600, "all transactions are scored")
                self._checkpoint(job, f"month of {customers:,}", customers, total)
                settle = SETTLE_RATE * SETTLE_S
                some = pd.read_parquet(self._backlog_file).iloc[: settle + SETTLE_RATE * RATES[SETTLE_RATE]]
                live = of_made_customers(some, customers, MONTH_DAYS + 1)
                self._send(self._backlog, self._keep(live.iloc[:settle], "live"), SETTLE_RATE)
                file = self._keep(live.iloc[settle:], "live")
                found["latency_ms"] = {
                    str(SETTLE_RATE): self._latency(file, SETTLE_RATE, topics["predictions"])
                }
                # the latest that Flink made by itself, of what this rate changes within a minute
                own = self._lab.latest_checkpoint(job)
        found |= {"own_checkpoint": {"bytes": own["checkpointed_size"], "ms": own["end_to_end_duration"]}}
        self.numbers["months"] = {"customers": customers, "before": months, **found}
        print(f"a month of {customers:,} customers: {found['tps']:,} a second, checkpoint {own}")


def _customers(text: str) -> int:
    customers = int(text)
    if customers < COHORT or customers % COHORT:
        raise argparse.ArgumentTypeError(f"{text} is no multiple of {COHORT:,}")
    return customers


def main() -> int:
    """Run the command; 0 when page and numbers were written."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    add_data(parser)
    parser.add_argument(
        "--customers",
        type=_customers,
        default=0,
        metavar="N",
        help="measure with a month of so many customers in the state, too, such as 1000000",
    )
    parser.add_argument(
        "--output", type=Path, default=ROOT / "build", metavar="DIR", help="(default: %(default)s)"
    )
    options = parser.parse_args()
    end_by_signals()
    try:
        lab = Lab()
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(lab, read_data(options), Path(folder))
            try:
                with lab.to_itself():
                    bench.measure(options.customers)
            finally:
                # a run that was broken off leaves what it has found
                (options.output / "bench.json").write_text(json.dumps(bench.numbers, indent=2) + "\n")
    except KeyboardInterrupt:
        print("bench: ended by a signal; should the lab's jobs not run again: make up", file=sys.stderr)
        return 130
    except (BenchmarkError, ClientError, DatasetError, OSError) as error:
        # if bringing the lab's jobs back failed too, that is the error, and its context what went wrong first
        for failure in (None if error.__suppress_context__ else error.__context__, error):
            if failure:
                print(f"bench: {failure}", file=sys.stderr)
        return 1
    (options.output / "bench.html").write_text(page(bench.numbers))
    print(f"Written: {options.output}/bench.html and bench.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
