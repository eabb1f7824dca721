"""`make soak`: let the lab work for an hour, restart a job each minute, and see that nothing grows.

A producer sends at a steady rate meanwhile. A job restarts as its parallelism changes to 1, or back: so
TaskManagers' processes stay the same, and keep what a restart leaves behind. At the end records are checked
as after a fault. Ends with 1 where something grew or did not hold.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import topics
from containers import HostError
from flatness import Growth, growths
from lab_command import FAILURES, command, new_parser
from row import wait_for_the_last
from samples import Samples
from soak_page import page
from steady_producer import RATE_TPS, SteadyProducer
from system import JOBS, JobError, System, wait_until
from topics import Watcher
from verdict import judge

from clients.command import positive_float

MINUTES = 60.0
SAMPLE_S = 15.0
RESTART_S = 60.0
# a job takes up another parallelism after its next checkpoint
RESTARTED_S = 240.0


class Restarts:
    """Restarts jobs, one after another, each to one subtask and back.

    Attributes:
        done: how many restarts were seen.

    """

    def __init__(self, system: System) -> None:
        self._flink = system.flink
        self._jobs = {name: system.job(name) for name in JOBS}
        self._wanted = {
            job: self._flink.request(f"/jobs/{job}/resource-requirements") for job in self._jobs.values()
        }
        self._narrow = dict.fromkeys(self._jobs.values(), False)
        self.done = 0

    def next(self) -> None:
        """Restart the job whose turn it is, and wait until it has; HostError if it does not."""
        job = self._jobs[JOBS[self.done % len(JOBS)]]
        self._narrow[job] = not self._narrow[job]
        wanted = self._requirements(job)
        self._require(job, wanted)
        if not wait_until(lambda: self._runs(job, wanted), RESTARTED_S, 1):
            raise HostError(f"job {job} did not restart within {RESTARTED_S:g} s")
        self.done += 1

    def undo(self) -> None:
        """Give each job its own parallelism again."""
        for job, wanted in self._wanted.items():
            self._require(job, wanted)

    def _require(self, job: str, wanted: Mapping[str, Any]) -> None:
        """Ask for a parallelism; a busy JobManager may still be about the request before."""
        deadline = time.monotonic() + RESTARTED_S
        while True:
            try:
                self._flink.request(f"/jobs/{job}/resource-requirements", "PUT", dict(wanted))
            except JobError as error:
                if "update to the job" not in str(error) or time.monotonic() > deadline:
                    raise
            else:
                return
            time.sleep(1)

    def _requirements(self, job: str) -> dict[str, Any]:
        most = 1 if self._narrow[job] else sys.maxsize
        return {
            vertex: {
                "parallelism": each["parallelism"]
                | {"upperBound": min(each["parallelism"]["upperBound"], most)}
            }
            for vertex, each in self._wanted[job].items()
        }

    def _runs(self, job: str, wanted: Mapping[str, Any]) -> bool:
        found = self._flink.request(f"/jobs/{job}")
        return found["state"] == "RUNNING" and all(
            vertex["status"] == "RUNNING"
            and vertex["parallelism"] == wanted[vertex["id"]]["parallelism"]["upperBound"]
            for vertex in found["vertices"]
        )


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    options = _parser().parse_args(argv)
    return command(
        "soak",
        lambda: _run(options),
        FAILURES,
        ended="jobs have their own parallelism again",
    )


def _run(options: argparse.Namespace) -> int:
    system = System()
    system.check_whole()
    began = datetime.now(UTC)
    mark = f"s{int(began.timestamp())}"
    begin = topics.ends(system.settings)
    samples, restarts = Samples(system), Restarts(system)
    producer = SteadyProducer(system.settings, mark, options.rate, random.Random(mark), by_customer=True)  # noqa: S311
    with ExitStack() as undone:
        watcher = Watcher(system.settings)
        undone.callback(watcher.stop)
        undone.callback(wait_for_the_last, producer, watcher)
        undone.callback(producer.stop)
        undone.callback(restarts.undo)
        watcher.start()
        producer.start()
        _soak(options.minutes, samples, restarts)
    services, jobs = system.unhealthy(), system.wrong_jobs()
    verdict = judge(
        system.settings,
        mark,
        producer.acknowledged,
        producer.labels,
        begin,
        topics.ends(system.settings),
        began,
        by_customer=True,
    )
    found = growths(samples.series)
    problems = verdict.problems(
        jobs, [*services, *(f"{each} restarted" for each in sorted(samples.restarted))]
    ) + [problem for growth in found if (problem := growth.problem())]
    _write(options, began, samples, restarts.done, len(producer.acknowledged), found, problems)
    print("".join(f"! {problem}\n" for problem in problems), end="")
    print(f"{restarts.done} restarts, {len(problems)} problems: {options.output}/soak.html and soak.json")
    return 1 if problems else 0


def _soak(minutes: float, samples: Samples, restarts: Restarts) -> None:
    """Sample and restart until time is up."""
    began_s = time.monotonic()
    next_restart_s = began_s + RESTART_S
    while (now_s := time.monotonic()) < began_s + 60 * minutes:
        samples.take()
        if now_s >= next_restart_s:
            restarts.next()
            next_restart_s = max(next_restart_s + RESTART_S, time.monotonic())
            print(f"{time.strftime('%H:%M:%S')}  restart {restarts.done}", flush=True)
        time.sleep(max(now_s + SAMPLE_S - time.monotonic(), 0))


def _write(  # noqa: PLR0913, PLR0917 - what a run found
    options: argparse.Namespace,
    began: datetime,
    samples: Samples,
    restarts: int,
    acknowledged: int,
    found: Sequence[Growth],
    problems: Sequence[str],
) -> None:
    run = {
        "begun": began.isoformat(timespec="seconds"),
        "minutes": options.minutes,
        "rate_tps": options.rate,
        "restarts": restarts,
        "acknowledged": acknowledged,
        "problems": problems,
        "growths": [growth._asdict() | {"allowed": growth.allowed} for growth in found],
        "series": samples.told(),
    }
    (options.output / "soak.json").write_text(json.dumps(run, indent=1))
    (options.output / "soak.html").write_text(page(run))


def _parser() -> argparse.ArgumentParser:
    parser = new_parser("soak", __doc__)
    parser.add_argument(
        "--minutes", type=positive_float, default=MINUTES, metavar="N", help="(default: %(default)g)"
    )
    parser.add_argument(
        "--rate",
        type=positive_float,
        default=RATE_TPS,
        metavar="N",
        help="transactions a second (default: %(default)g)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
