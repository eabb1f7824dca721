"""What the module does with a job: which changes replace it, and that only one of two runs submits it."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_modules import load
from passing_time import PassingTime

from flink_jobs import lost_state

ROLE = Path(__file__).parents[3] / "ansible/roles/flink_job"


# where Ansible puts them before it runs the module
flink_cluster, flink_lock, _, flink_snapshots = (
    load(f"ansible.module_utils.{name}", ROLE / f"module_utils/{name}.py")
    for name in ("flink_cluster", "flink_lock", "flink_rescale", "flink_snapshots")
)
flink_job = load("flink_job", ROLE / "library/flink_job.py")

SETTINGS = {
    "kafka": {"bootstrap_servers": "192.0.2.1:9092,192.0.2.2:9092"},
    "topics": {"transactions": "transactions"},
    "s3": {"endpoint_url": "http://192.0.2.1:9000", "secret_key": "hidden-from-all"},
    "buckets": {"datalake": "datalake"},
}


class FakeCluster:
    """A JobManager, as far as the module asks it."""

    url = "http://192.0.2.1:8081"

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, str]] = {}
        self.submissions = 0
        self.stopped: list[str] = []
        self.ended: dict[str, int] = {}
        self.remembered: dict[str, dict[str, str]] = {}
        self.folders: list[str | None] = []
        self.options: dict[str, str] = {}
        self.commands: list[list[str]] = []
        self.total_slots = 64
        # slots of other jobs, by name, and how many subtasks any job gets at most
        self.others: dict[str, int] = {}
        self.most_subtasks = 64
        self.warnings: list[str] = []
        self.cancelled: set[str] = set()
        # what the client prints where it fails, and whether the job came of it
        self.failures: list[tuple[str, bool]] = []
        # whether the job had stopped when another JobManager began to lead
        self.failovers: list[bool] = []
        # how often jobs tell nothing before they do, and whether they have slots in the end
        self.silent = 0
        self.has_slots = True

    def slots(self) -> int:
        return self.total_slots

    def slots_of_others(self, known: set[str]) -> dict[str, int]:
        return {name: slots for name, slots in self.others.items() if name not in known}

    def configuration(self) -> dict[str, str]:
        return self.options

    def active_jobs(self, _name: str) -> list[str]:
        return list(self.jobs)

    def deployed(self, job_id: str) -> dict[str, str]:
        self.silent -= 1
        return {} if self.silent >= 0 else self.jobs[job_id]

    def cancel(self, job_id: str, _timeout_s: float) -> None:
        self.jobs.pop(job_id)

    def savepoints(self, _name: str) -> list[tuple[float, str, int]]:
        return [
            (float(number), f"savepoint of {job_id}", self.ended[job_id])
            for number, job_id in enumerate(self.stopped)
        ]

    def made_by(self, _name: str, snapshot: str) -> dict[str, str]:
        return self.remembered.get(snapshot, {})

    def wait_for_state(self, job_id: str, wanted: set[str], _timeout_s: float, subtasks: int = 0) -> str:
        if job_id in self.cancelled and "CANCELLING" not in wanted:
            self.jobs.pop(job_id)
            return "CANCELED"
        if subtasks > self.most_subtasks:
            return str(flink_cluster.RUNNING_SMALLER)
        return "RUNNING" if self.has_slots else "CREATED"

    def stop_with_savepoint(self, job_id: str, folder: str | None, _timeout_s: float) -> str | None:
        self.folders.append(folder)
        if self.failovers:
            if self.failovers.pop(0):
                self.jobs.pop(job_id)
            return None
        self.ended[job_id] = int(self.jobs[job_id].get("state", 1))
        self.remembered[f"savepoint of {job_id}"] = self.jobs.pop(job_id)
        self.stopped.append(job_id)
        return f"savepoint of {job_id}"

    def submit(self, command: list[str]) -> str:
        self.commands.append(command)
        (parameters,) = (
            option.partition("global-job-parameters=")[2]
            for option in command
            if "global-job-parameters=" in option
        )
        self.submissions += 1
        job_id = f"{self.submissions:032x}"
        self.jobs[job_id] = dict(
            pair.removeprefix("deployed.").split(":", 1) for pair in parameters.split(",")
        )
        return job_id


class FakeModule:
    """Ansible's module object, as far as it is used; the client takes a while, as Flink's does."""

    def __init__(self, cluster: FakeCluster, params: dict[str, Any], *, check_mode: bool = False) -> None:
        self.cluster = cluster
        self.params = params
        self.check_mode = check_mode
        self.commands: list[list[str]] = []

    def warn(self, text: str) -> None:
        self.cluster.warnings.append(text)

    def run_command(self, command: list[str], **options: Any) -> tuple[int, str, str]:  # noqa: ANN401 - as Ansible's
        assert options["pass_fds"], "the client does not keep the lock"
        self.commands.append(command)
        time.sleep(0.3)
        if self.cluster.failures:
            output, came = self.cluster.failures.pop(0)
            if came:
                self.cluster.submit(command)
            return 1, "", output
        return 0, f"Job has been submitted with JobID {self.cluster.submit(command)}", ""


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    fake = FakeCluster()
    monkeypatch.setattr(flink_job, "Cluster", lambda *_urls: fake)
    return fake


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(SETTINGS))
    return file


@pytest.fixture
def run(tmp_path: Path, cluster: FakeCluster, settings: Path) -> Run:
    """Run the module; keywords are its options, or check_mode."""
    script = tmp_path / "count.py"
    script.write_text("print()\n")

    def once(*, check_mode: bool = False, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - as Ansible's
        params = {
            "name": "count",
            "script": str(script),
            "arguments": [],
            "arguments_without_state": [],
            "properties": {},
            "shards": 0,
            "shards_before": 0,
            "others": {},
            "keeps_histories": False,
            "code": [],
            "settings": str(settings),
            "state": "running",
            "restore": "latest",
            "state_format": 1,
            "state_formats_read": [],
            "allow_non_restored_state": False,
            "wait": True,
            "timeout_s": 5,
            "rest_urls": ["http://192.0.2.1:8081"],
            "cluster_id": "",
            "flink": "flink",
            "user": "flink",
            "environment_file": None,
            "lock_dir": str(tmp_path),
        }
        module = FakeModule(cluster, params | options, check_mode=check_mode)
        result: dict[str, Any] = flink_job.Deployment(module).run()
        return result

    return once


def test_unchanged_settings_leave_the_job_alone(run: Run, cluster: FakeCluster) -> None:
    assert run()["action"] == "submitted"
    assert run()["action"] == "unchanged"
    assert cluster.submissions == 1


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("kafka", {"bootstrap_servers": "192.0.2.9:9092"}),
        ("topics", {"transactions": "payments"}),
        ("s3", {"endpoint_url": "http://192.0.2.9:9000"}),
        ("s3", {"secret_key": "another"}),
        ("buckets", {"datalake": "lake"}),
    ],
)
def test_changed_settings_restart_the_job_with_its_state(
    run: Run, cluster: FakeCluster, settings: Path, section: str, change: dict[str, str]
) -> None:
    first = run()["job_id"]
    settings.write_text(json.dumps(SETTINGS | {section: SETTINGS[section] | change}))
    result = run()
    assert (result["action"], result["snapshot"]) == ("replaced", f"savepoint of {first}")
    before, after = result["diff"]["before"], result["diff"]["after"]
    assert {part for part in after if after[part] != before[part]} == {f"settings.{section}"}
    assert list(cluster.jobs) == [result["job_id"]]
    assert run()["action"] == "unchanged"


def test_settings_written_in_another_order_are_the_same(run: Run, settings: Path) -> None:
    run()
    settings.write_text(json.dumps(dict(reversed(SETTINGS.items())), indent=4))
    assert run()["action"] == "unchanged"


def test_no_secret_goes_with_the_job(run: Run, cluster: FakeCluster) -> None:
    run()
    assert "hidden-from-all" not in json.dumps(cluster.jobs)


def test_settings_that_cannot_be_read_stop_nothing(run: Run, cluster: FakeCluster, settings: Path) -> None:
    run()
    settings.write_text("{")
    with pytest.raises(flink_cluster.JobError, match=r"settings\.json cannot be read.*playbooks/flink\.yml"):
        run()
    assert cluster.stopped == []


@pytest.mark.parametrize("state", ["running", "current"])
@pytest.mark.parametrize("check_mode", [False, True])
def test_a_release_that_cannot_read_the_state_stops_nothing(
    run: Run, cluster: FakeCluster, state: str, *, check_mode: bool
) -> None:
    first = run(state_format=2, state_formats_read=[1])["job_id"]
    with pytest.raises(
        flink_cluster.JobError, match=r"state in form 2.*reads 1 only.*-e flink_jobs_anew=count"
    ):
        run(state=state, check_mode=check_mode)
    assert list(cluster.jobs) == [first]
    assert cluster.stopped == []
    # stopping it is the first step of giving its state up
    assert run(state="stopped")["action"] == "stopped"


def test_a_release_that_reads_the_former_state_takes_it_over(run: Run) -> None:
    first = run(state_format=2)["job_id"]
    assert run(state_format=3, state_formats_read=[1, 2])["snapshot"] == f"savepoint of {first}"


def test_a_snapshot_lies_in_the_folder_of_its_form(run: Run, cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.options["execution.checkpointing.savepoint-dir"] = f"file:{tmp_path}/savepoints"
    run()
    run(state_format=2, state_formats_read=[1])
    former, own = (f"file:{tmp_path}/savepoints/{folder}" for folder in ("count", "count.form2"))
    assert f"-Dexecution.checkpointing.savepoint-dir={own}" in cluster.commands[-1]
    run(state="stopped", state_format=2)
    # the savepoint of the former job is of the former form
    assert cluster.folders == [former, own]


@pytest.mark.parametrize("remembered", [True, False])
def test_a_release_starts_no_job_from_state_that_it_cannot_read(
    run: Run, cluster: FakeCluster, tmp_path: Path, *, remembered: bool
) -> None:
    if remembered:
        run(state_format=2)
        run(state="stopped", state_format=2)
    else:
        # the JobManager was restarted
        cluster.options["execution.checkpointing.dir"] = f"file:{tmp_path}"
        for folder, completed_s in (("count/1/chk-1", 1), ("count.form2/2/chk-9", 2), ("counter/3/chk-9", 3)):
            metadata = tmp_path / folder / "_metadata"
            metadata.parent.mkdir(parents=True)
            metadata.touch()
            os.utime(metadata, (completed_s, completed_s))
    with pytest.raises(flink_cluster.JobError, match=r"state in form 2.*reads 1 only.*flink_jobs_anew=count"):
        run()
    assert not cluster.jobs
    assert run(state_format=2, state_formats_read=[1])["action"] == "resumed"
    assert run(state="stopped", state_format=2)["action"] == "stopped"
    assert run(restore="none")["action"] == "submitted"


def test_a_job_that_does_not_tell_the_form_of_its_state_is_replaced(run: Run, cluster: FakeCluster) -> None:
    first = run()["job_id"]
    del cluster.jobs[first]["state"]
    assert run()["snapshot"] == f"savepoint of {first}"


@pytest.mark.parametrize("silent", [1, 100])
def test_a_savepoint_of_a_job_that_got_its_slots_late_lies_in_its_own_form_s_folder(
    run: Run, cluster: FakeCluster, tmp_path: Path, silent: int
) -> None:
    cluster.options["execution.checkpointing.savepoint-dir"] = f"file:{tmp_path}"
    run(state_format=2)
    cluster.silent = silent
    run(state="stopped", state_format=2)
    assert cluster.folders == [f"file:{tmp_path}/count.form2"]


def test_a_job_of_a_former_version_that_got_its_slots_late_is_taken_over_in_its_form(
    run: Run, cluster: FakeCluster, tmp_path: Path
) -> None:
    cluster.options["execution.checkpointing.savepoint-dir"] = f"file:{tmp_path}"
    first = run()["job_id"]
    cluster.silent = 1
    assert run(state_format=2, state_formats_read=[1])["snapshot"] == f"savepoint of {first}"
    del cluster.jobs[f"{2:032x}"]["state"]
    assert run(state="stopped", state_format=2)["action"] == "stopped"
    # one that tells all but its form is of a version from before there was a second
    assert cluster.folders == [f"file:{tmp_path}/count"] * 2


@pytest.mark.parametrize("state", ["running", "current"])
def test_state_that_is_told_late_and_cannot_be_read_stops_nothing(
    run: Run, cluster: FakeCluster, state: str
) -> None:
    first = run(state_format=3)["job_id"]
    cluster.silent = 1
    with pytest.raises(flink_cluster.JobError, match="state in form 3"):
        run(state=state, state_format=2, state_formats_read=[1])
    assert (list(cluster.jobs), cluster.stopped) == ([first], [])


@pytest.mark.parametrize("form", [2, 3])
def test_a_job_that_never_tells_its_form_is_cancelled_only_if_its_snapshot_can_be_read(
    run: Run, cluster: FakeCluster, tmp_path: Path, form: int
) -> None:
    cluster.options["execution.checkpointing.dir"] = f"file:{tmp_path}"
    metadata = tmp_path / f"count.form{form}/1/chk-1/_metadata"
    metadata.parent.mkdir(parents=True)
    metadata.touch()
    first = run(state_format=form, wait=False)["job_id"]
    cluster.silent, cluster.has_slots = 100, False
    options = {"state": "current", "state_format": 2, "state_formats_read": [1]}
    if form == 2:
        assert run(**options)["snapshot"] == f"file://{tmp_path}/count.form2/1/chk-1"
        assert not cluster.jobs
    else:
        with pytest.raises(flink_cluster.JobError, match="state in form 3"):
            run(**options)
        assert list(cluster.jobs) == [first]
        # stopping it is the first step of giving its state up
        with pytest.raises(flink_cluster.JobError, match="state in form 3"):
            run(**options | {"state": "stopped"})
        assert not cluster.jobs


def sized(parallelism: int, shards: int | None = None) -> dict[str, Any]:
    """Options of a job with so many subtasks, and two shards for each if not told otherwise."""
    return {"properties": {"parallelism.default": parallelism}, "shards": shards or 2 * parallelism}


@pytest.mark.parametrize(
    ("former", "wanted"),
    [
        ((2, 4), (4, 8)),
        ((4, 8), (2, 4)),
        ((4, 8), (1, 2)),
        ((16, 32), (32, 64)),
        ((2, 6), (3, 6)),
        ((12, 24), (12, 128)),
        ((12, 128), (11, 110)),
        ((12, 128), (13, 128)),
    ],
)
def test_a_rescale_that_keeps_what_is_being_gathered_goes_on_from_the_savepoint(
    run: Run, cluster: FakeCluster, former: tuple[int, int], wanted: tuple[int, int]
) -> None:
    first = run(**sized(*former))["job_id"]
    assert run(**sized(*wanted))["snapshot"] == f"savepoint of {first}"
    assert cluster.commands[-1][-1] == f"--shards={wanted[1]}"


@pytest.mark.parametrize("state", ["running", "current"])
@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize(
    ("former", "wanted"),
    [
        ((2, 4), (3, 6)),
        ((4, 8), (3, 6)),
        ((2, 4), (5, 10)),
        ((9, 18), (32, 64)),
        ((31, 62), (32, 64)),
        ((3, 3), (4, 12)),
        ((11, 110), (12, 128)),
    ],
)
def test_a_rescale_that_takes_two_steps_is_refused_with_them(  # noqa: PLR0913 - each says another case
    run: Run,
    cluster: FakeCluster,
    former: tuple[int, int],
    wanted: tuple[int, int],
    state: str,
    *,
    check_mode: bool,
) -> None:
    first = run(**sized(*former))["job_id"]
    # as after the loss of TaskManagers: no step may need more slots than what is wanted
    cluster.total_slots = wanted[0]
    with pytest.raises(flink_cluster.JobError, match="Nothing was stopped") as refusal:
        run(**sized(*wanted), state=state, check_mode=check_mode)
    assert list(cluster.jobs) == [first]
    advised = re.search(r"flink_jobs_parallelism=(\d+) -e flink_jobs_shards=(\d+)", str(refusal.value))
    assert advised
    between = (int(advised[1]), int(advised[2]))
    # the advice is taken, and then what was refused
    assert run(**sized(*between))["action"] == "replaced"
    assert run(**sized(*wanted))["action"] == "replaced"


def test_a_job_that_was_stopped_is_rescaled_in_two_steps_too(run: Run, cluster: FakeCluster) -> None:
    run(**sized(4))
    run(**sized(4), state="stopped")
    with pytest.raises(flink_cluster.JobError, match="has 8 shards, which 3 subtasks cannot share"):
        run(**sized(3))
    assert not cluster.jobs
    # a job that begins anew has none
    assert run(**sized(3), restore="none")["action"] == "submitted"


def test_a_job_is_known_by_the_snapshot_that_it_left(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        "/jobs/overview": {
            "jobs": [
                {"jid": "a", "name": "count", "state": "FAILED"},
                {"jid": "b", "name": "count", "state": "FINISHED"},
                {"jid": "c", "name": "sum", "state": "FINISHED"},
            ]
        },
        "/jobs/a/checkpoints": {
            "latest": {"savepoint": None, "completed": {"external_path": "file:/flink/a/chk-7"}}
        },
        "/jobs/b/checkpoints": {"latest": {"savepoint": {"external_path": "s3://flink/count/savepoint-b-1"}}},
    }
    for job_id in "ab":
        parameters = {"deployed.shards": job_id, "other": "x"}
        answers[f"/jobs/{job_id}/config"] = {"execution-config": {"user-config": parameters}}
    known = flink_cluster.Cluster("http://192.0.2.1:8081")
    monkeypatch.setattr(known, "request", answers.__getitem__)
    assert known.made_by("count", "file:///flink/a/chk-7") == {"shards": "a"}
    assert known.made_by("count", "s3://flink/count/savepoint-b-1") == {"shards": "b"}
    assert known.made_by("count", "file:///flink/a/chk-6") == {}


def without_slots(
    monkeypatch: pytest.MonkeyPatch, states: list[str], told: list[dict[str, Any]]
) -> flink_cluster.Cluster:
    """Give a cluster whose job has these states, and tells these configurations, one after another."""
    answers = {"/jobs/a": [{"state": state} for state in states], "/jobs/a/config": told}
    known = flink_cluster.Cluster("http://192.0.2.1:8081")
    monkeypatch.setattr(known, "request", lambda path: answers[path].pop(0))
    monkeypatch.setattr(flink_cluster, "time", PassingTime())
    return known


def test_a_job_without_slots_is_asked_until_it_tells_its_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    """The adaptive scheduler tells a configuration without parameters before."""
    told = {"execution-config": {"user-config": {"deployed.code": "1", "other": "x"}}}
    untold = [{"jid": "a"}, {"execution-config": {"user-config": {}}}]
    known = without_slots(monkeypatch, ["CREATED", "CREATED"], [*untold, told])
    assert known.deployed("a") == {"code": "1"}


@pytest.mark.parametrize("states", [["CREATED", "FAILED"], ["CREATED"] * 100])
def test_a_job_that_never_gets_slots_has_no_fingerprint(
    monkeypatch: pytest.MonkeyPatch, states: list[str]
) -> None:
    known = without_slots(monkeypatch, states, [{"jid": "a"}] * 100)
    assert known.deployed("a") == {}


@pytest.mark.parametrize(
    ("statuses", "told"),
    [(["RUNNING", "INITIALIZING"], "still preparing their state"), (["SCHEDULED"], "enough free slots")],
)
def test_a_job_that_takes_long_to_begin_says_what_it_waits_for(
    monkeypatch: pytest.MonkeyPatch, statuses: list[str], told: str
) -> None:
    """It may be taking its state from the lake, for longer than a run waits."""
    answers = {
        "/jobs/a/exceptions?maxExceptions=1": {"exceptionHistory": {"entries": []}},
        "/jobs/a/execution-result": {"status": {"id": "IN_PROGRESS"}},
        "/jobs/a": {"state": "RUNNING", "vertices": [{"status": status} for status in statuses]},
    }
    known = flink_cluster.Cluster("http://192.0.2.1:8081")
    monkeypatch.setattr(known, "request", answers.__getitem__)
    assert told in known.root_cause("a")


def test_a_job_that_failed_before_its_first_task_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """The adaptive scheduler keeps such a failure out of the history of exceptions."""
    trace = "CompletionException: failed\n\tat Some.frame(Some.java:1)\nCaused by: no place"
    answers = {
        "/jobs/a/exceptions?maxExceptions=1": {"exceptionHistory": {"entries": []}},
        "/jobs/a/execution-result": {
            "status": {"id": "COMPLETED"},
            "job-execution-result": {"application-status": "FAILED", "failure-cause": {"stack-trace": trace}},
        },
    }
    known = flink_cluster.Cluster("http://192.0.2.1:8081")
    monkeypatch.setattr(known, "request", answers.__getitem__)
    assert known.root_cause("a") == "The job failed: no place"


@pytest.mark.parametrize("parallelism", [1, 2, 4])
def test_a_former_version_that_names_no_shards_goes_on_where_it_can(
    run: Run, cluster: FakeCluster, parallelism: int
) -> None:
    run(properties={"parallelism.default": 2})
    with pytest.raises(flink_cluster.JobError, match="has 4 shards, which 3 subtasks cannot share"):
        run(**sized(3), shards_before=4)
    assert cluster.stopped == []
    assert run(**sized(parallelism), shards_before=4)["action"] == "replaced"


@pytest.mark.parametrize(
    ("parallelism", "shards", "advice"),
    [
        (33, 66, "1 to 32"),
        (3, 4, "flink_jobs_shards=6"),
        (4, 2, "flink_jobs_shards=8"),
        (2, 130, "at most 128"),
    ],
)
def test_shards_that_subtasks_cannot_share_stop_nothing(
    run: Run, cluster: FakeCluster, parallelism: int, shards: int, advice: str
) -> None:
    run(**sized(2))
    with pytest.raises(flink_cluster.JobError, match=advice):
        run(**sized(parallelism, shards))
    assert cluster.stopped == []


def test_a_job_is_not_stopped_for_more_subtasks_than_there_are_slots(run: Run, cluster: FakeCluster) -> None:
    run(**sized(2))
    cluster.total_slots = 3
    with pytest.raises(flink_cluster.JobError, match="4 subtasks, and the cluster has 3 slots"):
        run(**sized(4))
    assert cluster.stopped == []
    # TaskManagers that come later in the same run
    assert run(**sized(4), state="current")["action"] == "stopped"


def test_slots_of_other_jobs_are_not_free_and_the_jobs_own_are(run: Run, cluster: FakeCluster) -> None:
    run(**sized(1))
    cluster.total_slots = 4
    cluster.others = {"stray": 2}
    with pytest.raises(
        flink_cluster.JobError, match="4 subtasks, and the cluster has 4 slots, 2 for stray among them"
    ):
        run(**sized(4, 8))
    assert cluster.stopped == []
    assert run(**sized(2, 4))["action"] == "replaced"


def test_a_job_is_replaced_while_a_taskmanager_is_down(run: Run, cluster: FakeCluster) -> None:
    sum_of_two: dict[str, Any] = {"others": {"sum": 2}}
    run(**sized(2) | sum_of_two)
    # of four; both jobs go on with one subtask
    cluster.total_slots = 2
    assert run(**sized(2) | sum_of_two, arguments=["other"])["action"] == "replaced"


def test_a_job_of_the_same_run_counts_with_what_it_is_to_have(run: Run, cluster: FakeCluster) -> None:
    run(**sized(1))
    cluster.total_slots = 4
    # an option's values may be text
    sum_of_two: dict[str, Any] = {"others": {"sum": "2"}}
    # it is started after this one
    with pytest.raises(flink_cluster.JobError, match="has 4 slots, 2 for sum among them"):
        run(**sized(3) | sum_of_two)
    assert cluster.stopped == []
    # it gives two back
    cluster.others = {"sum": 4}
    assert run(**sized(2) | sum_of_two)["action"] == "replaced"


def test_a_job_that_gets_fewer_subtasks_than_are_wanted_is_reported(run: Run, cluster: FakeCluster) -> None:
    cluster.most_subtasks = 1
    assert run(**sized(2), wait=False)["action"] == "submitted"
    assert run(**sized(2))["action"] == "unchanged"
    (warning,) = cluster.warnings
    assert "runs, but has found no slots for 2 subtasks" in warning
    cluster.most_subtasks = 2
    assert run(**sized(2))["action"] == "unchanged"
    assert cluster.warnings == [warning]


def test_slots_are_counted_of_active_jobs_that_the_run_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        "/jobs/overview": {
            "jobs": [
                {"jid": "a", "name": "count", "state": "RUNNING"},
                {"jid": "b", "name": "sum", "state": "RUNNING"},
                {"jid": "c", "name": "sum", "state": "RESTARTING"},
                {"jid": "d", "name": "sum", "state": "FAILED"},
                {"jid": "e", "name": "new", "state": "INITIALIZING"},
            ]
        },
        "/jobs/b": {"vertices": [{"parallelism": 1}, {"parallelism": 3}]},
        "/jobs/c": {"vertices": [{"parallelism": 2}]},
        "/jobs/e": {"vertices": []},
    }
    known = flink_cluster.Cluster("http://192.0.2.1:8081")
    monkeypatch.setattr(known, "request", answers.__getitem__)
    assert known.slots_of_others({"count"}) == {"sum": 5, "new": 0}


@pytest.mark.parametrize(("later", "seen"), [(2, "RUNNING"), (1, flink_cluster.RUNNING_SMALLER)])
def test_a_job_is_given_time_to_take_up_all_subtasks(
    monkeypatch: pytest.MonkeyPatch, later: int, seen: str
) -> None:
    """The adaptive scheduler restarts it for that; meanwhile Flink tells the parallelism that is wanted."""

    def job(state: str, parallelism: int) -> dict[str, Any]:
        return {"state": state, "vertices": [{"status": "RUNNING", "parallelism": parallelism}]}

    answers = [job("CREATED", 2), job("RUNNING", 1), job("RESTARTING", 2), *[job("RUNNING", later)] * 100]
    known = flink_cluster.Cluster("http://192.0.2.1:8081")
    monkeypatch.setattr(known, "request", lambda _path: answers.pop(0))
    monkeypatch.setattr(flink_cluster, "time", PassingTime())
    assert known.wait_for_state("a", {"RUNNING"}, 20, 2) == seen
    assert answers


@pytest.mark.parametrize("state", ["running", "current"])
@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("arguments", [[], ["--batch-ms=9"]])
def test_a_job_that_is_there_is_not_said_to_have_begun_anew(
    run: Run, cluster: FakeCluster, state: str, arguments: list[str], *, check_mode: bool
) -> None:
    """One that cannot read its state is there too: it restarts for ever."""
    first = run()["job_id"]
    cluster.has_slots = False
    with pytest.raises(
        flink_cluster.JobError,
        match=r"is there already .*stopped\. .*playbooks/jobs\.yml -e flink_jobs_state=stopped, then what",
    ):
        run(restore="none", state=state, check_mode=check_mode, arguments=arguments, wait=False)
    assert (list(cluster.jobs), cluster.stopped) == ([first], [])
    # the two steps
    assert run(state="stopped")["action"] == "stopped"
    assert run(restore="none", arguments=arguments, wait=False)["action"] == "submitted"
    assert "--fromSavepoint" not in cluster.commands[-1]


@pytest.mark.parametrize(
    ("first", "committed", "told"),
    [
        ({0: 9, 1: 9}, {0: 9, 1: 20}, None),
        # a partition that is new, or has no record yet
        ({0: 9, 1: 0}, {0: 9}, None),
        ({0: 9, 1: 9}, {0: 9, 1: 8}, "partition 1 was read up to offset 8, and begins at 9"),
        # Kafka has forgotten the group
        ({0: 9}, {}, "partition 0 was read up to offset unknown, and begins at 9"),
    ],
)
def test_a_snapshot_that_ends_before_the_topic_begins_is_not_begun_with(  # noqa: PLR0913, PLR0917 - cases
    run: Run,
    cluster: FakeCluster,
    settings: Path,
    monkeypatch: pytest.MonkeyPatch,
    first: dict[int, int],
    committed: dict[int, int],
    told: str | None,
) -> None:
    def read_offsets(read: str, group: str) -> lost_state.TopicOffsets:
        assert (read, group) == (f"settings of {settings}", "count")
        return lost_state.TopicOffsets(first, dict.fromkeys(first, 30), committed, {})

    monkeypatch.setattr("flink_jobs.store.settings.load_settings", "settings of {}".format)
    monkeypatch.setattr(lost_state, "read_offsets", read_offsets)
    run(keeps_histories=True)
    run(state="stopped")
    if told is None:
        assert run(keeps_histories=True)["action"] == "resumed"
        return
    with pytest.raises(flink_cluster.JobError, match=rf"{told}.*jobs\.yml -e flink_jobs_anew=count"):
        run(keeps_histories=True)
    assert not cluster.jobs
    # the lake's job lacks nothing that beginning anew would bring back
    assert run(state="running")["action"] == "resumed"
    run(state="stopped")
    assert run(keeps_histories=True, restore="none")["action"] == "submitted"


def test_a_kafka_that_does_not_tell_is_no_reason_to_begin_with_a_hole(
    run: Run, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_offsets(*_: object) -> None:
        raise lost_state.LostStateError("Kafka does not say")

    monkeypatch.setattr("flink_jobs.store.settings.load_settings", str)
    monkeypatch.setattr(lost_state, "read_offsets", read_offsets)
    run()
    run(state="stopped")
    with pytest.raises(flink_cluster.JobError, match="count was not started: Kafka does not say"):
        run(keeps_histories=True)
    assert not cluster.jobs


def test_only_a_job_without_state_is_told_how_to_begin_without_it(run: Run, cluster: FakeCluster) -> None:
    run(arguments=["--batch-ms=9"], arguments_without_state=["--from-lake"])
    assert cluster.commands[-1][-2:] == ["--batch-ms=9", "--from-lake"]
    # they are no part of the job
    assert run(arguments=["--batch-ms=9"])["action"] == "unchanged"
    assert run(arguments=["--batch-ms=8"], arguments_without_state=["--from-lake"])["action"] == "replaced"
    assert cluster.commands[-1][-1] == "--batch-ms=8"


def test_a_savepoint_that_is_there_no_more_is_not_begun_with(
    run: Run, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there: list[flink_snapshots.Snapshot] = []
    folder = tmp_path / "savepoints"
    monkeypatch.setattr(flink_job, "list_snapshots", lambda *_: there)
    monkeypatch.setattr(
        cluster, "configuration", lambda: {"execution.checkpointing.savepoint-dir": f"{folder}/"}
    )
    told = [(2.0, f"{folder}/count/savepoint-2", 1), (1.0, "/elsewhere/savepoint-1", 1)]
    monkeypatch.setattr(cluster, "savepoints", lambda _name: told)
    assert run()["snapshot"] == "/elsewhere/savepoint-1"
    cluster.jobs.clear()
    there.append(flink_snapshots.Snapshot(*told[0]))
    assert run()["snapshot"] == f"{folder}/count/savepoint-2"


@pytest.mark.parametrize("place", ["savepoint-2", "counter/savepoint-2"])
def test_a_savepoint_that_an_operator_made_is_begun_with(
    run: Run, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    """`flink stop` writes into the cluster's folder, above those of the jobs."""
    folder = f"{tmp_path}/savepoints"
    monkeypatch.setattr(cluster, "configuration", lambda: {"execution.checkpointing.savepoint-dir": folder})
    monkeypatch.setattr(cluster, "savepoints", lambda _name: [(2.0, f"{folder}/{place}", 1)])
    assert run()["snapshot"] == f"{folder}/{place}"


def test_two_runs_at_once_submit_the_job_once(run: Run, cluster: FakeCluster) -> None:
    results: list[dict[str, Any]] = []
    runs = [threading.Thread(target=lambda: results.append(run())) for _ in range(2)]
    for thread in runs:
        thread.start()
    for thread in runs:
        thread.join()
    assert sorted(result["action"] for result in results) == ["submitted", "unchanged"]
    assert len({result["job_id"] for result in results}) == 1
    assert cluster.submissions == 1


def test_a_run_that_waits_too_long_says_for_whom(run: Run, cluster: FakeCluster, tmp_path: Path) -> None:
    program = (
        "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX);"
        "print(flush=True); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "flink_job-count.lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(flink_cluster.JobError, match=rf"count for 1 s: process {holder.pid} \(python"):
            run(timeout_s=1)
        assert run(timeout_s=1, check_mode=True)["action"] == "submitted", "a dry run waits for nobody"
    finally:
        holder.communicate(b"\n")
    assert cluster.submissions == 0
    run(timeout_s=1)
    assert cluster.submissions == 1


def test_the_lock_is_its_owners_only(run: Run, tmp_path: Path) -> None:
    run()
    assert (tmp_path / "flink_job-count.lock").stat().st_mode & 0o777 == 0o600


def test_a_link_in_place_of_the_lock_is_refused(run: Run, cluster: FakeCluster, tmp_path: Path) -> None:
    (tmp_path / "flink_job-count.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(flink_cluster.JobError, match="symbolic links"):
        run()
    assert cluster.submissions == 0


def test_a_client_that_outlives_its_run_keeps_the_next_one_waiting(tmp_path: Path) -> None:
    with flink_lock.sole_run(str(tmp_path), "count", 1) as lock:
        client = subprocess.Popen(["sleep", "60"], pass_fds=[lock])
    try:
        with (
            pytest.raises(flink_cluster.JobError, match=rf"process {client.pid} \(sleep\)"),
            flink_lock.sole_run(str(tmp_path), "count", 0.3),
        ):
            pass
    finally:
        client.kill()
        client.wait()
    with flink_lock.sole_run(str(tmp_path), "count", 0.3):
        pass


def test_a_job_of_the_same_name_that_somebody_else_submitted_meanwhile_is_reported(
    run: Run, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = cluster.submit

    def beside(command: list[str]) -> str:
        cluster.jobs["stray"] = {}
        return submit(command)

    monkeypatch.setattr(cluster, "submit", beside)
    with pytest.raises(flink_cluster.JobError, match=r"2 jobs named count .*flink cancel stray"):
        run()


def test_a_second_job_that_was_just_cancelled_is_waited_for(run: Run, cluster: FakeCluster) -> None:
    """Who follows the message that two jobs run has cancelled one a moment ago."""
    job_id = run()["job_id"]
    cluster.jobs["stray"] = {}
    cluster.cancelled.add("stray")
    assert run() == {"changed": False, "action": "unchanged", "job_id": job_id}


def test_a_link_to_another_environment_is_other_code(run: Run, cluster: FakeCluster, tmp_path: Path) -> None:
    link = tmp_path / "venv"
    for release in ("venv-1", "venv-2"):
        (tmp_path / release / "flink_jobs").mkdir(parents=True)
        (tmp_path / release / "flink_jobs/score.py").write_text("the same\n")
        link.unlink(missing_ok=True)
        link.symlink_to(release)
        result = run(code=[str(link / "flink_jobs")])
    assert result["action"] == "replaced"
    assert cluster.submissions == 2


def test_between_two_versions_only_a_job_of_the_former_is_stopped(
    run: Run, cluster: FakeCluster, settings: Path
) -> None:
    assert run(state="current") == {"changed": False, "action": "unchanged"}
    job_id = run()["job_id"]
    assert run(state="current")["action"] == "unchanged"
    assert list(cluster.jobs) == [job_id]
    settings.write_text(json.dumps(SETTINGS | {"topics": {"transactions": "payments"}}))
    assert run(state="current", check_mode=True)["action"] == "stopped"
    assert list(cluster.jobs) == [job_id]
    result = run(state="current")
    assert (result["action"], result["snapshot"]) == ("stopped", f"savepoint of {job_id}")
    assert cluster.jobs == {}
    assert run()["snapshot"] == f"savepoint of {job_id}"


def test_a_jobmanager_that_is_not_there_runs_no_job_of_the_former_version(
    run: Run, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_answer(_name: str) -> list[str]:
        raise flink_cluster.NoAnswerError("it does not answer")

    monkeypatch.setattr(cluster, "active_jobs", no_answer)
    assert run(state="current")["action"] == "unchanged"
    for state in ("running", "stopped"):
        with pytest.raises(flink_cluster.NoAnswerError):
            run(state=state)


FAILOVER = "Caused by: org.apache.flink.runtime.rpc.exceptions.FencingTokenException: Fencing token mismatch"


@pytest.mark.parametrize(
    "output", [FAILOVER, "DuplicateJobSubmissionException: Job has already been submitted."]
)
def test_a_submission_whose_answer_was_lost_is_found_by_name(
    run: Run, cluster: FakeCluster, output: str
) -> None:
    """The JobManager that took it died before it answered; the next one leads and runs the job."""
    cluster.failures = [(output, True)]
    result = run()
    assert (result["action"], [result["job_id"]]) == ("submitted", list(cluster.jobs))
    assert cluster.submissions == 1


def test_a_submission_that_was_lost_is_repeated(run: Run, cluster: FakeCluster) -> None:
    cluster.failures = [(FAILOVER, False)]
    assert run()["action"] == "submitted"
    assert cluster.submissions == 1


def test_a_submission_that_fails_for_another_reason_is_not_repeated(run: Run, cluster: FakeCluster) -> None:
    cluster.failures = [("no module named count", False)]
    with pytest.raises(flink_cluster.JobError, match="count was not submitted: no module named count"):
        run()
    assert cluster.submissions == 0


def test_a_job_of_another_description_is_not_taken_for_the_one_that_was_lost(
    run: Run, cluster: FakeCluster
) -> None:
    cluster.failures = [("lost", False)]
    active, looks = cluster.active_jobs, iter([[], ["other"]])
    cluster.jobs["other"] = {"code": "another"}
    cluster.active_jobs = lambda name: next(looks, active(name))  # type: ignore[method-assign] - a fake's
    with pytest.raises(flink_cluster.JobError, match="count was not submitted: lost"):
        run()


def test_a_job_that_went_on_with_another_jobmanager_is_stopped_there(run: Run, cluster: FakeCluster) -> None:
    first = run()["job_id"]
    cluster.failovers = [False]
    result = run(state="stopped")
    assert (result["action"], result["snapshot"]) == ("stopped", f"savepoint of {first}")
    assert cluster.stopped == [first]


def test_of_a_job_that_had_stopped_when_another_jobmanager_led_the_newest_snapshot_is_taken(
    run: Run, cluster: FakeCluster, tmp_path: Path
) -> None:
    cluster.options["execution.checkpointing.savepoint-dir"] = f"file:{tmp_path}/savepoints"
    run()
    metadata = tmp_path / "savepoints/count/savepoint-1/_metadata"
    metadata.parent.mkdir(parents=True)
    metadata.touch()
    cluster.failovers = [True]
    assert run(state="stopped")["snapshot"] == f"file://{tmp_path}/savepoints/count/savepoint-1"


@pytest.mark.parametrize(
    ("runs_in", "wanted", "action"),
    [
        ({}, "", "unchanged"),
        ({"high-availability.cluster-id": "/fraud-2.3.0"}, "/fraud-2.3.0", "unchanged"),
        ({}, "/fraud-2.3.0", "stopped"),
        ({"high-availability.cluster-id": "/fraud-2.2.0"}, "/fraud-2.3.0", "stopped"),
        ({"high-availability.cluster-id": "/fraud-2.3.0"}, "", "stopped"),
    ],
)
def test_a_job_that_jobmanagers_would_forget_as_they_restart_is_stopped_before(
    run: Run, cluster: FakeCluster, runs_in: dict[str, str], wanted: str, action: str
) -> None:
    run()
    cluster.options |= runs_in
    assert run(state="current", cluster_id=wanted, check_mode=True)["action"] == action
    assert cluster.stopped == []
    assert run(state="current", cluster_id=wanted)["action"] == action
    assert len(cluster.stopped) == (action == "stopped")


class Answers:
    """What JobManagers answer, by URL: JSON, or what is raised; the last answer stays."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cluster: Any, **by_name: list[Any]) -> None:  # noqa: ANN401 - as above
        self.by_name = by_name
        self.asked: list[str] = []
        self.bodies: list[Any] = []
        self.clock = PassingTime()
        monkeypatch.setattr(cluster, "_ask", self.answer)
        monkeypatch.setattr(flink_cluster, "time", self.clock)
        self.cluster = cluster

    def answer(self, url: str, _path: str, _method: str, body: Any) -> Any:  # noqa: ANN401 - JSON
        self.asked.append(url)
        self.bodies.append(body)
        answers = self.by_name[url]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(found, Exception):
            raise found
        self.cluster._answered = True  # noqa: SLF001 - as the method that this stands in for
        return found


GONE = flink_cluster.NoAnswerError("it does not answer")


def test_the_jobmanager_that_answers_is_asked_first_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = flink_cluster.Cluster("one", "two")
    answers = Answers(monkeypatch, cluster, one=[GONE], two=[{"slots-total": 4}])
    assert cluster.slots() == cluster.slots() == 4
    assert answers.asked == ["one", "two", "two"]
    assert cluster.url == "two"


def test_until_another_jobmanager_leads_a_request_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = flink_cluster.Cluster("one", "two")
    answers = Answers(
        monkeypatch, cluster, one=[{"slots-total": 4}, GONE], two=[GONE, GONE, GONE, {"slots-total": 2}]
    )
    assert cluster.slots() == 4
    assert cluster.slots() == 2
    assert answers.clock.now_s == 3
    # as it is on a host that has none yet
    unheard = flink_cluster.Cluster("one", "two")
    answers = Answers(monkeypatch, unheard, one=[GONE], two=[GONE])
    with pytest.raises(flink_cluster.NoAnswerError):
        unheard.slots()
    assert answers.clock.now_s == 0


def test_no_leader_is_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = flink_cluster.Cluster("one")
    answers = Answers(monkeypatch, cluster, one=[{"slots-total": 4}, GONE])
    cluster.slots()
    with pytest.raises(flink_cluster.NoAnswerError):
        cluster.slots()
    assert flink_cluster.FAILOVER_S <= answers.clock.now_s <= flink_cluster.FAILOVER_S + 2


def test_a_stop_that_is_asked_for_twice_is_the_same_to_flink(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = flink_cluster.Cluster("one")
    done = {"status": {"id": "COMPLETED"}, "operation": {"location": "s3://flink/savepoint-1"}}
    ended = {"state": "FINISHED", "vertices": []}
    answers = Answers(monkeypatch, cluster, one=[{"slots-total": 4}, GONE, {}, done, ended])
    cluster.slots()
    assert cluster.stop_with_savepoint("a", None, 60) == "s3://flink/savepoint-1"
    lost, repeated = answers.bodies[1:3]
    assert lost == repeated
    assert re.fullmatch("[0-9a-f]{32}", lost["triggerId"])


@pytest.mark.parametrize(
    "answer",
    [
        flink_cluster.UnknownError("no such operation"),
        {
            "status": {"id": "COMPLETED"},
            "operation": {"failure-cause": {"class": "e", "stack-trace": FAILOVER}},
        },
    ],
)
def test_a_savepoint_that_the_next_leader_does_not_know_is_nobodys(
    monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    cluster = flink_cluster.Cluster("one")
    Answers(monkeypatch, cluster, one=[{}, answer])
    assert cluster.stop_with_savepoint("a", None, 60) is None


@pytest.mark.parametrize(
    ("status", "detail", "kind"),
    [
        (503, "Service temporarily unavailable due to an ongoing leader election.", "NoAnswerError"),
        (500, FAILOVER, "NoAnswerError"),
        (500, "java.lang.NullPointerException", "JobError"),
        (404, "Job 4711 not found", "UnknownError"),
    ],
)
def test_an_answer_during_an_election_is_told_from_a_refusal(status: int, detail: str, kind: str) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status, explain=detail)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.handle_request, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    with pytest.raises(flink_cluster.JobError) as error, server:
        flink_cluster.Cluster(url)._ask(url, "/overview", "GET", None)  # noqa: SLF001 - without its patience
    assert type(error.value).__name__ == kind
