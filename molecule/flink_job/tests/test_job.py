"""What role flink_job does with a job that is there. The tests build on each other, in this order."""

import json
import re
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

Apply = Callable[..., subprocess.CompletedProcess[str]]
SCENARIO = Path(__file__).parents[1]
# The journal may hold what an earlier run of these tests printed.
RUN = f"{time.time():.0f}"
ONE, TWO, THREE, FOUR, FIVE, SIX, SEVEN, EIGHT, NINE, TEN, ELEVEN = (
    f"job-{number}-{RUN}" for number in range(1, 12)
)
ENDED = ("FINISHED", "CANCELED", "FAILED")
PLAYBOOKS = SCENARIO.parents[1] / "ansible/playbooks"
PACKAGE = "/opt/fraud-detection/venv/lib/python3.11/site-packages/flink_jobs"


@pytest.fixture
def job(apply: Callable[..., subprocess.CompletedProcess[str]]) -> Apply:
    """Apply the role with variables of its own."""
    return partial(apply, SCENARIO / "job.yml")


def changed(result: subprocess.CompletedProcess[str]) -> bool:
    return "changed=0" not in result.stdout


def get(host: Host, path: str) -> Any:  # noqa: ANN401 - JSON
    address = host.ansible.get_variables()["ansible_host"]
    return json.loads(host.check_output(f"curl -sSf http://{address}:8081{path}"))


def running(host: Host) -> list[str]:
    return [job["jid"] for job in get(host, "/jobs/overview")["jobs"] if job["state"] == "RUNNING"]


def printed(host: Host, label: str) -> list[tuple[int, int]]:
    """(count, id) of each line that the job printed under this label."""
    journal = host.check_output("journalctl -u flink-taskmanager@1 -o cat --no-pager")
    return [
        (int(count), int(id_)) for count, id_ in re.findall(rf"{label} key=1 count=(\d+) id=(\d+)", journal)
    ]


def wait_for_output(host: Host, label: str) -> list[tuple[int, int]]:
    for _ in range(60):
        if lines := printed(host, label):
            return lines
        time.sleep(2)
    raise AssertionError(
        f"nothing printed by {label}\n{host.check_output('journalctl -u flink-taskmanager@1 -n 40')}"
    )


def wait_for_checkpoint(host: Host) -> None:
    (job_id,) = running(host)
    for _ in range(60):
        if get(host, f"/jobs/{job_id}/checkpoints")["latest"]["completed"]:
            return
        time.sleep(2)
    raise AssertionError(f"no checkpoint\n{host.check_output('journalctl -u flink-jobmanager -n 40')}")


def test_unchanged_job_is_left_alone(host: Host, job: Apply) -> None:
    job("-e", f"job_label={ONE}")
    before = running(host)
    assert len(before) == 1
    assert not changed(job("-e", f"job_label={ONE}"))
    assert running(host) == before


def test_check_mode_shows_the_change_and_does_nothing(host: Host, job: Apply) -> None:
    before = running(host)
    result = job("--check", "--diff", "-e", f"job_label={TWO}")
    assert changed(result)
    assert "arguments:" in result.stdout
    assert running(host) == before


def test_changed_job_resumes_from_a_savepoint(host: Host, job: Apply) -> None:
    last_count, last_id = wait_for_output(host, ONE)[-1]
    (before,) = running(host)
    assert changed(job("-e", f"job_label={TWO}"))
    (after,) = running(host)
    assert after != before
    restored = get(host, f"/jobs/{after}/checkpoints")["latest"]["restored"]
    assert restored["external_path"].startswith("s3://flink/savepoints/count/")
    # the count goes on where it stopped: no record was left out or counted twice
    count, id_ = wait_for_output(host, TWO)[0]
    assert (count, id_) > (last_count, last_id)
    assert count == printed(host, ONE)[-1][0] + 1


def test_lost_job_resumes_from_its_checkpoint(host: Host, job: Apply) -> None:
    wait_for_checkpoint(host)
    host.check_output("systemctl restart flink-jobmanager")
    for _ in range(90):
        if host.run("flink list").rc == 0 and get(host, "/overview")["taskmanagers"] == 1:
            break
        time.sleep(2)
    assert running(host) == []
    assert changed(job("-e", f"job_label={THREE}"))
    (job_id,) = running(host)
    restored = get(host, f"/jobs/{job_id}/checkpoints")["latest"]["restored"]
    assert restored["external_path"].startswith("s3://flink/checkpoints/count/")
    assert wait_for_output(host, THREE)[0][0] > 1


def test_stopped_job_keeps_its_state(host: Host, job: Apply) -> None:
    assert changed(job("-e", "flink_jobs_state=stopped"))
    assert running(host) == []
    assert not changed(job("-e", "flink_jobs_state=stopped"))
    assert changed(job("-e", f"job_label={FOUR}"))
    assert wait_for_output(host, FOUR)[0][0] > 1


def test_job_that_an_operator_stopped_keeps_its_state(host: Host, job: Apply) -> None:
    (job_id,) = running(host)
    host.check_output(f"runuser -u ops -- flink stop {job_id}")
    assert changed(job("-e", f"job_label={FIVE}"))
    assert wait_for_output(host, FIVE)[0][0] > 1


def test_second_job_of_the_same_name_is_reported(host: Host, job: Apply) -> None:
    (job_id,) = running(host)
    host.check_output(
        "runuser -u ops -- flink run -d -Dpipeline.name=count -Dpython.execution-mode=thread "
        "-py /opt/fraud-detection/count_job.py --label=stray"
    )
    result = job("-e", f"job_label={FIVE}", fails=True)
    assert "flink cancel" in result.stdout
    jobs = get(host, "/jobs/overview")["jobs"]
    for stray in {job["jid"] for job in jobs if job["state"] not in ENDED} - {job_id}:
        host.check_output(f"runuser -u ops -- flink cancel {stray}")


def test_two_runs_at_once_submit_the_job_once(host: Host, job: Apply) -> None:
    job("-e", "flink_jobs_state=stopped")
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(job, "-e", f"job_label={FIVE}") for _ in range(2)]
    # it does not matter which run submitted it
    assert sorted(changed(run.result()) for run in runs) == [False, True]
    assert len(running(host)) == 1


@pytest.mark.slow
def test_failure_names_its_cause(host: Host, job: Apply) -> None:
    result = job("-e", "job_label=broken", "-e", "flink_job_timeout_s=90", fails=True)
    assert "this label is broken" in result.stdout
    assert changed(job("-e", f"job_label={SIX}"))
    assert wait_for_output(host, SIX)[0][0] > 1


@pytest.mark.slow
def test_job_with_other_settings_is_stopped_before_its_taskmanager(
    host: Host, apply: Apply, job: Apply
) -> None:
    this = ("-e", f"job_label={NINE}")
    other = (*this, "-e", '{"job_topics": {"predictions": "scores"}}')
    job(*this)
    wait_for_output(host, NINE)
    wait_for_checkpoint(host)
    (before,) = running(host)
    restored = get(host, f"/jobs/{before}/checkpoints")["counts"]["restored"]
    apply(PLAYBOOKS / "flink.yml", *other)
    # the job was stopped before the TaskManager came back
    assert running(host) == []
    assert get(host, f"/jobs/{before}")["state"] == "FINISHED"
    assert get(host, f"/jobs/{before}/checkpoints")["counts"]["restored"] == restored
    told = job("--diff", *other)
    assert "settings.topics:" in told.stdout
    (after,) = running(host)
    latest = get(host, f"/jobs/{after}/checkpoints")["latest"]
    assert latest["restored"]["external_path"].startswith("s3://flink/savepoints/count/")
    last_count = printed(host, NINE)[-1][0]
    for _ in range(30):
        if printed(host, NINE)[-1][0] > last_count + 2:
            break
        time.sleep(2)
    counts = [count for count, _ in printed(host, NINE)]
    assert counts[-1] > last_count + 2
    assert counts == list(range(counts[0], counts[0] + len(counts))), "something is left out, or there twice"
    assert not changed(job(*other))


@pytest.mark.slow
def test_job_does_not_run_with_code_that_it_was_not_submitted_from(
    host: Host, apply: Apply, job: Apply
) -> None:
    this = ("-e", f"job_label={TEN}")
    apply(PLAYBOOKS / "flink.yml", *this)
    job(*this)
    wait_for_output(host, TEN)
    wait_for_checkpoint(host)
    (job_id,) = running(host)
    host.check_output(f"echo '# new' >> {PACKAGE}/domain/words.py")
    host.check_output("systemctl restart flink-taskmanager@1")
    lines = printed(host, TEN)

    def refusal() -> str:
        history = get(host, f"/jobs/{job_id}/exceptions?maxExceptions=5")["exceptionHistory"]["entries"]
        return next(
            (entry["stacktrace"] for entry in history if "OtherInstallationError" in entry["stacktrace"]), ""
        )

    for _ in range(60):
        if refusal():
            break
        time.sleep(2)
    assert "this job was submitted from /opt/fraud-detection/venv-" in refusal()
    assert "playbooks/jobs.yml" in refusal()
    assert printed(host, TEN) == lines, "the job went on"
    # the remedy that the message names
    assert changed(job("-e", f"job_label={ELEVEN}"))
    assert wait_for_output(host, ELEVEN)[0][0] > 1


# It takes `host`, as all others do: pytest would run it last without it, when another job runs.
def test_no_secret_is_on_a_command_line(host: Host, secretly: Apply) -> None:
    assert running(host)
    secretly(SCENARIO / "converge.yml", "-e", f"job_label={ELEVEN}")
    secretly(PLAYBOOKS / "compact.yml")


def test_state_of_a_renamed_operator_is_dropped_only_if_allowed(host: Host, job: Apply) -> None:
    last_id = wait_for_output(host, ELEVEN)[-1][1]
    renamed = ("-e", f"job_label={SEVEN}", "-e", "job_uid=other")
    result = job(*renamed, fails=True)
    assert "allowNonRestoredState" in result.stdout
    assert running(host) == []
    assert changed(job(*renamed, "-e", "flink_job_allow_non_restored_state=true"))
    # counts begin at one again, and the source goes on where it was
    count, id_ = wait_for_output(host, SEVEN)[0]
    assert count == 1
    assert id_ > last_id


@pytest.mark.slow
def test_another_version_of_flink_goes_on_with_the_job(
    host: Host, apply: Apply, next_release: Callable[[str], dict[str, str]]
) -> None:
    wait_for_checkpoint(host)
    release = next_release("flink")
    apply(
        SCENARIO / "converge.yml",
        "--extra-vars",
        json.dumps(release | {"job_label": EIGHT, "job_uid": "other"}),
    )
    processes = host.process.filter(user="flink", comm="java")
    assert len(processes) == 2
    for process in processes:
        assert f"-cp {host.file('/opt/flink').linked_to}/lib/" in process.args
    assert host.file("/opt/flink").linked_to.startswith(f"/opt/flink-{release['flink_version']}-")
    assert host.file("/opt/flink/NEXT").is_file
    assert wait_for_output(host, EIGHT)[0][0] > 1
