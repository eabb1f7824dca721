import json
import time
from collections.abc import Callable, Generator
from typing import Any

import pytest
from testinfra.host import Host

PYTHON_JOB = "/opt/fraud-detection/count_job.py"


class NoAnswerError(AssertionError):
    """No JobManager answers, or none leads."""


def address_of(host: Host) -> str:
    return f"http://{host.ansible.get_variables()['ansible_host']}:8081"


class Cluster:
    """The hosts of JobManagers and TaskManagers, and the REST interface."""

    def __init__(self, jobmanagers: list[Host], taskmanagers: list[Host]) -> None:
        self.jobmanagers = jobmanagers
        self.taskmanagers = taskmanagers
        # its client submits jobs
        self.jobmanager = jobmanagers[0]
        self.urls = {address_of(host): host for host in jobmanagers}
        self.url = address_of(self.jobmanager)

    def get(self, path: str, url: str | None = None) -> Any:  # noqa: ANN401 - JSON
        """Answer of that JobManager, or of the first that gives one; each asks the one that leads."""
        told = ""
        for each in [url] if url else self.urls:
            answer = self.taskmanagers[0].run(f"curl -sSf --max-time 20 {each}{path}")
            if answer.rc == 0:
                return json.loads(answer.stdout)
            told += answer.stderr
        raise NoAnswerError(told)

    def leader(self) -> Host | None:
        """Host of the JobManager that leads; None if none does."""
        return self.urls.get(self.taskmanagers[0].run("flink-leader").stdout.strip())

    def names_of_running_jobs(self, url: str | None = None) -> list[str]:
        jobs = self.get("/jobs/overview", url)["jobs"]
        ended = ("FINISHED", "CANCELED", "FAILED")
        return sorted(job["name"] for job in jobs if job["state"] not in ended)

    def answer(self, options: str, path: str) -> tuple[str, int]:
        """Text and status of the answer to a request that curl makes with these options."""
        output = self.jobmanager.check_output(
            f"curl -sS --write-out ' %{{http_code}}' {options} {self.url}{path}"
        )
        text, _, status = output.rpartition(" ")
        return text, int(status)

    def submit(self, name: str) -> str:
        """Submit the Python job as an operator does; return its id."""
        output = self.jobmanager.check_output(
            f"runuser -u ops -- flink run -d -Dpipeline.name={name} -Dparallelism.default=2 "
            f"-Dpython.execution-mode=thread -py {PYTHON_JOB} --label {name}"
        )
        return output.split("JobID ")[1].split()[0]

    def tasks(self, job_id: str) -> list[dict[str, Any]]:
        vertices = self.get(f"/jobs/{job_id}")["vertices"]
        return [
            task
            for vertex in vertices
            for task in self.get(f"/jobs/{job_id}/vertices/{vertex['id']}")["subtasks"]
        ]

    def registered_port(self, host: Host) -> str:
        """RPC port by which the JobManager knows the host's TaskManager; empty if it knows none."""
        name = f"{host.backend.host}-1"
        known = [one for one in self.get("/taskmanagers")["taskmanagers"] if one["id"] == name]
        return known[0]["path"].split(":")[-1].split("/")[0] if known else ""

    def runs(self, job_id: str) -> bool:
        try:
            tasks = self.tasks(job_id)
        except NoAnswerError:
            return False
        # a job that is being initialized has no tasks yet
        return bool(tasks) and all(task["status"] == "RUNNING" for task in tasks)

    def counted(self, name: str) -> list[int]:
        """What the job printed, on all TaskManagers."""
        command = f"journalctl -u flink-taskmanager@1 -o cat --no-pager | grep -o '{name} .*' || true"
        lines = [line for host in self.taskmanagers for line in host.check_output(command).splitlines()]
        return [int(line.split("id=")[1]) for line in lines]


def main_pid(host: Host, unit: str) -> str:
    return str(host.check_output(f"systemctl show --property=MainPID --value {unit}"))


def rpc_port(host: Host) -> str:
    """RPC port of the TaskManager that runs on the host; empty if none runs."""
    pid = host.check_output("systemctl show --property=MainPID --value flink-taskmanager@1")
    arguments = host.run(f"tr '\\0' '\\n' < /proc/{pid}/cmdline").stdout.splitlines()
    return next((line.split("=")[1] for line in arguments if line.startswith("taskmanager.rpc.port=")), "")


def wait_until(true: Callable[[], bool], what: str, timeout_s: float = 240) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(2)


@pytest.fixture(scope="session")
def cluster(hosts_of: Callable[[str], dict[str, Host]]) -> Cluster:
    return Cluster(list(hosts_of("flink_jobmanager").values()), list(hosts_of("flink_taskmanager").values()))


@pytest.fixture(scope="session")
def jobs(cluster: Cluster) -> Generator[dict[str, str]]:
    """Two thread-mode jobs that share the TaskManagers, with names that the journal does not know yet."""
    names = [f"{name}-{time.time():.0f}" for name in ("first", "second")]
    submitted = {name: cluster.submit(name) for name in names}
    for name, job_id in submitted.items():
        wait_until(lambda job_id=job_id: cluster.runs(job_id), f"{name} runs")
    yield submitted
    for job_id in submitted.values():
        cluster.jobmanager.run(f"flink cancel {job_id}")
