"""The system on the lab's hosts, as it is asked during a run: who leads, what runs, whether all is whole."""

import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from catalogue import named
from checks import jobs_wrong
from containers import LONG_TIMEOUT_S, ROOT, Containers, HostError, run

from flink_jobs.store.settings import load_settings

# the module by which the role flink_job asks Flink
sys.path.append(str(ROOT / "ansible/roles/flink_job/module_utils"))

from flink_cluster import ENDED, Cluster, JobError

JOBS = ("kafka_to_minio_job", "ml_inference_job")
FLINK_PORT = 8081
LEADER_WAIT_S = 60
HEALTH_TIMEOUT_S = 300


def wait_until(found: Callable[[], bool], timeout_s: float, pause_s: float = 0.2) -> bool:
    """Probe until `found` says yes, or time is up; tell whether it did."""
    deadline = time.monotonic() + timeout_s
    while not found():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause_s)
    return True


class System:
    """Hosts, Kafka, MinIO and Flink of the lab.

    Attributes:
        hosts: what Terraform says of each, by name.
        containers: these hosts.
        settings: as the control node has them.

    """

    def __init__(self) -> None:
        """Look at the lab.

        Raises:
            HostError: there is none, or a host is another lab's.
            SettingsError: its settings cannot be read.

        """
        terraform = shutil.which("terraform") or "tofu"
        told = run([terraform, "-chdir=terraform/lab", "output", "-json", "hosts"])
        self.hosts: dict[str, dict[str, Any]] = json.loads(told)
        self.containers = Containers(self.hosts)
        self.settings = load_settings(ROOT / "build/lab/settings.json")
        self._jobmanagers = named(self.hosts, "flink_jobmanager")
        self.flink = Cluster(*map(self._url, self._jobmanagers))

    def leader(self) -> str:
        """Host of the JobManager that leads; HostError where none does."""
        host = self._jobmanagers[-1]
        url = self.containers.shell(host, f"flink-leader --wait {LEADER_WAIT_S}").strip()
        return self._only(name for name in self._jobmanagers if self._url(name) == url)

    def controller(self) -> str:
        """Host of the controller of Kafka that leads; HostError where none does."""
        broker = named(self.hosts, "kafka")[0]
        status = self.containers.shell(broker, "kafka-metadata-quorum describe --status")
        found = re.search(r"^LeaderId: +(\d+)", status, re.MULTILINE)
        if not found:
            raise HostError(f"no controller leads: {status}")
        number = int(found[1])
        return self._only(name for name, host in self.hosts.items() if host["node_index"] == number)

    def job(self, name: str) -> str:
        """Id of the job of that name; HostError unless there is one."""
        found: list[str] = self.flink.active_jobs(name)
        if len(found) != 1:
            raise HostError(f"there are {len(found)} jobs {name}, not one")
        return found[0]

    def jobs_everywhere(self) -> list[list[str]]:
        """Names of the jobs that have not ended, as each JobManager tells them."""
        told = []
        for name in self._jobmanagers:
            jobs = Cluster(self._url(name)).request("/jobs/overview")["jobs"]
            told.append(sorted(job["name"] for job in jobs if job["state"] not in ENDED))
        return told

    def checkpoints(self, job_id: str) -> dict[str, Any]:
        """What Flink tells of a job's checkpoints."""
        found: dict[str, Any] = self.flink.request(f"/jobs/{job_id}/checkpoints")
        return found

    def trigger_checkpoint(self, job_id: str) -> None:
        """Let a job begin a full checkpoint, and do not wait for it."""
        self.flink.request(f"/jobs/{job_id}/checkpoints", "POST", {"checkpointType": "FULL"})

    def playbook(self, name: str, *options: str) -> str:
        """Run a playbook; return what it printed. HostError: it failed."""
        command = f"cd ansible && ansible-playbook playbooks/{name}.yml {' '.join(options)}"
        return run(["bash", "-c", command], LONG_TIMEOUT_S)

    def unhealthy(self) -> list[str]:
        """Wait until all is whole; say what is not, as `health.yml` does, and which units have failed."""
        found = []
        try:
            self.playbook("health", f"-e health_timeout_s={HEALTH_TIMEOUT_S}")
        except HostError as error:
            found = [f"not whole: {error}"]
        return found + self.containers.failed_services()

    def check_whole(self) -> None:
        """Wait until all is whole and each job runs once.

        Raises:
            HostError: it is not.

        """
        wrong = self.unhealthy() + self.wrong_jobs()
        if wrong:
            raise HostError(f"the system is not whole: {'; '.join(wrong)}")

    def wrong_jobs(self) -> list[str]:
        """Say which jobs run twice or not at all, whichever JobManager is asked."""
        try:
            return sorted({each for told in self.jobs_everywhere() for each in jobs_wrong(JOBS, told)})
        except JobError as error:
            return [f"a JobManager does not tell its jobs: {error}"]

    @staticmethod
    def _only(names: Iterable[str]) -> str:
        found = list(names)
        if len(found) != 1:
            raise HostError(f"who leads is not one of the lab's hosts: {found}")
        return found[0]

    def _url(self, name: str) -> str:
        return f"http://{self.hosts[name]['ip']}:{FLINK_PORT}"
