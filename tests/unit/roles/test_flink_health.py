"""How the probe judges the JobManager's answers and the processes that run."""

import os
import socket
import sys
import threading
import types
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[3] / "ansible/roles/flink/files"))
import flink_health

STARTED_S = 1_800_000_000


class JobManager:
    """A cluster of one TaskManager, on which one task of one job runs; tests change what it believes."""

    def __init__(self) -> None:
        self.registered_port = "6203"
        self.job = {"jid": "j", "name": "scoring", "state": "RUNNING"}
        self.checkpoints = ["IN_PROGRESS", "COMPLETED", "FAILED", "FAILED", "FAILED"]
        self.task = {"taskmanager-id": "node2-1", "status": "RUNNING", "start-time": (STARTED_S + 5) * 1000}

    def get(self, path: str) -> object:
        path_of_rpc = f"pekko.tcp://flink@10.78.0.12:{self.registered_port}/user/rpc/taskmanager_0"
        return {
            "/taskmanagers/node2-1": {"path": path_of_rpc} if self.registered_port else None,
            "/jobs/overview": {"jobs": [self.job]},
            "/jobs/j/checkpoints": {
                "history": [
                    {"status": status, "failure_message": "no space" if status == "FAILED" else None}
                    for status in self.checkpoints
                ]
            },
            "/jobs/j": {"vertices": [{"id": "v", "name": "Source"}]},
            "/jobs/j/vertices/v": {"subtasks": [self.task]},
        }[path]


@pytest.fixture
def jobmanager() -> JobManager:
    return JobManager()


def found(jobmanager: JobManager, *, runs: bool = True, job: str = "scoring") -> list[str]:
    process = flink_health.Process("node2-1", "6203", STARTED_S) if runs else None
    jobs = flink_health.running_jobs(jobmanager.get)
    return [
        *flink_health.registration_problems(jobmanager.get, {"1": process}),
        *flink_health.job_problems(jobmanager.get, jobs, {"1": process}, [job]),
    ]


def test_all_is_well(jobmanager: JobManager) -> None:
    assert found(jobmanager) == []


def test_a_process_that_does_not_run_is_reported_though_it_is_registered(jobmanager: JobManager) -> None:
    assert found(jobmanager, runs=False) == ["flink-taskmanager@1 does not run"]


def test_a_registration_at_another_port_is_taken_for_the_former_process(jobmanager: JobManager) -> None:
    jobmanager.registered_port = "6202"
    (problem,) = found(jobmanager)
    assert "not registered yet" in problem
    assert "6202" in problem


def test_a_process_that_is_not_registered_is_reported(jobmanager: JobManager) -> None:
    jobmanager.registered_port = ""
    assert found(jobmanager) == ["node2-1 is not registered"]


def test_a_task_older_than_its_process_is_reported(jobmanager: JobManager) -> None:
    jobmanager.task["start-time"] = STARTED_S * 1000 - 1
    (problem,) = found(jobmanager)
    assert "as it was before" in problem


def test_a_task_on_another_host_is_left_to_that_hosts_probe(jobmanager: JobManager) -> None:
    jobmanager.task |= {"taskmanager-id": "node3-1", "start-time": 1}
    assert found(jobmanager) == []


@pytest.mark.parametrize("status", ["CREATED", "DEPLOYING", "INITIALIZING", "FAILED"])
def test_each_task_of_a_job_that_is_asked_for_runs(jobmanager: JobManager, status: str) -> None:
    jobmanager.task |= {"status": status, "start-time": -1}
    assert found(jobmanager) == [f"job scoring: task Source is {status}"]
    assert found(jobmanager, job="other") == ["job other does not run"]


def test_a_job_that_failed_does_not_run(jobmanager: JobManager) -> None:
    jobmanager.job["state"] = "RESTARTING"
    assert found(jobmanager) == ["job scoring does not run"]


def test_a_jobmanager_that_ends_in_the_middle_of_an_answer_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", b'HTTP/1.1 200 OK\r\n\r\n{"jobs": []}']
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            for each in answers:
                connection, _ = server.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(each)

        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(flink_health, "find_leader", lambda: url)
        monkeypatch.setattr(flink_health, "ENABLED", tmp_path)
        monkeypatch.setattr(sys, "argv", ["flink-health", "--wait", "20"])
        threading.Thread(target=answer, daemon=True).start()
        flink_health.main()
    assert capsys.readouterr().out == "healthy\n"


@pytest.mark.parametrize(
    ("checkpoints", "told"),
    [
        (["FAILED", "FAILED", "COMPLETED", "FAILED"], []),
        (["IN_PROGRESS", "FAILED", "FAILED", "FAILED", "COMPLETED"], ["the last 3 checkpoints failed"]),
        (["FAILED"] * 10, ["the last at least 10 checkpoints failed"]),
        ([], []),
    ],
)
def test_checkpoints_that_fail_are_an_alarm_from_the_third_in_a_row_on(
    jobmanager: JobManager, checkpoints: list[str], told: list[str]
) -> None:
    """The job goes on, so nothing else tells of them."""
    jobmanager.checkpoints = checkpoints
    assert found(jobmanager) == [f"job scoring: {each}, the latest with: no space" for each in told]
    # while a TaskManager restarts, nobody waits for checkpoints
    assert found(jobmanager, job="other") == ["job other does not run"]


def test_a_jobmanager_of_this_host_that_does_not_answer_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another one leads, so that jobs run."""
    (tmp_path / "flink-jobmanager.service").touch()
    (tmp_path / "config.yaml").write_text("rest.address: 127.0.0.1\nrest.port: 1\n")
    monkeypatch.setattr(flink_health, "CONFIG", tmp_path / "config.yaml")
    monkeypatch.setattr(flink_health, "ENABLED", tmp_path)
    monkeypatch.setattr(flink_health, "find_leader", lambda: pytest.fail("it is not asked any more"))
    monkeypatch.setattr(sys, "argv", ["flink-health"])
    with pytest.raises(SystemExit):
        flink_health.main()
    assert "the JobManager at http://127.0.0.1:1 does not answer" in capsys.readouterr().out


def test_why_nobody_leads_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leader = tmp_path / "flink-leader"
    leader.write_text("#!/bin/sh\necho no JobManager leads >&2; exit 1\n")
    leader.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(flink_health, "ENABLED", tmp_path / "none")
    monkeypatch.setattr(sys, "argv", ["flink-health"])
    with pytest.raises(SystemExit):
        flink_health.main()
    assert capsys.readouterr().out == "no JobManager leads\n"


@pytest.mark.parametrize(
    ("places", "taskmanagers", "told"),
    [
        (["node2-1", "node3-1"], 2, []),
        (["node2-1"], 2, []),
        (["node2-1", "node3-1", "node2-1"], 2, []),
        (["node2-1", "node2-1"], 1, []),
        (["node3-1", "node3-1"], 2, ["job scoring: its 2 subtasks are on node3-1 only, of 2 TaskManagers"]),
    ],
)
def test_a_job_that_leaves_out_taskmanagers_is_told(
    jobmanager: JobManager, places: list[str], taskmanagers: int, told: list[str]
) -> None:
    answers = {
        "/jobs/j": {"vertices": [{"id": "v", "name": "Source"}, {"id": "one", "name": "Committer"}]},
        "/jobs/j/vertices/v": {"subtasks": [{"taskmanager-id": place} for place in places]},
        "/jobs/j/vertices/one": {"subtasks": [{"taskmanager-id": places[0]}]},
    }

    def uneven() -> list[str]:
        jobs = flink_health.running_jobs(lambda path: answers.get(path) or jobmanager.get(path))
        return [*flink_health.uneven_jobs(jobs, taskmanagers)]

    assert uneven() == told
    jobmanager.job["state"] = "RESTARTING"
    assert uneven() == []


def test_who_waits_pauses_for_longer_than_a_look_takes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock, pauses = [0.0], []

    def look() -> str:
        clock[0] += 4
        raise OSError("no JobManager leads")

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(flink_health, "ENABLED", tmp_path)
    monkeypatch.setattr(flink_health, "find_leader", look)
    monkeypatch.setattr(flink_health, "time", types.SimpleNamespace(monotonic=lambda: clock[0], sleep=pause))
    monkeypatch.setattr(sys, "argv", ["flink-health", "--wait", "20"])
    with pytest.raises(SystemExit):
        flink_health.main()
    assert pauses == [9, 9]
