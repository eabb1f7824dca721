#!/usr/bin/python3
"""Says whether Flink works on this host: its JobManager answers, its TaskManagers are registered and used.

The JobManager believes in a TaskManager that died until it misses its heartbeat, and one that comes back has
the same name. So what it believes is held against the processes that run now: a registration against the RPC
port, which is another at each start, and a task's start against that of the process. A task comes seconds
after its process, so clocks that differ by less do no harm.

flink-leader tells which JobManager leads; that one is asked. A job goes on where its checkpoints fail, so
this tells of them, from the third in a row on.
"""

from __future__ import annotations

import argparse
import functools
import http.client
import itertools
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONFIG = Path(os.environ.get("FLINK_CONF_DIR", "/etc/flink")) / "config.yaml"
# so many failed checkpoints in a row are an alarm
FAILED_CHECKPOINTS = 3
# a link for each service that starts with the host
ENABLED = Path("/etc/systemd/system/multi-user.target.wants")


@dataclass
class Process:
    """A TaskManager that runs: its name, its RPC port, and when it was started, in seconds since 1970."""

    name: str
    rpc_port: str
    started_s: int


class RunningJob(NamedTuple):
    """A job of the overview, and its vertices' tasks by name; all as Flink tells them."""

    job: dict[str, Any]
    vertices: list[tuple[str, list[dict[str, Any]]]]


def find_leader() -> str:
    """Give the URL of the REST interface of the JobManager that leads.

    Raises:
        OSError: none does, and why.

    """
    asked = subprocess.run(["flink-leader"], capture_output=True, text=True, check=False)  # noqa: S607 - on the PATH
    if asked.returncode:
        raise OSError(asked.stderr.strip())
    return asked.stdout.strip()


def own_jobmanager() -> str | None:
    """Give the URL of the JobManager that starts with this host, None if none does."""
    if not (ENABLED / "flink-jobmanager.service").exists():
        return None
    config = CONFIG.read_text()
    address, port = (
        re.search(rf"^rest\.{key}: ['\"]?([^\s'\"]+)", config, re.MULTILINE) for key in ("address", "port")
    )
    if address is None or port is None:
        sys.exit(f"{CONFIG} names no rest.address and rest.port")
    return f"http://{address[1]}:{port[1]}"


def ask(url: str, path: str) -> Any:  # noqa: ANN401 - JSON
    """Give the JobManager's answer; None if there is nothing of that name."""
    try:
        with urllib.request.urlopen(url + path, timeout=10) as answer:  # noqa: S310 - the cluster's own
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        if error.code == 404:  # noqa: PLR2004 - not found
            return None
        raise


def find_process(instance: str) -> Process | None:
    """Give the process of a TaskManager's unit, None if it does not run."""
    command = [
        "systemctl",
        "show",
        "--timestamp=unix",
        "--property=ActiveState,MainPID,ExecMainStartTimestamp",
    ]
    shown = subprocess.run(  # noqa: S603 - a fixed command
        [*command, f"flink-taskmanager@{instance}.service"], check=True, capture_output=True, text=True
    ).stdout
    unit = dict(line.split("=", 1) for line in shown.splitlines())
    if unit["ActiveState"] != "active" or unit["MainPID"] == "0":
        return None
    try:
        arguments = Path(f"/proc/{unit['MainPID']}/cmdline").read_text().split("\0")
    except OSError:
        return None
    given = dict(argument.split("=", 1) for argument in arguments if argument.startswith("taskmanager."))
    if "taskmanager.rpc.port" not in given:
        return None
    return Process(
        given.get("taskmanager.resource-id", f"{socket.gethostname()}-{instance}"),
        given["taskmanager.rpc.port"],
        int(unit["ExecMainStartTimestamp"].lstrip("@")),
    )


def registration_problems(get: Callable[[str], Any], processes: dict[str, Process | None]) -> Iterator[str]:
    """Say which of the processes, by instance, do not run or are not known to the JobManager."""
    for instance, process in processes.items():
        if process is None:
            yield f"flink-taskmanager@{instance} does not run"
        elif (known := get(f"/taskmanagers/{process.name}")) is None:
            yield f"{process.name} is not registered"
        elif f":{process.rpc_port}/" not in known["path"]:
            yield f"{process.name} is not registered yet; the one that is, {known['path']}, is gone"


def checkpoint_problems(get: Callable[[str], Any], job: dict[str, Any]) -> Iterator[str]:
    """Say when the last checkpoints of a job that ended have all failed."""
    history = (get(f"/jobs/{job['jid']}/checkpoints") or {}).get("history", [])
    ended = [each for each in history if each["status"] != "IN_PROGRESS"]
    failed = [*itertools.takewhile(lambda each: each["status"] == "FAILED", ended)]
    if len(failed) >= FAILED_CHECKPOINTS:
        whole = "at least " if len(failed) == len(ended) else ""
        yield (
            f"job {job['name']}: the last {whole}{len(failed)} checkpoints failed, the latest with: "
            f"{failed[0].get('failure_message') or 'no message'}"
        )


def running_jobs(get: Callable[[str], Any]) -> list[RunningJob]:
    """Give the jobs that run, each vertex with its tasks; a job that has just ended has none."""
    found = []
    for job in get("/jobs/overview")["jobs"]:
        if job["state"] == "RUNNING":
            vertices = (get(f"/jobs/{job['jid']}") or {"vertices": []})["vertices"]
            asked = [(vertex, get(f"/jobs/{job['jid']}/vertices/{vertex['id']}")) for vertex in vertices]
            tasks = [(vertex["name"], (answer or {"subtasks": []})["subtasks"]) for vertex, answer in asked]
            found.append(RunningJob(job, tasks))
    return found


def uneven_jobs(jobs: list[RunningJob], taskmanagers: int) -> Iterator[str]:
    """Say which jobs' subtasks share TaskManagers although there are others.

    Each has one Python, which takes one core: a job on half of them scores half as much. All tasks run, so
    this is told and is no failure.
    """
    for job, vertices in jobs:
        places = [[task["taskmanager-id"] for task in tasks] for _, tasks in vertices]
        widest = max(places, key=len, default=[])
        used = sorted(set(widest))
        if len(used) < min(len(widest), taskmanagers):
            yield (
                f"job {job['name']}: its {len(widest)} subtasks are on {', '.join(used)} only, "
                f"of {taskmanagers} TaskManagers"
            )


def job_problems(
    get: Callable[[str], Any],
    jobs: list[RunningJob],
    processes: dict[str, Process | None],
    wanted: list[str],
) -> Iterator[str]:
    """Say which tasks of wanted jobs do not run, and which of any job are on a process that is gone."""
    started_ms = {process.name: process.started_s * 1000 for process in processes.values() if process}
    for name in sorted(set(wanted) - {job["name"] for job, _ in jobs}):
        yield f"job {name} does not run"
    for job, vertices in jobs:
        if job["name"] in wanted:
            yield from checkpoint_problems(get, job)
        for vertex, tasks in vertices:
            for task in tasks:
                what, place = f"job {job['name']}: task {vertex}", task["taskmanager-id"]
                if task["status"] == "RUNNING" and task["start-time"] < started_ms.get(place, 0):
                    yield f"{what} is believed to run on {place} as it was before"
                elif task["status"] != "RUNNING" and job["name"] in wanted:
                    yield f"{what} is {task['status']}"


def main() -> None:
    """Probe once, or until all is well or time is up."""
    parser = argparse.ArgumentParser(prog="flink-health", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "instances", nargs="*", help="number of a TaskManager on this host; without, all of them"
    )
    parser.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="how long to wait for it")
    parser.add_argument(
        "--job", action="append", default=[], metavar="NAME", help="each task of this job runs, too"
    )
    arguments = parser.parse_args()
    own = own_jobmanager()
    units = sorted(ENABLED.glob("flink-taskmanager@*.service"))
    instances = arguments.instances or [unit.stem.partition("@")[2] for unit in units]

    deadline = time.monotonic() + arguments.wait
    while True:
        began = time.monotonic()
        url = own
        try:
            if own:
                ask(own, "/overview")
            url = None
            url = find_leader()
            get = functools.partial(ask, url)
            processes = {instance: find_process(instance) for instance in instances}
            jobs = running_jobs(get)
            found = [
                *registration_problems(get, processes),
                *job_problems(get, jobs, processes, arguments.job),
            ]
            told = []
            if arguments.job and not found:
                told = [*uneven_jobs(jobs, len(get("/taskmanagers")["taskmanagers"]))]
        except (OSError, http.client.HTTPException) as error:  # or it ends in the middle of an answer
            found = [f"the JobManager at {url} does not answer: {error}" if url else str(error)]
        if not found:
            print("healthy", *told, sep="\n")
            return
        if time.monotonic() >= deadline:
            print(*dict.fromkeys(found), sep="\n")
            sys.exit(1)
        # who waits for a cluster must not be what keeps its processors busy
        time.sleep(1 + 2 * (time.monotonic() - began))


if __name__ == "__main__":
    main()
