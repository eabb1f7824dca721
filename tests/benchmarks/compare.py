"""`make compare BEFORE=commit`: what a record costs with its jobs, and with this checkout's or AFTER's.

Both jobs work through one backlog on the running lab. The cost is the processor time of brokers,
TaskManagers, JobManager, MinIO and ZooKeeper for each record. Services take some while no record comes, too,
and one version may wait longer for its last checkpoint: so each run says how much of its cost that is. As
machines are noisy, the two versions take turns, and their medians are compared. Settings, topics and models
are the lab's: a commit that reads others cannot be compared.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab import INSTALLED, REMOTE, ROOT, BenchmarkError, Lab, end_by_signals, until
from machine import cpu_s
from runs import Runs, add_data, read_data

from clients.process import ClientError
from flink_jobs.kafka_to_minio_job import NAME as LAKE_GROUP
from training.tables import DatasetError

ROUNDS = 5
VERSIONS = ("before", "after")
SITE_PACKAGES = INSTALLED.rpartition("/")[0]
# gone with the next boot, should this run be killed
DROP_IN = "/run/systemd/system/flink-taskmanager@.service.d/compare.conf"
PATIENCE_S = 600
# three checkpoints long
IDLE_S = 30


def check_out(commit: str, folder: Path) -> None:
    """Put `flink_jobs` of a commit into a folder."""
    archive = subprocess.run(
        ["git", "archive", commit, "flink_jobs"], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode:
        raise BenchmarkError(f"{commit}: {archive.stderr.decode().strip()}")
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)


class Comparison:
    """Two versions of the jobs on one lab.

    Attributes:
        costs_us: by version, what each of its runs found: µs of processor time a record, by service, `all` of
            them, and `idle`: of that, what they take in as many seconds while no record comes.

    """

    def __init__(self, lab: Lab, runs: Runs, folder: Path) -> None:
        self._lab = lab
        self._runs = runs
        self._folder = folder
        self.costs_us: dict[str, list[dict[str, float]]] = {version: [] for version in VERSIONS}

    def measure(self, rounds: int) -> None:
        """Run the versions in turns; each is first in every other round."""
        taskmanagers = self._lab.named("flink_taskmanager")
        for host in {*taskmanagers, *self._lab.named("flink_jobmanager")}:
            self._lab.copy(host, *(self._folder / version for version in VERSIONS))
        try:
            with self._runs.backlog():
                for number in range(rounds):
                    for version in VERSIONS if number % 2 == 0 else reversed(VERSIONS):
                        self._import_from(f"{REMOTE}/{version}:{SITE_PACKAGES}")
                        # once for the JVMs to compile what they run
                        self._work_through(version, idle_s=0)
                        cost = self._work_through(version, IDLE_S)
                        self.costs_us[version].append(cost)
                        print(f"round {number + 1}, {version}, µs of processor time: {cost}", flush=True)
        finally:
            self._import_from(None)

    def _import_from(self, path: str | None) -> None:
        """Restart the TaskManagers: their Python, which imports a module once, is part of them."""
        change = f"sudo rm -f {DROP_IN}"
        if path:
            drop_in = f"[Service]\\nEnvironment=PYTHONPATH={path}\\n"
            change = f"printf '{drop_in}' | sudo install -D -m 0644 /dev/stdin {DROP_IN}"
        restart = "sudo systemctl daemon-reload && sudo systemctl restart 'flink-taskmanager@*'"
        for host in self._lab.named("flink_taskmanager"):
            self._lab.ssh(host, f"{change} && {restart}")
        until(self._lab.is_whole, 120, "all TaskManagers are back")

    def _work_through(self, version: str, idle_s: int) -> dict[str, float]:
        """Let both jobs do the whole backlog, and watch them for `idle_s` after it; see `costs_us`."""
        total = self._runs.numbers["data"]["backlog"]
        # the first records of a run pay for its start
        with self._jobs(version) as (done, in_lake):
            until(lambda: done() > 0, PATIENCE_S, "the first record is scored")
            begun, spent, started = done(), cpu_s(), time.monotonic()
            until(lambda: done() >= total and in_lake() >= total, PATIENCE_S, "the backlog is done")
            after, took_s = cpu_s(), time.monotonic() - started
            time.sleep(idle_s)
            idle = (sum(cpu_s().values()) - sum(after.values())) / idle_s if idle_s else 0.0
        self._lab.remove_lake()
        spent_s = {name: after[name] - before for name, before in spent.items()}
        spent_s |= {"all": sum(spent_s.values()), "idle": idle * took_s}
        return {name: round(seconds / (total - begun) * 1e6, 2) for name, seconds in spent_s.items()}

    @contextmanager
    def _jobs(self, version: str) -> Iterator[Any]:
        path = f"{REMOTE}/{version}"
        with self._runs.topics() as topics, self._lab.topics("labels") as (labels,):
            # what the lake keeps besides transactions costs as well
            lake = topics | {"fraud_labels": labels}
            scripts = (f"{path}/flink_jobs/{name}.py" for name in ("kafka_to_minio_job", "ml_inference_job"))
            kafka_to_minio, ml_inference = scripts
            with (
                self._lab.job(kafka_to_minio, lake, python_path=path),
                self._lab.job(ml_inference, topics, python_path=path),
            ):
                # an earlier commit may not keep predictions
                kept = ["transactions"] + ["predictions"] * keeps_predictions(self._folder / version)
                yield (
                    self._runs.done(topics),
                    lambda: min(self._lab.committed(LAKE_GROUP, lake[topic]) for topic in kept),
                )


def keeps_predictions(version: Path) -> bool:
    """Tell whether the lake's job of a version reads predictions."""
    return "topics.predictions" in (version / "flink_jobs/kafka_to_minio_job.py").read_text()


def main() -> int:
    """Run the command; 0 when the medians were written."""
    parser = argparse.ArgumentParser(prog="compare", description=__doc__)
    parser.add_argument("before", help="the commit with whose flink_jobs others are compared")
    parser.add_argument("--after", help="the commit whose flink_jobs those are (default: this checkout's)")
    add_data(parser)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="(default: %(default)s)")
    options = parser.parse_args()
    end_by_signals()
    try:
        lab = Lab()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            check_out(options.before, folder / "before")
            if options.after:
                check_out(options.after, folder / "after")
            else:
                shutil.copytree(ROOT / "flink_jobs", folder / "after/flink_jobs")
            comparison = Comparison(lab, Runs(lab, read_data(options), folder), folder)
            with lab.to_itself():
                comparison.measure(options.rounds)
    except KeyboardInterrupt:
        print("compare: ended by a signal; should the lab's jobs not run again: make up", file=sys.stderr)
        return 130
    except (BenchmarkError, ClientError, DatasetError, OSError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 1
    commits = {version: getattr(options, version) for version in VERSIONS}
    found = {"commits": commits, "costs_us": comparison.costs_us, **compared(comparison.costs_us)}
    (ROOT / "build/compare.json").write_text(json.dumps(found, indent=2) + "\n")
    for what, told in (("all", "all of it"), ("beyond_idle", "beyond what idle services take")):
        medians, ratio = found["medians_us"][what], found["ratio"][what]
        print(f"median of {options.rounds}, {told}: {medians}, {ratio} times as much")
    print("build/compare.json has each run")
    return 0


def compared(costs_us: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Compare the medians of the versions' runs, all of their cost and what is beyond idle."""
    medians_us = {
        "all": _medians(costs_us, lambda cost: cost["all"]),
        "beyond_idle": _medians(costs_us, lambda cost: cost["all"] - cost["idle"]),
    }
    ratio = {what: round(each["after"] / each["before"], 3) for what, each in medians_us.items()}
    return {"medians_us": medians_us, "ratio": ratio}


def _medians(
    costs_us: dict[str, list[dict[str, float]]], part: Callable[[dict[str, float]], float]
) -> dict[str, float]:
    return {version: round(statistics.median(map(part, costs)), 2) for version, costs in costs_us.items()}


if __name__ == "__main__":
    sys.exit(main())
