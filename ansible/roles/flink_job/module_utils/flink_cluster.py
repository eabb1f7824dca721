"""The part of a Flink session cluster's REST interface that one job needs, whichever JobManager leads."""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.error
import urllib.request
import uuid
from http import HTTPStatus
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Container

# how long JobManagers may be without one that leads: while a host is lost, or ZooKeeper itself chooses one
FAILOVER_S = 120
# how long a job that has just started, or whose TaskManagers come back, may be without slots
SLOTS_S = 60
# what asks a JobManager that led a moment ago gets these answers
FAILOVER = re.compile(
    r"ongoing leader election|FencingTokenException|RecipientUnreachableException|AskTimeoutException"
    r"|EndpointNotStartedException"
)

ENDED = {"FINISHED", "CANCELED", "FAILED"}
# not one of Flink's: each task runs, but the job has fewer subtasks than are wanted
RUNNING_SMALLER = "RUNNING_SMALLER"
PARAMETER_PREFIX = "deployed."


class JobError(Exception):
    """What happened, and what to do about it."""


class NoAnswerError(JobError):
    """No JobManager is there, or none leads yet."""


class UnknownError(JobError):
    """The JobManager that leads knows nothing of that name."""


class Cluster:
    """The REST interface of the JobManagers, each of which answers for the one that leads."""

    def __init__(self, *urls: str) -> None:
        self._urls = [url.rstrip("/") for url in urls]
        self._answered = False

    @property
    def url(self) -> str:
        """URL of the JobManager that answered last."""
        return self._urls[0]

    def request(self, path: str, method: str = "GET", body: dict[str, Any] | None = None) -> Any:  # noqa: ANN401
        """Send a request and give the JSON of the answer.

        Once a JobManager has answered, a request is repeated until one leads again, FAILOVER_S at most: so it
        must do no harm twice.

        Raises:
            NoAnswerError: no JobManager is there, or none leads in time.
            UnknownError: there is nothing of that name.
            JobError: the request is refused.

        """
        deadline = time.monotonic() + FAILOVER_S
        while True:
            try:
                return self._ask_each(path, method, body)
            except NoAnswerError:
                if not self._answered or time.monotonic() > deadline:
                    raise
            time.sleep(1)

    def _ask_each(self, path: str, method: str, body: dict[str, Any] | None) -> Any:  # noqa: ANN401 - JSON
        """Ask the JobManagers in turn, the one that answered last first."""
        last = NoAnswerError("There is no JobManager to ask.")
        for url in [*self._urls]:
            try:
                answer = self._ask(url, path, method, body)
            except NoAnswerError as error:
                last = error
            else:
                self._urls.sort(key=url.__ne__)
                return answer
        raise last

    def _ask(self, url: str, path: str, method: str, body: dict[str, Any] | None) -> Any:  # noqa: ANN401 - JSON
        request = urllib.request.Request(  # noqa: S310 - the URL is the operator's
            url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                content = json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            self._answered = True
            detail = error.read().decode(errors="replace")
            # a JobManager answers 503 while it starts, and while none leads
            kind: type[JobError] = UnknownError if error.code == HTTPStatus.NOT_FOUND else JobError
            if error.code == HTTPStatus.SERVICE_UNAVAILABLE or is_failover(detail):
                kind = NoAnswerError
            raise kind(f"{method} {url}{path} answered {error.code}: {detail[:500]}") from error
        except (OSError, http.client.HTTPException) as error:  # or it ends in the middle of an answer
            raise NoAnswerError(
                f"The JobManager at {url} does not answer ({error}). See: journalctl -u flink-jobmanager"
            ) from error
        self._answered = True
        return content

    def active_jobs(self, name: str) -> list[str]:
        """Give the ids of the jobs of that name which have not ended."""
        jobs = self.request("/jobs/overview")["jobs"]
        return [job["jid"] for job in jobs if job["name"] == name and job["state"] not in ENDED]

    def configuration(self) -> dict[str, str]:
        """Give the cluster's configuration, without secrets."""
        return {entry["key"]: entry["value"] for entry in self.request("/jobmanager/config")}

    def deployed(self, job_id: str) -> dict[str, str]:
        """Give the fingerprint that the job was submitted with; {} if it tells none.

        With the adaptive scheduler a job without slots tells no parameters of its own. It is asked until it
        has some, SLOTS_S at most.
        """
        deadline = time.monotonic() + SLOTS_S
        while not (found := self._fingerprint(job_id)):
            if self.request(f"/jobs/{job_id}")["state"] in ENDED or time.monotonic() > deadline:
                break
            time.sleep(1)
        return found

    def _fingerprint(self, job_id: str) -> dict[str, str]:
        config = self.request(f"/jobs/{job_id}/config").get("execution-config") or {}
        return {
            key.removeprefix(PARAMETER_PREFIX): value
            for key, value in config.get("user-config", {}).items()
            if key.startswith(PARAMETER_PREFIX)
        }

    def slots(self) -> int:
        """Give the number of slots, in use or free, of the TaskManagers that are there."""
        return int(self.request("/overview")["slots-total"])

    def slots_of_others(self, known: Container[str]) -> dict[str, int]:
        """Give how many slots active jobs have, or wait for, by name; without those of known names."""
        held: dict[str, int] = {}
        for job in self.request("/jobs/overview")["jobs"]:
            if job["name"] not in known and job["state"] not in ENDED:
                slots = _subtasks(self.request(f"/jobs/{job['jid']}"))
                held[job["name"]] = held.get(job["name"], 0) + slots
        return held

    def state(self, job_id: str, subtasks: int = 0) -> str:
        """Give RUNNING only if each task is; a job as a whole is RUNNING long before that.

        One with fewer subtasks than these is RUNNING_SMALLER.
        """
        job = self.request(f"/jobs/{job_id}")
        if job["state"] == "RUNNING":
            if any(vertex["status"] != "RUNNING" for vertex in job["vertices"]):
                return "INITIALIZING"
            if subtasks and _subtasks(job) < subtasks:
                return RUNNING_SMALLER
        return str(job["state"])

    def wait_for_state(self, job_id: str, wanted: set[str], timeout_s: float, subtasks: int = 0) -> str:
        """Wait until the job is in one of the states, or has ended; give the last state seen.

        With the adaptive scheduler a job may begin with fewer subtasks, and take up all once it has slots.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            state = self.state(job_id, subtasks)
            if state in wanted or state in ENDED or time.monotonic() > deadline:
                return state
            time.sleep(1)

    def root_cause(self, job_id: str) -> str:
        """Give the innermost cause of the latest failure."""
        history = self.request(f"/jobs/{job_id}/exceptions?maxExceptions=1").get("exceptionHistory", {})
        entries = history.get("entries", [])
        if not entries:
            # only here is what the adaptive scheduler met before the first task, as state without a place
            result = self.request(f"/jobs/{job_id}/execution-result").get("job-execution-result", {})
            if "failure-cause" in result:
                return f"The job failed: {innermost_cause(result['failure-cause']['stack-trace'])}"
            tasks = {vertex["status"] for vertex in self.request(f"/jobs/{job_id}")["vertices"]}
            if "INITIALIZING" in tasks:
                return (
                    "No task has failed; some are still preparing their state, and go on doing so. The "
                    "TaskManagers' logs say how far they are. Run this again to wait for them."
                )
            return "No task has failed; are there enough free slots?"
        task = entries[0].get("taskName") or "the job"
        return f"{task} failed: {innermost_cause(entries[0]['stacktrace'])}"

    def savepoints(self, name: str) -> list[tuple[float, str, int]]:
        """Give (time, path, form) of the savepoints that ended jobs of that name left, wherever they lie.

        The form is that of the state as the job names it, else 1.
        """
        left = {job_id: latest.get("savepoint") for job_id, latest in self._ended_jobs(name).items()}
        return [
            (
                savepoint["latest_ack_timestamp"] / 1000,
                savepoint["external_path"],
                int(self.deployed(job_id).get("state", 1)),
            )
            for job_id, savepoint in left.items()
            if savepoint and not savepoint.get("discarded")
        ]

    def made_by(self, name: str, snapshot: str) -> dict[str, str]:
        """Give the fingerprint of the ended job of that name which left a snapshot; {} if it is forgotten."""
        for job_id, latest in self._ended_jobs(name).items():
            left = [latest.get(kind) or {} for kind in ("savepoint", "completed")]
            # file:/flink and file:///flink are the same folder
            if PurePath(snapshot).parts[-2:] in [
                PurePath(each.get("external_path") or "").parts[-2:] for each in left
            ]:
                return self.deployed(job_id)
        return {}

    def _ended_jobs(self, name: str) -> dict[str, dict[str, Any]]:
        """Give the latest snapshots, by kind, of each ended job of that name, by its id."""
        jobs = self.request("/jobs/overview")["jobs"]
        ended = [job["jid"] for job in jobs if job["name"] == name and job["state"] in ENDED]
        return {each: self.request(f"/jobs/{each}/checkpoints").get("latest", {}) for each in ended}

    def stop_with_savepoint(self, job_id: str, folder: str | None, timeout_s: float) -> str | None:
        """Stop the job and give the savepoint's path; None if another JobManager leads meanwhile.

        Then nobody knows how far it came. The new leader goes on with the job, unless it had stopped.
        """
        # of a request that is repeated, Flink knows by this that it has it already
        trigger = uuid.uuid4().hex
        body = {"drain": False, "targetDirectory": folder, "triggerId": trigger}
        self.request(f"/jobs/{job_id}/stop", "POST", body)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                savepoint = self.request(f"/jobs/{job_id}/savepoints/{trigger}")
            except UnknownError:
                return None
            if savepoint["status"]["id"] == "COMPLETED":
                operation = savepoint["operation"]
                if "location" in operation:
                    self.wait_for_state(job_id, ENDED, timeout_s)
                    return str(operation["location"])
                if is_failover(operation["failure-cause"]["stack-trace"]):
                    return None
                cause = innermost_cause(operation["failure-cause"]["stack-trace"])
                raise JobError(f"Job {job_id} could not be stopped with a savepoint: {cause}")
            time.sleep(1)
        raise JobError(
            f"Job {job_id} was not stopped within {timeout_s:.0f} s. "
            f"See its page: {self.url}/#/job/running/{job_id}"
        )

    def cancel(self, job_id: str, timeout_s: float) -> None:
        """Cancel a job that cannot make a savepoint; its checkpoints stay."""
        self.request(f"/jobs/{job_id}?mode=cancel", "PATCH")
        state = self.wait_for_state(job_id, ENDED, timeout_s)
        if state not in ENDED:
            raise JobError(f"Job {job_id} is still {state} {timeout_s:.0f} s after it was cancelled.")


def _subtasks(job: dict[str, Any]) -> int:
    """Give how many subtasks the widest of a job's vertices has: the job has a slot for each."""
    return max((int(vertex["parallelism"]) for vertex in job["vertices"]), default=0)


def is_failover(text: str) -> bool:
    """Tell whether an error comes of a JobManager that no longer leads, or of none that leads yet."""
    return bool(FAILOVER.search(text))


def innermost_cause(stacktrace: str) -> str:
    """Give the message of a stack trace's last cause, without the frames."""
    causes = re.split(r"^Caused by: ", stacktrace, flags=re.MULTILINE)
    lines = [line for line in causes[-1].splitlines() if not re.match(r"\s+(at |\.\.\. \d+ more)", line)]
    return "\n".join(lines[-12:]).strip()[:2000]
