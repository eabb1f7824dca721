"""What health.yml asks, when, and what it says of a broker; how it judges the others is tested on hosts."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

PLAYBOOKS = Path(__file__).parents[3] / "ansible/playbooks"
GROUPS = {
    "kafka": ["node1"],
    "zookeeper": ["node1"],
    "minio": ["node1"],
    "flink_jobmanager": ["node1"],
    "flink_taskmanager": ["node1"],
    "training": ["node1"],
}
MINIO = {"info": {"servers": [{"state": "online", "drives": [{"endpoint": "d1", "state": "ok"}]}]}}
Run = Callable[..., subprocess.CompletedProcess[str]]


class Healthy(BaseHTTPRequestHandler):
    """MinIO, as its probe sees it."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def answers() -> dict[str, str]:
    """A shell script in place of each probe; `ask` notes its arguments in tmp_path/calls."""
    return {
        "kafka-health": "echo healthy",
        "zookeeper-health": "echo healthy",
        "mc": f"echo '{json.dumps(MINIO)}'",
        "flink-health": "echo healthy",
        "service-inputs": "",
        "haproxy-health": "echo healthy",
        "systemctl": "echo Result=success; echo ExecMainExitTimestamp=",
        "fraud-audit": "echo 0 lost",
    }


@pytest.fixture
def ask(
    run_playbook: Run, stand_in: Callable[[str, str], None], tmp_path: Path, answers: dict[str, str]
) -> Iterator[Run]:
    server = HTTPServer(("127.0.0.1", 0), Healthy)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def run(
        playbook: str, *arguments: str, groups: dict[str, list[str]] = GROUPS
    ) -> subprocess.CompletedProcess[str]:
        for name, answer in answers.items():
            stand_in(name, f'echo "{name} $*" >> {tmp_path}/calls\n{answer}')
        variables = {
            "health_timeout_s": 2,
            "host_address": "127.0.0.1",
            "ports": {"minio": server.server_port},
        }
        return run_playbook(PLAYBOOKS / playbook, groups, "--extra-vars", json.dumps(variables), *arguments)

    yield run
    server.shutdown()
    server.server_close()


def calls(tmp_path: Path) -> set[str]:
    return set((tmp_path / "calls").read_text().splitlines())


@pytest.mark.parametrize("options", [[], ["--check"]])
def test_a_dry_run_asks_too(ask: Run, tmp_path: Path, options: list[str]) -> None:
    ran = ask("health.yml", *options)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert calls(tmp_path) == {
        "kafka-health --wait 2",
        "zookeeper-health --wait 2",
        "mc admin info lab --json",
        "haproxy-health --wait 2",
        "flink-health --wait 2 --job ml_inference_job --job kafka_to_minio_job",
        "systemctl show --property=ExecMainExitTimestamp,Result risk-renewal.service",
        "systemctl show --property=ExecMainExitTimestamp,Result lake-compaction.service",
        "systemctl show --property=ExecMainExitTimestamp,Result retraining.service",
        "systemctl show --property=ExecMainExitTimestamp,Result continuous-audit.service",
        "fraud-audit --state=/var/lib/continuous-audit --show",
    }


def test_a_member_of_zookeeper_that_is_missing_is_told(ask: Run, answers: dict[str, str]) -> None:
    answers["zookeeper-health"] = "echo member 2 does not serve; exit 1"
    ran = ask("health.yml")
    assert ran.returncode != 0
    assert "ZooKeeper: member 2 does not serve" in ran.stdout + ran.stderr


@pytest.mark.parametrize("probe", ["kafka-health", "haproxy-health"])
def test_what_a_host_lacks_is_said_and_so_is_a_probe_that_is_not_there(
    ask: Run, tmp_path: Path, answers: dict[str, str], probe: str
) -> None:
    answers[probe] = "echo it sees node3 down; exit 1"
    ran = ask("health.yml")
    assert ran.returncode != 0
    assert "it sees node3 down" in ran.stdout.partition("TASK [Say what is amiss]")[2], ran.stdout
    (tmp_path / "bin" / probe).unlink()
    del answers[probe]
    ran = ask("health.yml")
    assert ran.returncode != 0
    assert "Error executing command" in ran.stdout.partition("TASK [Say what is amiss]")[2], ran.stdout


def test_an_upgrade_that_broke_off_while_jobs_were_stopped_can_be_run_again(
    ask: Run, tmp_path: Path, answers: dict[str, str]
) -> None:
    # this answer ends the run before anything is installed
    answers["kafka-health"] = "echo the broker does not answer; exit 1"
    first = "Wait until the broker serves and all replicas are in sync"
    # what came meanwhile has no predictions
    answers["fraud-audit"] = "exit 1"
    assert ask("upgrade.yml", "--start-at-task", first).returncode != 0
    assert "flink-health --wait 2" in calls(tmp_path)
    assert not any(call.startswith("fraud-audit") for call in calls(tmp_path))


@pytest.mark.parametrize(
    ("outdated", "asked"),
    [
        ("/etc/flink/config.yaml", False),
        # no process is of another cluster for this
        ("/etc/fraud-detection/jobs.json", True),
    ],
)
def test_an_upgrade_that_broke_off_among_restarts_of_flink_can_be_run_again(
    ask: Run, tmp_path: Path, answers: dict[str, str], outdated: str, *, asked: bool
) -> None:
    """One host's processes are still of the former cluster, so neither host's find the other's."""
    answers["kafka-health"] = "echo the broker does not answer; exit 1"
    answers["flink-health"] = "echo no JobManager leads; exit 1"
    answers["service-inputs"] = f"mkdir {tmp_path}/one && echo 'flink-taskmanager@1.service {outdated}'"
    first = "Wait until the broker serves and all replicas are in sync"
    ran = ask("upgrade.yml", "--start-at-task", first, groups=GROUPS | {"flink_taskmanager": ["node2"]})
    amiss = ran.stdout.partition("TASK [Say what is amiss]")[2]
    assert "the broker does not answer" in amiss, ran.stdout
    assert ("no JobManager leads" in amiss) is asked, amiss
    assert ("Flink is not asked:" not in ran.stdout) is asked
    assert "service-inputs changed flink-jobmanager.service flink-taskmanager@1.service" in calls(tmp_path)
    assert ("flink-health --wait 2" in calls(tmp_path)) is asked


def test_a_transaction_that_is_lost_is_amiss(ask: Run, answers: dict[str, str]) -> None:
    answers["fraud-audit"] = 'echo "fraud-audit: 1 transactions have neither prediction" >&2; exit 1'
    ran = ask("health.yml")
    assert ran.returncode != 0
    assert "Say what is amiss" in ran.stdout
    assert (
        "fraud-audit: 1 transactions have neither prediction" in ran.stdout.partition("Say what is amiss")[2]
    )


def test_what_one_host_found_ends_the_playbooks_that_begin_with_it(
    run_playbook: Run, stand_in: Callable[[str, str], None], tmp_path: Path
) -> None:
    stand_in("kafka-health", "echo healthy")
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars/node2.yml").write_text("health_audit_lacks: [a transaction is lost]")
    (tmp_path / "play.yml").write_text(f"""
- import_playbook: {PLAYBOOKS}/health.yml
- hosts: kafka
  gather_facts: false
  tasks: []
""")
    groups = {"kafka": ["node1"], "elsewhere": ["node2"]}
    ran = run_playbook(tmp_path / "play.yml", groups, "--extra-vars", "health_timeout_s=2")
    assert ran.returncode != 0, ran.stdout + ran.stderr
    assert "a transaction is lost" in ran.stdout
    assert "PLAY [kafka]" not in ran.stdout


def test_a_drive_that_fills_up_is_reported_and_fails_nothing(ask: Run, answers: dict[str, str]) -> None:
    drives = [
        {"endpoint": f"drive-{taken}", "state": "ok", "totalspace": 1000, "availspace": 1000 - 10 * taken}
        for taken in (84, 91, 100)
    ]
    answers["mc"] = f"echo '{json.dumps({'info': {'servers': [{'state': 'online', 'drives': drives}]}})}'"
    ran = ask("health.yml")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = " ".join(ran.stdout.split())
    assert "drive-91 (91 %), drive-100 (100 %) of MinIO: more than 85 % are taken." in told, told
    assert "drive-84" not in told


def test_when_scheduled_work_ran_last_is_told_and_fails_nothing(ask: Run, answers: dict[str, str]) -> None:
    answers["systemctl"] = (
        "echo ExecMainExitTimestamp=Sat 2026-11-28 03:41:07 UTC\n"
        'case "$*" in *compaction*) echo Result=timeout ;; *) echo Result=success ;; esac'
    )
    ran = ask("health.yml")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = " ".join(ran.stdout.split())
    assert "risk-renewal ran last until Sat 2026-11-28 03:41:07 UTC" in told
    failed = "lake-compaction failed at Sat 2026-11-28 03:41:07 UTC (timeout): journalctl -u lake-compaction"
    assert failed in told
    answers["systemctl"] = "echo Result=success; echo ExecMainExitTimestamp="
    assert "lake-compaction has not run since node1 was started" in ask("health.yml").stdout
