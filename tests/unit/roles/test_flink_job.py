"""What the module does with a job: which changes replace it, and that only one of two runs submits it."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_modules import load

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
        self.cancelled: set[str] = set()

    def slots(self) -> int:
        return self.total_slots

    def configuration(self) -> dict[str, str]:
        return self.options

    def active_jobs(self, _name: str) -> list[str]:
        return list(self.jobs)

    def deployed(self, job_id: str) -> dict[str, str]:
        return self.jobs[job_id]

    def savepoints(self, _name: str) -> list[tuple[float, str, int]]:
        return [
            (float(number), f"savepoint of {job_id}", self.ended[job_id])
            for number, job_id in enumerate(self.stopped)
        ]

    def made_by(self, _name: str, snapshot: str) -> dict[str, str]:
        return self.remembered.get(snapshot, {})

    def wait_for_state(self, job_id: str, wanted: set[str], _timeout_s: float) -> str:
        if job_id in self.cancelled and "CANCELLING" not in wanted:
            self.jobs.pop(job_id)
            return "CANCELED"
        return "RUNNING"

    def stop_with_savepoint(self, job_id: str, folder: str | None, _timeout_s: float) -> str:
        self.folders.append(folder)
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

    def run_command(self, command: list[str], **options: Any) -> tuple[int, str, str]:  # noqa: ANN401 - as Ansible's
        assert options["pass_fds"], "the client does not keep the lock"
        self.commands.append(command)
        time.sleep(0.3)
        return 0, f"Job has been submitted with JobID {self.cluster.submit(command)}", ""


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    fake = FakeCluster()
    monkeypatch.setattr(flink_job, "Cluster", lambda _url: fake)
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
            "code": [],
            "settings": str(settings),
            "state": "running",
            "restore": "latest",
            "state_format": 1,
            "state_formats_read": [],
            "allow_non_restored_state": False,
            "wait": True,
            "timeout_s": 5,
            "rest_url": "http://192.0.2.1:8081",
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


def sized(parallelism: int, shards: int | None = None) -> dict[str, Any]:
    """Options of a job with so many subtasks, and two shards for each if not told otherwise."""
    return {"properties": {"parallelism.default": parallelism}, "shards": shards or 2 * parallelism}


@pytest.mark.parametrize(
    ("former", "wanted"),
    [((2, 4), (4, 8)), ((4, 8), (2, 4)), ((4, 8), (1, 2)), ((16, 32), (32, 64)), ((2, 6), (3, 6))],
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
        "/jobs/a": {"state": "RUNNING", "vertices": [{"status": status} for status in statuses]},
    }
    known = flink_cluster.Cluster("http://192.0.2.1:8081")
    monkeypatch.setattr(known, "request", answers.__getitem__)
    assert told in known.root_cause("a")


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
