"""The running lab, as the benchmarks use it: topics of their own, jobs of their own."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import yaml
from kafka import KafkaAdminClient, TopicPartition
from msgspec.structs import replace

from clients.kafka_clients import make_consumer
from flink_jobs.store.settings import S3, load_settings

ROOT = Path(__file__).parents[2]
# the module by which the role flink_job asks Flink
sys.path.append(str(ROOT / "ansible/roles/flink_job/module_utils"))

from flink_cluster import ENDED, Cluster  # noqa: E402 - see above

JOBS = Path(__file__).parent / "jobs"
SSH_CONFIG = ROOT / "build/lab/ssh_config"
REMOTE = "/opt/fraud-bench"
INSTALLED = "/opt/fraud-detection/venv/lib/python3.11/site-packages/flink_jobs"
PREFIX = "bench_"
PARTITIONS = 8
# of a job with an end
LONGEST_WORK_S = 3600
# prefix of the benchmarks' objects in the bucket of the lake
LAKE = "benchmark"


class BenchmarkError(RuntimeError):
    """Something could not be measured."""


def end_by_signals() -> None:
    """Let SIGTERM and SIGINT raise KeyboardInterrupt, so that a run that is ended gives the lab back.

    A shell without job control starts commands that ignore SIGINT.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def run(*command: str, cwd: Path = ROOT) -> str:
    """Run a command; return what it printed."""
    ran = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise BenchmarkError(f"{' '.join(command)} ended with {ran.returncode}:\n{ran.stdout}\n{ran.stderr}")
    return ran.stdout


def until(found: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Probe until `found` says yes; raise BenchmarkError after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not found():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"not within {timeout_s:.0f} s: {what}")
        time.sleep(0.1)


class Lab:
    """Hosts, Kafka and Flink.

    Attributes:
        hosts: what Terraform says of each, by name.
        settings: as the control node has them.
        flink: the JobManagers' REST interface.

    """

    def __init__(self) -> None:
        if not SSH_CONFIG.exists():
            raise BenchmarkError("there is no lab here to measure; make up brings one up")
        terraform = shutil.which("terraform") or "tofu"
        self.hosts = json.loads(run(terraform, "-chdir=terraform/lab", "output", "-json", "hosts"))
        self.settings = load_settings(ROOT / "build/lab/settings.json")
        jobmanagers = self.named("flink_jobmanager")
        # its client submits jobs, whichever JobManager leads
        self._jobmanager = jobmanagers[0]
        self.flink = Cluster(*(f"http://{self.hosts[name]['ip']}:8081" for name in jobmanagers))
        self._consumer = make_consumer(self.settings.kafka)
        described = yaml.safe_load((ROOT / "ansible/inventory/group_vars/all/application.yml").read_text())
        self._described = described["flink_jobs"]
        self._topics_made = 0
        self._admin = KafkaAdminClient(bootstrap_servers=self.settings.kafka.bootstrap_servers.split(","))

    def named(self, group: str) -> list[str]:
        """Names of the hosts of a group."""
        return sorted(name for name, host in self.hosts.items() if group in host["groups"])

    def ssh(self, host: str, command: str) -> str:
        """Run a command on a host; return what it printed."""
        return run("ssh", "-F", str(SSH_CONFIG), host, command)

    def copy(self, host: str, *paths: Path) -> None:
        """Copy files and folders of the control node to a host."""
        self.ssh(host, f"sudo install -d -o $(id -un) -m 0755 {REMOTE}")
        run("scp", "-qrF", str(SSH_CONFIG), *map(str, paths), f"{host}:{REMOTE}/")

    @contextmanager
    def to_itself(self) -> Iterator[None]:
        """Stop the lab's own jobs for as long as the block takes, and remove what the benchmarks made."""
        self._jobs("stopped")
        try:
            self._clear()
            self.copy(self._jobmanager, *JOBS.glob("*.py"))
            yield
        finally:
            self._clear()
            self._jobs("running")

    def _jobs(self, state: str) -> None:
        run("ansible-playbook", "playbooks/jobs.yml", "-e", f"flink_jobs_state={state}", cwd=ROOT / "ansible")

    def _clear(self) -> None:
        if ours := [topic for topic in self._admin.list_topics() if topic.startswith(PREFIX)]:
            self._admin.delete_topics(ours)
        self.remove_lake()
        for host in {self._jobmanager, *self.named("flink_taskmanager")}:
            self.ssh(host, f"sudo rm -rf {REMOTE}")

    # Kafka

    @contextmanager
    def topics(self, *names: str) -> Iterator[list[str]]:
        """Make empty topics for as long as the block takes, and give their whole names.

        They are deleted as soon as the block ends: a broker's work for its replicas grows with their number.
        """
        made = [self.topic(name) for name in names]
        yield made
        self._admin.delete_topics(made)

    def topic(self, name: str) -> str:
        """Make an empty topic, and return its name: a new one, as clients remember topics by their names."""
        self._topics_made += 1
        whole = f"{PREFIX}{name}_{self._topics_made}"
        self.ssh(
            self.named("kafka")[0],
            f"kafka-topics --create --topic {whole} --partitions {PARTITIONS} --replication-factor 3 "
            "--config min.insync.replicas=2",
        )
        until(lambda: self._consumer.partitions_for_topic(whole) is not None, 30, f"{whole} is there")
        return whole

    def consumer(self, topic: str, count: int) -> Any:  # noqa: ANN401 - kafka-python ships no types
        """Read the first `count` partitions of a topic from their end on."""
        consumer = make_consumer(self.settings.kafka)
        partitions = [TopicPartition(topic, number) for number in range(count)]
        consumer.assign(partitions)
        consumer.seek_to_end()
        for partition in partitions:
            consumer.position(partition)
        return consumer

    def records(self, *topics: str) -> int:
        """Count the records that were written to topics."""
        partitions = [TopicPartition(topic, number) for topic in topics for number in range(PARTITIONS)]
        return sum(self._consumer.end_offsets(partitions).values())

    def bytes_of(self, topic: str) -> int:
        """Size of a topic on the disks of one replica, in bytes."""
        told = self.ssh(self.named("kafka")[0], f"kafka-log-dirs --describe --topic-list {topic}")
        brokers = json.loads(told[told.index("{") :])["brokers"]
        parts = [part for broker in brokers for log in broker["logDirs"] for part in log["partitions"]]
        # several brokers have each partition
        return sum({part["partition"]: int(part["size"]) for part in parts}.values())

    def committed(self, group: str, topic: str) -> int:
        """Count the records of a topic that a consumer group has read."""
        offsets = self._admin.list_group_offsets({group: None})[group]
        return sum(found.offset for part, found in offsets.items() if part.topic == topic)

    # Flink

    @contextmanager
    def job(
        self,
        script: str,
        topics: dict[str, str],
        *arguments: str,
        parallelism: int | None = None,
        python_path: str | None = None,
    ) -> Iterator[str]:
        """Run a job for as long as the block takes.

        Args:
            script: the path on the JobManager's host.
            topics: laid over those of the settings.
            arguments: of the script.
            parallelism: by default a subtask on each TaskManager.
            python_path: where whoever submits finds other packages than those that are installed.

        """
        job_id = self._submit(script, topics, arguments, parallelism, python_path)
        try:
            state = self.flink.wait_for_state(job_id, {"RUNNING"}, 120)
            if state != "RUNNING":
                raise BenchmarkError(f"{script} is {state}: {self.flink.root_cause(job_id)}")
            yield job_id
        finally:
            self.flink.cancel(job_id, 60)

    def work_off(self, script: str, topics: dict[str, str], *arguments: str) -> None:
        """Let a job with an end do its work, as one subtask, which keeps the order of what it makes."""
        job_id = self._submit(script, topics, arguments, 1, None)
        try:
            state = self.flink.wait_for_state(job_id, ENDED, LONGEST_WORK_S)
            if state != "FINISHED":
                raise BenchmarkError(f"{script} is {state}: {self.flink.root_cause(job_id)}")
        finally:
            if self.flink.state(job_id) not in ENDED:
                self.flink.cancel(job_id, 60)

    def _submit(
        self,
        script: str,
        topics: dict[str, str],
        arguments: Iterable[str],
        parallelism: int | None,
        python_path: str | None,
    ) -> str:
        """Submit a job, told as for `job`; return its id."""
        buckets = self.settings.buckets
        settings = replace(
            self.settings,
            topics=replace(self.settings.topics, **topics),
            buckets=replace(buckets, datalake=f"{buckets.datalake}/{LAKE}"),
            # whoever submits needs no access; TaskManagers have settings of their own
            s3=S3("", "", ""),
        )
        properties = {
            "parallelism.default": parallelism or len(self.named("flink_taskmanager")),
            "execution.checkpointing.externalized-checkpoint-retention": "DELETE_ON_CANCELLATION",
            **self._described.get(Path(script).stem, {}).get("properties", {}),
        }
        options = " ".join(f'-D{name}="{value}"' for name, value in properties.items())
        python = f"PYTHONPATH={python_path}; " if python_path else ""
        submit = (
            f"cat >{REMOTE}/settings.json && sudo FRAUD_SETTINGS={REMOTE}/settings.json bash -c '"
            f"set -a; . /etc/flink/s3.env; {python}cd /; exec runuser -u flink -- flink run --detached "
            f"{options} --python {script} {' '.join(arguments)}'"
        )
        ran = subprocess.run(
            ["ssh", "-F", str(SSH_CONFIG), self._jobmanager, submit],
            input=msgspec.json.encode(settings).decode(),
            capture_output=True,
            text=True,
            check=False,
        )
        found = re.search(r"JobID ([0-9a-f]{32})", ran.stdout)
        if ran.returncode or not found:
            raise BenchmarkError(f"{script} was not submitted:\n{ran.stdout}\n{ran.stderr}")
        return found[1]

    def is_whole(self) -> bool:
        """Whether each TaskManager is there with all of its slots free."""
        overview = self.flink.request("/overview")
        return bool(
            overview["taskmanagers"] == len(self.named("flink_taskmanager"))
            and overview["slots-available"] == overview["slots-total"]
        )

    def slots(self) -> int:
        """Count the subtasks that a job may have."""
        return int(self.flink.request("/overview")["slots-total"])

    def latest_checkpoint(self, job_id: str) -> dict[str, Any]:
        """Tell of the last checkpoint that Flink made by itself or by `checkpoint`, as that does."""
        found: dict[str, Any] = self.flink.request(f"/jobs/{job_id}/checkpoints")["latest"]["completed"]
        return found

    def checkpoint(self, job_id: str) -> dict[str, Any]:
        """Make a full checkpoint; return what Flink says of it: `state_size`, `end_to_end_duration`, …."""
        trigger = self.flink.request(f"/jobs/{job_id}/checkpoints", "POST", {"checkpointType": "FULL"})
        path = f"/jobs/{job_id}/checkpoints/{trigger['request-id']}"
        until(lambda: self.flink.request(path)["status"]["id"] == "COMPLETED", 600, "the checkpoint ends")
        operation = self.flink.request(path)["operation"]
        if "checkpointId" not in operation:
            raise BenchmarkError(f"no checkpoint of {job_id}: {operation}")
        found: dict[str, Any] = self.flink.request(
            f"/jobs/{job_id}/checkpoints/details/{operation['checkpointId']}"
        )
        return found

    def kill_taskmanager(self) -> None:
        """End a TaskManager as a crash would; its unit starts another."""
        self.ssh(self.named("flink_taskmanager")[0], "sudo systemctl kill -s KILL flink-taskmanager@1")

    # the lake

    def lake_files(self) -> list[int]:
        """Sizes of the files that the benchmark has in the lake, in bytes."""
        return [
            int(size) for size in self._lake("[print(o.size) for o in found if '/part-' in o.key]").split()
        ]

    def remove_lake(self) -> None:
        """Remove these files."""
        self._lake("found.delete()")

    def _lake(self, work: str) -> str:
        """Do something with `found`, the benchmark's objects, as Flink's user of MinIO."""
        bucket = self.settings.buckets.datalake
        script = (
            "import boto3; from botocore.config import Config; "
            f"found = boto3.resource('s3', endpoint_url='{self.settings.s3.endpoint_url}')"
            f".Bucket('{bucket}').objects.filter(Prefix='{LAKE}/'); {work}"
        )
        python = "/opt/fraud-detection/venv/bin/python"
        return self.ssh(
            self._jobmanager, f'sudo bash -c "set -a; . /etc/flink/s3.env; exec {python} -c \\"{script}\\""'
        )
