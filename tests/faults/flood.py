"""`make flood`: ten times the transactions that the lab can score, for two minutes, and what becomes of them.

First it measures what the lab scores of a backlog, then it sends the flood, and waits until nothing waits any
more. Meanwhile it watches memory, services and jobs; at the end records are checked as after a fault. Ends
with 1 where something did not hold, or the flood was a smaller one.
"""

import argparse
import json
import math
import shutil
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from typing import Any

from catalogue import SERVICES, named
from console_producer import console_producer
from containers import ROOT, HostError
from flood_load import CHUNK, SAMPLE, Load, pour
from flood_page import page
from flood_verdict import judge
from flood_watch import Watch
from harm import Harm, slowed, together
from injection import Injection, Journal
from lab_command import FAILURES, LAB, command, new_parser
from room import lacking
from samples import memory_bounds
from system import System, wait_until
from topics import Ends

from clients.command import positive_float
from training.options import positive

sys.path.append(str(ROOT / "tests/benchmarks"))

from machine import cpu_s
from measures import throughput

FACTOR, SECONDS = 10.0, 120.0
# All hosts and whoever sends share the processors of one machine, which cannot send ten times what it scores.
# So TaskManagers get this share of a processor each, from before their rate is measured until nothing waits
# any more: the same lab is measured, flooded and drained. Units of systemd are slowed, not hosts in Incus,
# as brokers live on the same hosts and have to take the flood.
ALLOWANCE_PERCENT = 15
# Sent a little faster: a flood is measured until Kafka has confirmed the last record.
AHEAD = 1.05
BACKLOG = 400_000
STARTED_S, BACKLOG_S = 120.0, 600.0
# how much longer than by its rate the lab may take for what waits, and for the lake's next commits
DRAIN_TIMES, DRAIN_MORE_S = 2.0, 300.0


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    options = _parser().parse_args(argv)
    return command("flood", lambda: _run(options), FAILURES, ended="TaskManagers have all their time again")


def _run(options: argparse.Namespace) -> int:
    system = System()
    journal = Journal(LAB / "faults-open.json")
    journal.mend_left(system.containers)
    system.check_whole()
    bounds = memory_bounds(system)
    began = datetime.now(UTC)
    load = Load(f"w{int(began.timestamp())}")
    injection = Injection("flood", _slowed(system, options.allowance), system.containers, journal)
    with closing(Ends(system.settings)) as ends, closing(Watch(system, ends)) as watch:
        with injection.prepared(), injection.broken(None):
            if injection.failed:
                raise HostError(f"TaskManagers cannot be slowed: {'; '.join(injection.failed)}")
            found = _flood(system, watch, load, options)
        # jobs and processes are those of the begin, or something restarted
        watch.samples.take()
        problems = [f"{each} restarted" for each in watch.restarted()] + injection.failed
        problems += [f"{topic} deleted records before they were checked" for topic in watch.removed()]
        services, jobs = system.unhealthy(), system.wrong_jobs()
        verdict, sampled = judge(system.settings, load, watch.begin, found.pop("begin"), ends.now(), began)
    peaks = highest(watch.samples.series, bounds)
    problems = verdict.problems(jobs, [*services, *problems]) + flood_problems(found) + memory_problems(peaks)
    if sampled < min(2 * SAMPLE, found["acknowledged"]) - found["refused"]:
        problems.append(f"{sampled} records were found to compute anew, {2 * SAMPLE} were sent")
    run = {
        "begun": began.isoformat(timespec="seconds"),
        **found,
        **verdict.counts(),
        "computed_anew": sampled,
        "memory": peaks,
        "problems": problems,
        "timeline": [(round(at - began.timestamp(), 1), came, scored) for at, came, scored in watch.timeline],
        "series": watch.samples.told(),
    }
    (options.output / "flood.json").write_text(json.dumps(run, indent=1) + "\n")
    (options.output / "flood.html").write_text(page(run))
    print("".join(f"! {problem}\n" for problem in problems), end="")
    print(f"{len(problems)} problems: {options.output}/flood.html and flood.json")
    return 1 if problems else 0


def _slowed(system: System, percent: int) -> Harm:
    _, unit, groups = SERVICES["taskmanager"]
    hosts = named(system.hosts, *groups) if percent else []
    return together([slowed(host, unit, percent) for host in hosts])


def _flood(system: System, watch: Watch, load: Load, options: argparse.Namespace) -> dict[str, Any]:
    """Measure, send, and wait until all is scored and in the lake; give what was found."""
    topic = system.settings.topics.transactions
    before = watch.sizes()
    watch.look()
    with console_producer(system, topic) as write:
        for _ in range(BACKLOG // CHUNK):
            write(load.lines())
    sustainable_tps = throughput(watch.scored, BACKLOG, cpu_s)["tps"]
    print(f"{sustainable_tps:,} records a second are scored", flush=True)
    if watch.until(lambda waits: waits <= 0, BACKLOG_S) is None:
        raise HostError(f"the backlog was not scored within {BACKLOG_S:g} s")
    rate_tps = AHEAD * options.factor * sustainable_tps
    lacks = lacking(
        before,
        watch.sizes(),
        1 + rate_tps * options.seconds / BACKLOG,
        watch.kept_bytes(),
        shutil.disk_usage(ROOT).free,
    )
    if lacks:
        raise HostError(f"no room for {rate_tps * options.seconds:,.0f} records: {'; '.join(lacks)}")
    print(f"sending {rate_tps:,.0f} a second for {options.seconds:g} s", flush=True)
    begin, came, sent, seconds = send(system, watch, load, rate_tps, options.seconds)
    waited = watch.look()
    print(f"{came:,} came, {waited:,} wait", flush=True)
    most_s = DRAIN_TIMES * waited / sustainable_tps + DRAIN_MORE_S
    drain_s = watch.until(lambda waits: waits <= 0, most_s)
    lake_s = watch.until(lambda _waits: watch.lake_waits() == 0, most_s)
    return {
        "begin": begin,
        "allowance_percent": options.allowance,
        "wanted_factor": options.factor,
        "sustainable_tps": sustainable_tps,
        # not rounded up to what was wanted
        "factor": math.floor(100 * came / seconds / sustainable_tps) / 100,
        "seconds": round(seconds, 1),
        "wanted_seconds": options.seconds,
        "flood_tps": round(came / seconds),
        "acknowledged": came,
        "refused": sent - came,
        "waiting": waited,
        "drain_s": None if drain_s is None else round(drain_s, 1),
        "lake_drain_s": None if drain_s is None or lake_s is None else round(drain_s + lake_s, 1),
    }


def send(
    system: System, watch: Watch, load: Load, rate_tps: float, seconds: float
) -> tuple[dict[int, int], int, int, float]:
    """Send the flood; tell where the topic ended before, how many came and were sent, and the seconds."""
    topic = system.settings.topics.transactions
    with ExitStack() as ended:
        pool = ended.enter_context(ThreadPoolExecutor(1, "flood"))
        stopped = threading.Event()
        with console_producer(system, topic) as write:
            ended.callback(stopped.set)
            # a JVM that starts is no flood
            first = watch.counts()[0]
            write(load.lines())
            if not wait_until(lambda: watch.counts()[0] == first + CHUNK, STARTED_S):
                raise HostError(f"the producer sent nothing within {STARTED_S:g} s")
            begin = watch.ends.now()[topic]
            began_s = time.monotonic()
            poured = pool.submit(pour, write, load, rate_tps, seconds, stopped.is_set)
            if watch.until(lambda _waits: poured.done(), 2 * seconds + STARTED_S) is None:
                raise HostError(f"the producer took no more records within {2 * seconds + STARTED_S:g} s")
        took_s = time.monotonic() - began_s
        sent = poured.result()
    return begin, watch.counts()[0] - first - CHUNK, sent, took_s


def flood_problems(found: Mapping[str, Any]) -> list[str]:
    """Say what of the flood itself was not as wanted."""
    problems = []
    if found["factor"] < found["wanted_factor"]:
        problems.append(
            f"the flood was {found['factor']:g} times the sustainable rate, not {found['wanted_factor']:g}: "
            "this machine sends no more; with an ALLOWANCE below "
            f"{found['allowance_percent']} the lab scores less"
        )
    if found["seconds"] < found["wanted_seconds"]:
        problems.append(f"the flood took {found['seconds']:g} s, not {found['wanted_seconds']:g}")
    if found["refused"] < 0:
        problems.append(f"others sent {-found['refused']} records meanwhile")
    if found["drain_s"] is None:
        problems.append("records still waited to be scored when no more time was given")
    elif found["lake_drain_s"] is None:
        problems.append("records were not in the lake when no more time was given")
    return problems


def highest(
    series: Mapping[tuple[str, str], Sequence[float]], bounds: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Give the most memory that each service took, beside what it may have; in MB."""
    return [
        {"of": of, "peak_mb": max(series["memory, MB", of]), "bound_mb": bound}
        for of, bound in sorted(bounds.items())
    ]


def memory_problems(peaks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say which services took more memory than they may."""
    return [
        f"{each['of']} took {each['peak_mb']:.0f} MB, {each['bound_mb']:.0f} MB are allowed"
        for each in peaks
        if each["peak_mb"] > each["bound_mb"]
    ]


def _parser() -> argparse.ArgumentParser:
    parser = new_parser("flood", __doc__)
    parser.add_argument(
        "--factor",
        type=positive_float,
        default=FACTOR,
        metavar="N",
        help="times the sustainable rate (default: %(default)g)",
    )
    parser.add_argument(
        "--seconds", type=positive_float, default=SECONDS, metavar="N", help="(default: %(default)g)"
    )
    parser.add_argument(
        "--allowance",
        type=_percent,
        default=ALLOWANCE_PERCENT,
        metavar="PERCENT",
        help="of a processor for each TaskManager; 0: they are not slowed (default: %(default)d)",
    )
    return parser


def _percent(text: str) -> int:
    return 0 if text == "0" else positive(text)


if __name__ == "__main__":
    sys.exit(main())
