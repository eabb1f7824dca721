#!/usr/bin/python
"""Ansible module: one PyFlink job on a session cluster, kept as described without losing its state."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.flink_cluster import (
    ENDED,
    PARAMETER_PREFIX,
    RUNNING_SMALLER,
    Cluster,
    JobError,
    NoAnswerError,
    innermost_cause,
    is_failover,
)
from ansible.module_utils.flink_lock import sole_run
from ansible.module_utils.flink_rescale import check_rescale, check_shards
from ansible.module_utils.flink_snapshots import (
    Snapshot,
    in_own_folder,
    list_snapshots,
    read_environment,
    snapshot_folder,
)

DOCUMENTATION = r"""
module: flink_job
short_description: A PyFlink job on a Flink session cluster
description:
  - Submits a job, and leaves it alone while it does not change. A changed job is stopped with a savepoint,
    from which the new one resumes.
  - A job that is not running resumes from its latest checkpoint or savepoint, if there is one.
  - The job itself keeps its description, as global job parameters; there is no state file.
  - Runs on the same host wait for one another, until each has submitted or stopped the job. One on another
    host that submits it as well finds two jobs, and fails.
  - Jobs are found by name, whichever JobManager leads. A submission that failed because another leads now is
    repeated only if no job of that name came of it.
  - Runs on a host with Flink's client. Finding snapshots on S3 needs boto3 in the interpreter that runs
    the module.
options:
  name:
    description: The job's name. Its snapshots lie in a folder of this name.
    type: str
    required: true
  script:
    description: The Python file that builds and submits exactly one job.
    type: path
    required: true
  arguments:
    description: Command line arguments of the script.
    type: list
    elements: str
    default: []
  arguments_without_state:
    description:
      - Further arguments where the job begins without a snapshot. They are no part of its description.
    type: list
    elements: str
    default: []
  properties:
    description: Flink options of this job.
    type: dict
    default: {}
  shards:
    description:
      - How many groups of records a job gathers that keeps its state under any parallelism, else 0.
        The script gets it as C(--shards=N). It is a multiple of the parallelism, which goes from 1 to 32.
    type: int
    default: 0
  shards_before:
    description: Shards of a running job of a version that does not name them.
    type: int
    default: 0
  others:
    description:
      - Subtasks that other jobs are to have which the same run looks after, by their names. A job is not
        replaced by one with more subtasks than these and all other jobs leave slots for.
    type: dict
    default: {}
  keeps_histories:
    description:
      - Whether the job's state has something of each transaction, so that it is wrong without those that
        Kafka deleted before the job had read them. Then such a job does not go on from its snapshot.
      - Needs the package C(flink_jobs) in the interpreter that runs the module.
    type: bool
    default: false
  code:
    description: Files, and folders of Python files, whose content counts as part of the job.
    type: list
    elements: path
    default: []
  settings:
    description:
      - JSON file that the job reads. If one of its sections changes, the job has changed; the job keeps only
        digests of the sections.
    type: path
  state:
    description:
      - C(stopped) stops the job with a savepoint.
      - C(current) stops a changed job with a savepoint, and starts none, so that the job of one version never
        meets services of the next.
    type: str
    choices: [running, current, stopped]
    default: running
  restore:
    description:
      - Where a job that is not running begins, C(latest) snapshot or C(none).
      - With C(none), one that is there is refused, and neither stopped nor replaced.
    type: str
    choices: [latest, none]
    default: latest
  state_format:
    description:
      - Number of the form in which the job keeps its state. A running job whose state this one cannot read is
        neither stopped nor replaced, and a snapshot of such state is not begun with.
      - From form 2 on, the folder of the snapshots has it in its name.
    type: int
    default: 1
  state_formats_read:
    description: Numbers of the other forms that it can read.
    type: list
    elements: int
    default: []
  allow_non_restored_state:
    description: Drop state of the snapshot that the new job has no place for.
    type: bool
    default: false
  wait:
    description:
      - Wait until all tasks are running, and fail if they do not get there. If the job has fewer subtasks
        than it is to have, warn.
    type: bool
    default: true
  timeout_s:
    description: How long submitting, a savepoint, the wait, and another run on the same job may each take.
    type: int
    default: 300
  rest_urls:
    description: URLs of the REST interfaces of the JobManagers, each of which answers for the one that leads.
    type: list
    elements: str
    required: true
  cluster_id:
    description:
      - C(high-availability.cluster-id) of the JobManagers that are to run the job, empty without any.
        Where those that run now have another, C(current) stops the job whether it changed or not, as they
        restart without it.
    type: str
    default: ""
  flink:
    description: The client.
    type: path
    default: /usr/local/bin/flink
  user:
    description: User that the client runs as.
    type: str
    default: flink
  environment_file:
    description: File of NAME=value lines, given to the client and used to reach snapshots on S3.
    type: path
  lock_dir:
    description: Folder of the lock that keeps two runs apart; only root may write there.
    type: path
    default: /run
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
"""

EXAMPLES = r"""
- name: Count words
  flink_job:
    name: word_count
    script: /opt/shop/word_count.py
    arguments: [--topic=words]
    properties: {parallelism.default: 2}
    rest_urls: [http://192.0.2.1:8081, http://192.0.2.2:8081]
"""

RETURN = r"""
job_id:
  description: Id of the job.
  type: str
  returned: when it is known
action:
  description: What was done. One of unchanged, submitted, resumed, replaced, stopped.
  type: str
  returned: success
snapshot:
  description: Checkpoint or savepoint that the job resumed from or stopped with.
  type: str
  returned: when there is one
"""

# exit code of the command "timeout"
TIMED_OUT = 124
# how long a failing job may take to recover, so that it can make a savepoint
RECOVERY_S = 30
# in which a job gets all its slots: it may begin with fewer, and takes up more after its next checkpoint
FULL_WITHIN_S = 90
# how often what a failing JobManager interrupts is tried
ATTEMPTS = 3
# states of a job that nobody has cancelled
STAYS = {"INITIALIZING", "CREATED", "RUNNING", "RESTARTING", "FAILING", "RECONCILING", "SUSPENDED"}


def client_failure(output: str) -> str:
    """Give the cause of the client's failure: the script's traceback, or else Java's last cause."""
    before, traceback, after = output.partition("Traceback (most recent call last)")
    if not traceback:
        return innermost_cause(before)
    return innermost_cause(traceback + re.split(r"^(?:WARN|ERROR)", after, flags=re.MULTILINE)[0])


def digest(*parts: bytes) -> str:
    """Give a short fingerprint."""
    joined = hashlib.sha256()
    for part in parts:
        joined.update(hashlib.sha256(part).digest())
    return joined.hexdigest()[:16]


def code_digest(paths: list[str]) -> str:
    """Give a fingerprint of files, and of the Python files in folders."""
    parts: list[bytes] = []
    for path in sorted(paths):
        folder = Path(path)
        if not folder.exists():
            raise JobError(f"{path} is missing: is the Python application installed on this host?")
        # behind a link, another place is another environment with packages of its own
        parts.append(os.fsencode(folder.resolve()))
        for file in sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]:
            parts += [os.fsencode(os.path.relpath(file, path)), file.read_bytes()]
    return digest(*parts)


def settings_digests(path: str | None) -> dict[str, str]:
    """Give a fingerprint of each section of the settings."""
    if not path:
        return {}
    try:
        sections = json.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise JobError(
            f"{path} cannot be read ({error}). Write it anew with: ansible-playbook playbooks/flink.yml"
        ) from error
    return {
        f"settings.{section}": digest(json.dumps(content, sort_keys=True).encode())
        for section, content in sections.items()
    }


def fingerprint(parameters: dict[str, Any]) -> dict[str, str]:
    """Describe the job, part by part."""
    shards = parameters["shards"]
    return {
        **settings_digests(parameters["settings"]),
        **({"shards": str(shards), "parallelism": str(parallelism(parameters))} if shards else {}),
        "state": str(parameters["state_format"]),
        "code": code_digest([parameters["script"], *parameters["code"]]),
        "arguments": digest(json.dumps([parameters["script"], *parameters["arguments"]]).encode()),
        "properties": digest(json.dumps(parameters["properties"], sort_keys=True, default=str).encode()),
    }


def parallelism(parameters: dict[str, Any]) -> int:
    """Give the number of subtasks that the job is to have."""
    return int(parameters["properties"].get("parallelism.default", 1))


class Deployment:
    """One run of the module."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.parameters = module.params
        self.name: str = module.params["name"]
        self.timeout_s: float = module.params["timeout_s"]
        self.cluster = Cluster(*module.params["rest_urls"])
        self.environment = read_environment(module.params["environment_file"])

    @cached_property
    def configuration(self) -> dict[str, str]:
        """Give the cluster's options, with the job's own laid over them."""
        own = {key: str(value) for key, value in self.parameters["properties"].items()}
        return {**self.cluster.configuration(), **own}

    def folder(self, option: str, form: int) -> str | None:
        """Give the job's own folder under one of the cluster's, for state in that form."""
        base = self.configuration.get(option)
        return snapshot_folder(base, self.name, form) if base else None

    def latest_snapshot(self) -> str | None:
        """Give the youngest checkpoint or savepoint of the job; refuse one whose state it cannot read."""
        options = ("execution.checkpointing.dir", "execution.checkpointing.savepoint-dir")
        bases = {self.configuration[option] for option in options if self.configuration.get(option)}
        snapshots = [
            snapshot
            for base in bases
            for snapshot in list_snapshots(base, self.name, self.configuration, self.environment)
        ]
        # The JobManager remembers savepoints that are there no more; those in the job's folders were just
        # found. One by `flink stop` is not among them: it lies in the folder above.
        snapshots += [
            found
            for found in (Snapshot(*told) for told in self.cluster.savepoints(self.name))
            if not any(in_own_folder(found.path, base, self.name) for base in bases)
        ]
        if not snapshots:
            return None
        latest = max(snapshots)
        if latest.form not in self.readable:
            raise JobError(
                f"The newest snapshot of {self.name}, {latest.path}, has state in form {latest.form}, and "
                f"this version reads {', '.join(map(str, self.readable))} only. Nothing was started. Go back "
                "to the version that made it; or give up the state: "
                f"ansible-playbook site.yml -e flink_jobs_anew={self.name}"
            )
        return latest.path

    @property
    def readable(self) -> list[int]:
        """Numbers of the forms of state that this version reads."""
        return sorted({self.parameters["state_format"], *self.parameters["state_formats_read"]})

    def options(self, made_of: dict[str, str]) -> dict[str, str]:
        """Give the Flink options to submit with."""
        own = {f"{PARAMETER_PREFIX}{part}": value for part, value in made_of.items()}
        options = {
            **{key: str(value) for key, value in self.parameters["properties"].items()},
            "pipeline.name": self.name,
            "pipeline.global-job-parameters": ",".join(f"{key}:{value}" for key, value in own.items()),
        }
        for option in ("execution.checkpointing.dir", "execution.checkpointing.savepoint-dir"):
            if folder := self.folder(option, self.parameters["state_format"]):
                options[option] = folder
        return options

    def command(self, snapshot: str | None, made_of: dict[str, str]) -> list[str]:
        """Give the command that submits the job."""
        command = ["timeout", str(int(self.timeout_s)), self.parameters["flink"], "run", "--detached"]
        command += [f"-D{key}={value}" for key, value in self.options(made_of).items()]
        if snapshot:
            # Flink's client lays the defaults of these options over what -D says of them.
            # The job owns the snapshot from then on, and deletes it when newer checkpoints need it no longer.
            command += ["--fromSavepoint", snapshot, "--claimMode", "CLAIM"]
            if self.parameters["allow_non_restored_state"]:
                command += ["--allowNonRestoredState"]
        command += ["--python", self.parameters["script"], *self.parameters["arguments"]]
        if self.parameters["shards"]:
            command += [f"--shards={self.parameters['shards']}"]
        if not snapshot:
            command += self.parameters["arguments_without_state"]
        return command

    def submit(self, snapshot: str | None, made_of: dict[str, str], lock: int) -> str:
        """Run the client, which gets the lock too, and give the id of the job."""
        command = self.command(snapshot, made_of)
        for _ in range(ATTEMPTS):
            code, out, err = self.module.run_command(
                ["runuser", "-u", self.parameters["user"], "--", *command],
                environ_update=self.environment,
                cwd="/",
                # the client may outlive this run
                pass_fds=[lock],
            )
            if code == 0:
                break
            # the answer may have been lost with the JobManager that gave it
            job_id = self.the_one(self.cluster.active_jobs(self.name))
            if job_id and self.cluster.deployed(job_id) == made_of:
                return job_id
            if not is_failover(out + err):
                break
        if code == TIMED_OUT:
            self.refuse(f"the client was still busy after {self.timeout_s:.0f} s", command)
        if code != 0:
            self.refuse(client_failure(out + err), command)
        ids = re.findall(r"JobID ([0-9a-f]{32})", out)
        if len(ids) != 1:
            self.refuse(f"{len(ids)} jobs came out of the script, one was expected", command)
        return str(ids[0])

    def refuse(self, reason: str, command: list[str]) -> NoReturn:
        """Say why the job was not submitted."""
        raise JobError(f"{self.name} was not submitted: {reason}\nThe command was: {shlex.join(command)}")

    def release(self, job_id: str, deployed: dict[str, str]) -> str | None:
        """Stop the running job, which has that fingerprint; give the snapshot to go on from.

        A job that had no slots, and so told nothing, is asked once more when it has some.
        """
        for _ in range(ATTEMPTS):
            if self.cluster.wait_for_state(job_id, {"RUNNING"}, RECOVERY_S) != "RUNNING":
                break
            if not deployed:
                deployed = self.cluster.deployed(job_id)
                self.check_former(deployed)
            folder = self.folder("execution.checkpointing.savepoint-dir", self.form(deployed))
            if snapshot := self.cluster.stop_with_savepoint(job_id, folder, self.timeout_s):
                return snapshot
            if job_id not in self.cluster.active_jobs(self.name):
                # it had stopped before another JobManager led
                return self.latest_snapshot()
        if not deployed and self.parameters["state"] != "stopped":
            # of a job that never told its form, only the newest snapshot does: one of another is refused
            self.latest_snapshot()
        # A job that keeps failing makes no savepoint.
        self.cluster.cancel(job_id, self.timeout_s)
        return self.latest_snapshot()

    def await_running(self, job_id: str, snapshot: str | None) -> None:
        """Fail unless all tasks get to run; warn where the job has fewer subtasks than it is to have."""
        state = self.cluster.wait_for_state(job_id, {"RUNNING"}, self.timeout_s)
        if state == "RUNNING":
            self.warn_of_fewer(job_id)
            return
        origin = f" It was to resume from {snapshot}." if snapshot else ""
        raise JobError(
            f"{self.name} (job {job_id}) is {state} and not RUNNING "
            f"after at most {self.timeout_s:.0f} s.{origin}\n"
            f"{self.cluster.root_cause(job_id)}\n"
            f"See {self.cluster.url}/#/job/running/{job_id}/exceptions"
        )

    def the_one(self, active: list[str]) -> str | None:
        """Give the only id, if there is one."""
        if len(active) > 1:
            # `flink cancel` returns before the job has ended
            states = {each: self.cluster.wait_for_state(each, STAYS, RECOVERY_S) for each in active}
            active = [each for each in active if states[each] not in ENDED]
        if len(active) > 1:
            raise JobError(
                f"{len(active)} jobs named {self.name} are running, one is wanted. "
                f"Keep one and end the others: {' or '.join(f'flink cancel {job_id}' for job_id in active)}"
            )
        return active[0] if active else None

    def warn_of_fewer(self, job_id: str) -> None:
        """Warn where the job stays with fewer subtasks than wanted, as while a TaskManager is down."""
        subtasks, patience_s = parallelism(self.parameters), min(FULL_WITHIN_S, self.timeout_s)
        if self.cluster.wait_for_state(job_id, {"RUNNING"}, patience_s, subtasks) == RUNNING_SMALLER:
            self.module.warn(
                f"{self.name} (job {job_id}) runs, but has found no slots for {subtasks} subtasks within "
                f"{patience_s:.0f} s. Once there are slots, it takes up all after its next checkpoint: "
                "bring back TaskManagers that are down (ansible-playbook playbooks/health.yml names them), "
                "end other jobs (flink list), or choose fewer subtasks"
            )

    def run(self) -> dict[str, Any]:
        """Bring the job to the wanted state, and give the result."""
        if self.module.check_mode:
            return self.bring_about(None)
        with sole_run(self.parameters["lock_dir"], self.name, self.timeout_s) as lock:
            result = self.bring_about(lock)
        if self.parameters["state"] == "running" and self.parameters["wait"]:
            self.await_running(result["job_id"], result.get("snapshot"))
        return result

    def bring_about(self, lock: int | None) -> dict[str, Any]:
        """Act under the lock; without a lock, only report what would be done."""
        state = self.parameters["state"]
        try:
            job_id = self.the_one(self.cluster.active_jobs(self.name))
        except NoAnswerError:
            if state != "current":
                raise
            job_id = None  # without a JobManager no job runs
        # a job without slots is asked for a minute, so once
        deployed = self.cluster.deployed(job_id) if job_id else {}
        if state == "stopped" or (state == "current" and not job_id):
            return self.stop(job_id, deployed)

        self.check_absent(job_id)
        wanted = fingerprint(self.parameters)
        stays = state != "current" or self.is_remembered()
        if job_id and deployed == wanted and stays:
            return {"changed": False, "action": "unchanged", "job_id": job_id}

        if job_id:
            self.check_state(deployed)
            self.check_slots(deployed)
        self.check_shards(deployed)
        result: dict[str, Any] = {"changed": True, "diff": {"before": deployed, "after": wanted}}
        if state == "current":
            return {**result, **self.stop(job_id, deployed)}
        if lock is None:
            return {**result, "action": "replaced" if job_id else "submitted"}
        if job_id:
            snapshot = self.release(job_id, deployed)
        else:
            snapshot = self.latest_snapshot() if self.parameters["restore"] == "latest" else None
            if snapshot:
                self.check_shards(self.cluster.made_by(self.name, snapshot))
                self.check_topic(snapshot)
        action = "replaced" if job_id else "resumed" if snapshot else "submitted"
        new_id = self.submit(snapshot, wanted, lock)
        # somebody may have submitted one by hand meanwhile
        self.the_one([*{new_id, *self.cluster.active_jobs(self.name)}])
        return {**result, "action": action, "job_id": new_id, "snapshot": snapshot}

    def is_remembered(self) -> bool:
        """Tell whether JobManagers go on with the job once they restart with their new options."""
        running = self.cluster.configuration().get("high-availability.cluster-id", "")
        return bool(running == self.parameters["cluster_id"])

    def form(self, deployed: dict[str, str]) -> int:
        """Give the form of a job's state.

        Versions from before there was a second do not name it. One that tells nothing is taken for this
        version's own: in form 1's folder, a version from before would begin with state that it cannot read.
        """
        return int(deployed.get("state", 1)) if deployed else int(self.parameters["state_format"])

    def check_former(self, deployed: dict[str, str]) -> None:
        """Refuse a job that this one cannot follow; one that is only stopped may be any."""
        if self.parameters["state"] != "stopped":
            self.check_state(deployed)
            self.check_shards(deployed)

    def check_state(self, deployed: dict[str, str]) -> None:
        """Refuse a job whose state this version cannot read."""
        found = self.form(deployed)
        if found not in self.readable:
            raise JobError(
                f"{self.name} keeps its state in form {found}, and this version reads "
                f"{', '.join(map(str, self.readable))} only. It still runs. "
                "Go back to the job's own version; or give up its state: "
                "ansible-playbook playbooks/jobs.yml -e flink_jobs_state=stopped, "
                f"then ansible-playbook site.yml -e flink_jobs_anew={self.name}"
            )

    def check_shards(self, deployed: dict[str, str]) -> None:
        """Refuse shards that subtasks cannot share, be they the former job's or those of this one."""
        if not self.parameters["shards"]:
            return
        wanted = parallelism(self.parameters), self.parameters["shards"]
        check_shards(self.name, *wanted)
        former = int(deployed.get("shards", self.parameters["shards_before"] if deployed else 0))
        if former:
            check_rescale(self.name, *wanted, former)

    def check_topic(self, snapshot: str) -> None:
        """Refuse a snapshot where Kafka has deleted records since that histories lack.

        The job's source would go on at the topic's first record, and say nothing. How far the job had read,
        the offsets tell that its group committed with the last checkpoint; Kafka forgets them after a week.
        """
        if not self.parameters["keeps_histories"]:
            return
        # the jobs' own package: the interpreter that runs this has it
        from flink_jobs.lost_state import LostStateError, read_offsets  # noqa: PLC0415 - as above
        from flink_jobs.store.settings import SettingsError, load_settings  # noqa: PLC0415 - as above

        try:
            topic = read_offsets(load_settings(self.parameters["settings"]), self.name)
        except (LostStateError, SettingsError) as error:
            raise JobError(f"{self.name} was not started: {error}") from error
        gaps = [
            f"partition {partition} was read up to offset {topic.committed.get(partition, 'unknown')}, and "
            f"begins at {first}"
            for partition, first in sorted(topic.first.items())
            if topic.committed.get(partition, 0) < first
        ]
        if gaps:
            raise JobError(
                f"{self.name} was not started: since {snapshot} was made, Kafka has deleted records that the "
                f"job had not read ({'; '.join(gaps)}). Histories would lack them for good. Begin without "
                "that state, with the lake's histories: "
                f"ansible-playbook playbooks/jobs.yml -e flink_jobs_anew={self.name}"
            )

    def check_slots(self, deployed: dict[str, str]) -> None:
        """Refuse more subtasks than other jobs leave slots for; between two versions there may be more.

        A job that the same run looks after counts with what it is to have, whatever it has now: it may be
        about to give slots back, or to be started. Others take nothing from a job that asks for no more than
        before: while a TaskManager is down, it goes on with fewer, and so does its next version.
        """
        if self.parameters["state"] != "running":
            return
        planned = {name: int(subtasks) for name, subtasks in self.parameters["others"].items()}
        subtasks, slots = parallelism(self.parameters), self.cluster.slots()
        grows = subtasks > int(deployed.get("parallelism", subtasks))
        others = planned | self.cluster.slots_of_others({self.name, *planned}) if grows else {}
        if subtasks > slots - sum(others.values()):
            taken = ", ".join(f"{count} for {name}" for name, count in others.items() if count)
            raise JobError(
                f"{self.name} is to have {subtasks} subtasks, and the cluster has {slots} slots"
                f"{f', {taken} among them' if taken else ''}. "
                "Nothing was stopped. Add TaskManagers (docs/operate.md, More hosts, or fewer), bring back "
                "those that are down (ansible-playbook playbooks/health.yml names them), or choose fewer "
                "subtasks"
            )

    def check_absent(self, job_id: str | None) -> None:
        """Refuse to begin anew where the job is there, even if it only fails and restarts."""
        if job_id and self.parameters["restore"] == "none":
            raise JobError(
                f"{self.name} is to begin anew, but is there already (job {job_id}). Nothing was stopped. "
                "If it has begun anew, leave out flink_jobs_anew. To give its state up, stop it first: "
                "ansible-playbook playbooks/jobs.yml -e flink_jobs_state=stopped, then what you have just run"
            )

    def stop(self, job_id: str | None, deployed: dict[str, str]) -> dict[str, Any]:
        """Stop the job, if it runs."""
        if not job_id:
            return {"changed": False, "action": "unchanged"}
        result: dict[str, Any] = {"changed": True, "action": "stopped", "job_id": job_id}
        if not self.module.check_mode:
            result["snapshot"] = self.release(job_id, deployed)
        return result


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "script": {"type": "path", "required": True},
            "arguments": {"type": "list", "elements": "str", "default": []},
            "arguments_without_state": {"type": "list", "elements": "str", "default": []},
            "properties": {"type": "dict", "default": {}},
            "shards": {"type": "int", "default": 0},
            "shards_before": {"type": "int", "default": 0},
            "others": {"type": "dict", "default": {}},
            "keeps_histories": {"type": "bool", "default": False},
            "code": {"type": "list", "elements": "path", "default": []},
            "settings": {"type": "path"},
            "state": {"type": "str", "choices": ["running", "current", "stopped"], "default": "running"},
            "restore": {"type": "str", "choices": ["latest", "none"], "default": "latest"},
            "state_format": {"type": "int", "default": 1},
            "state_formats_read": {"type": "list", "elements": "int", "default": []},
            "allow_non_restored_state": {"type": "bool", "default": False},
            "wait": {"type": "bool", "default": True},
            "timeout_s": {"type": "int", "default": 300},
            "rest_urls": {"type": "list", "elements": "str", "required": True},
            "cluster_id": {"type": "str", "default": ""},
            "flink": {"type": "path", "default": "/usr/local/bin/flink"},
            "user": {"type": "str", "default": "flink"},
            "environment_file": {"type": "path"},
            "lock_dir": {"type": "path", "default": "/run"},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**Deployment(module).run())
    except JobError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
