"""Several JobManagers: one host looks after the jobs, and who leads restarts last."""

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

PLAYBOOKS = Path(__file__).parents[3] / "ansible/playbooks"
GROUPS = {
    "kafka": ["node1"],
    "minio": ["node1"],
    "flink_jobmanager": ["node1", "node2", "node3"],
    "flink_taskmanager": ["node4"],
}
Run = Callable[..., subprocess.CompletedProcess[str]]
StandIn = Callable[[str, str], None]
JOBS = f"""
- hosts: flink
  gather_facts: false
  tasks:
    - ansible.builtin.import_tasks: {PLAYBOOKS}/tasks/jobs_host.yml
    - ansible.builtin.import_tasks: {PLAYBOOKS}/tasks/jobs.yml
      vars: {{jobs_state: running, jobs_waits: [false, true]}}
      when: inventory_hostname == jobs_host
"""
ROLE = """
- ansible.builtin.shell: 'echo "{{ inventory_hostname }} {{ flink_job_name }}" >> {{ playbook_dir }}/asked'
- ansible.builtin.fail: {msg: the job is refused}
  when: refused is defined
"""


@pytest.fixture
def asked(run_playbook: Run, tmp_path: Path) -> Callable[..., list[str]]:
    """Let role flink_job note on which host it looks after which job."""

    def run(*arguments: str) -> list[str]:
        role = tmp_path / "roles/flink_job/tasks/main.yml"
        role.parent.mkdir(parents=True, exist_ok=True)
        role.write_text(ROLE)
        (tmp_path / "play.yml").write_text(JOBS)
        ran = run_playbook(tmp_path / "play.yml", GROUPS, *arguments)
        assert "jobs_host" not in ran.stderr, ran.stderr
        return (tmp_path / "asked").read_text().splitlines()

    return run


DOWN = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
BOTH = ["ml_inference_job", "kafka_to_minio_job"]


@pytest.mark.parametrize(
    ("limit", "host"), [("all", "node1"), ("all:localhost:!node1", "node2"), ("node4,node3", "node3")]
)
def test_the_first_jobmanagers_host_that_is_there_looks_after_the_jobs(
    asked: Callable[..., list[str]], limit: str, host: str
) -> None:
    assert asked("--limit", limit) == [f"{host} {job}" for job in 2 * BOTH]


def test_a_host_that_is_down_without_anybody_saying_so_is_passed_over(
    asked: Callable[..., list[str]], tmp_path: Path
) -> None:
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars/node1.yml").write_text(yaml.safe_dump(DOWN))
    assert asked() == [f"node2 {job}" for job in 2 * BOTH]


def test_what_one_host_refuses_no_other_starts(asked: Callable[..., list[str]]) -> None:
    assert asked("--extra-vars", "refused=true") == ["node1 ml_inference_job"]


@pytest.fixture
def run_with_job(
    run_playbook: Run, stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Run a playbook with two JobManagers, and these tasks in place of role flink_job."""
    stand_in("systemctl", 'printf "LoadState=loaded\nActiveState=active\n"')
    stand_in("kafka-metadata-quorum", "echo 'CurrentVoters: []'")
    stand_in("kafka-cluster", "echo ID HOST")

    def run(playbook: str, tasks: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        for role, names in {
            "flink_job": ["main", "prune"],
            "python_app": ["main", "peers", "finish"],
        }.items():
            folder = tmp_path / "roles" / role / "tasks"
            folder.mkdir(parents=True)
            for name in names:
                (folder / f"{name}.yml").write_text("[]")
        (tmp_path / "roles/flink_job/tasks/main.yml").write_text(tasks)
        monkeypatch.setenv("ANSIBLE_ROLES_PATH", f"{tmp_path}/roles:{PLAYBOOKS.parent}/roles")
        groups = GROUPS | {
            "flink_jobmanager": ["node1", "node2"],
            "flink_taskmanager": ["node4", "node5"],
            "training": ["node6"],
        }
        return run_playbook(PLAYBOOKS / playbook, groups, *arguments)

    return run


def plays(ran: subprocess.CompletedProcess[str]) -> list[str]:
    return re.findall(r"^PLAY \[(.*)\]", ran.stdout, re.MULTILINE)


REFUSED = "- ansible.builtin.fail: {msg: the job is refused}"
LOST = yaml.safe_dump([{"ansible.builtin.ping": {}, "vars": DOWN}])


@pytest.mark.parametrize(
    ("playbook", "tasks", "arguments", "last"),
    [
        ("jobs.yml", REFUSED, [], "Jobs"),
        ("jobs.yml", LOST, [], "Jobs"),
        (
            "flink.yml",
            LOST,
            ["--start-at-task", "See which hosts can be reached"],
            "Stream processing (Flink)",
        ),
        ("remove.yml", REFUSED, ["--extra-vars", "remove_host=node5"], "Jobs"),
        ("zookeeper_anew.yml", REFUSED, ["--check"], "The jobs"),
        (
            "restart.yml",
            REFUSED,
            ["--tags", "jobmanager", "--extra-vars", '{"zookeeper_quorum": ""}'],
            "JobManagers",
        ),
    ],
)
def test_a_run_ends_with_the_host_that_looks_after_the_jobs(
    run_with_job: Run, playbook: str, tasks: str, arguments: list[str], last: str
) -> None:
    ran = run_with_job(playbook, tasks, *arguments)
    assert ran.returncode != 0, ran.stdout
    assert plays(ran)[-1] == last
    assert "Restart the JobManager" not in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "ends"),
    [
        (["--limit", "node6"], "no JobManager's host is in this run"),
        (["--limit", "node6", "--skip-tags", "jobs"], ""),
        ([], ""),
    ],
)
def test_zookeeper_keeps_its_data_unless_the_jobs_were_stopped(
    run_with_job: Run, arguments: list[str], ends: str
) -> None:
    ran = run_with_job("zookeeper_anew.yml", "[]", "--check", *arguments)
    assert (ran.returncode != 0) is bool(ends), ran.stdout
    assert ends in " ".join(ran.stdout.split())
    assert ("Look for ZooKeeper" in ran.stdout) is not bool(ends)


def test_a_run_goes_on_without_a_jobmanagers_host_that_is_down(run_with_job: Run, tmp_path: Path) -> None:
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars/node1.yml").write_text(yaml.safe_dump(DOWN))
    ran = run_with_job("jobs.yml", f"- ansible.builtin.copy: {{content: '', dest: {tmp_path}/done}}")
    assert (tmp_path / "done").exists(), ran.stdout
    assert plays(ran)[-1] == "Old releases of the jobs' code"


def test_whatever_looks_after_jobs_does_so_on_one_host() -> None:
    bound, unbound = [], []
    for file in sorted(PLAYBOOKS.glob("*.yml")):
        for play in yaml.safe_load(file.read_text()):
            for task in play.get("tasks", []):
                text = yaml.safe_dump(task)
                if (
                    re.search(r"tasks/jobs\.yml|name: flink_job\b|compact_lake", text)
                    and "lake-comp" not in text
                ):
                    (bound if "inventory_hostname == jobs_host" in str(task.get("when")) else unbound).append(
                        f"{file.name}: {task['name']}"
                    )
    assert unbound == []
    assert len(bound) == 6, bound


class Answering(BaseHTTPRequestHandler):
    """The JobManagers, each at an address of its own."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.headers["Host"].partition(":")[0])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def jobmanagers() -> Iterator[HTTPServer]:
    Answering.asked = []
    server = HTTPServer(("0.0.0.0", 0), Answering)  # noqa: S104 - several addresses of the loopback
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("leader", ["127.0.0.1", "127.0.0.2", ""])
def test_the_jobmanager_that_leads_restarts_last(
    run_playbook: Run, stand_in: StandIn, tmp_path: Path, jobmanagers: HTTPServer, leader: str
) -> None:
    port = jobmanagers.server_port
    stand_in("flink-leader", f"echo http://{leader}:{port}" if leader else "exit 1")
    stand_in("systemctl", f'echo "$*" >> {tmp_path}/calls; printf "LoadState=loaded\\nActiveState=active\\n"')
    (tmp_path / "play.yml").write_text(f"""
- hosts: flink
  gather_facts: false
  vars:
    flink_address: 127.0.0.1
    flink_version: 2.3.0
    flink_jobmanager_address: "127.0.0.{{{{ node_index }}}}"
    flink_web_port: {port}
    flink_jobmanager_due: "{{{{ 'flink_jobmanager' in group_names }}}}"
  tasks:
    - ansible.builtin.import_role: {{name: flink, tasks_from: restart_jobmanagers.yml}}
""")
    ran = run_playbook(tmp_path / "play.yml", GROUPS)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    restarted = Answering.asked
    assert sorted(restarted) == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    assert restarted[-1] == leader or not leader
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls.count("restart flink-jobmanager.service") == len(restarted)


def test_where_another_cluster_is_to_run_nothing_is_configured_before_the_jobs_have_stopped(
    run_playbook: Run, stand_in: StandIn, tmp_path: Path
) -> None:
    """What starts again by itself meanwhile finds itself in the cluster that has the jobs."""
    former = {
        "node1": "high-availability.cluster-id: /fraud-2.2.0\n",
        "node2": "rest.port: 8081\n",
        "node3": "high-availability.cluster-id: /fraud-2.3.0\n",
    }
    for host, configuration in former.items():
        (tmp_path / host).mkdir()
        (tmp_path / host / "config.yaml").write_text(configuration)
    note = "- ansible.builtin.shell: 'echo {} {{{{ inventory_hostname }}}} >> {{{{ playbook_dir }}}}/order'"
    shutil.copytree(PLAYBOOKS.parent / "roles/flink", tmp_path / "roles/flink")
    (tmp_path / "tasks").mkdir()
    for name, stub in {
        "flink.yml": (PLAYBOOKS / "flink.yml").read_text(),
        "tasks/jobs_host.yml": (PLAYBOOKS / "tasks/jobs_host.yml").read_text(),
        "tasks/jobs.yml": note.format("stopped by"),
        "roles/flink/tasks/peers.yml": "",
        "roles/flink/tasks/install.yml": "",
        "roles/flink/tasks/configure.yml": note.format("configured"),
        "roles/java/tasks/main.yml": "",
        "roles/python_app/tasks/main.yml": "",
        "roles/python_app/tasks/peers.yml": "",
        "roles/release/tasks/finish.yml": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(stub)
    stand_in("systemctl", 'printf "LoadState=loaded\\nActiveState=active\\n"')
    stand_in("service-inputs", f"echo compared >> {tmp_path}/order")
    stand_in("flink-health", "echo healthy")
    variables = {
        "flink_version": "2.3.0",
        "zookeeper_quorum": "192.0.2.1:2181",
        "flink_config_dir": f"{tmp_path}/{{{{ inventory_hostname }}}}",
        "settings_file": f"{tmp_path}/settings.json",
    }
    ran = run_playbook(tmp_path / "flink.yml", GROUPS, "--extra-vars", json.dumps(variables))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    order = (tmp_path / "order").read_text().splitlines()
    assert {*order[:2]} == {"configured node3", "configured node4"}, order
    assert order[2] == "stopped by node1", order
    assert {*order[3:5]} == {"configured node1", "configured node2"}, order
    assert order[5:] == ["compared"] * 4


def test_the_jobmanager_that_leads_is_left_alone_once_another_does_not_come_back(
    run_playbook: Run, stand_in: StandIn, tmp_path: Path
) -> None:
    # nobody listens at any other address
    with HTTPServer(("127.0.0.2", 0), Answering) as leads:
        port = leads.server_port
        stand_in("flink-leader", f"echo http://127.0.0.2:{port}")
        stand_in(
            "systemctl", f'echo "$*" >> {tmp_path}/calls; printf "LoadState=loaded\nActiveState=active\n"'
        )
        variables = {
            "host_address": "127.0.0.{{ node_index }}",
            "ports": {"flink_web": port},
            "zookeeper_quorum": "192.0.2.1:2181",
            "flink_start_timeout_s": 2,
        }
        arguments = ["--tags", "jobmanager", "--extra-vars", json.dumps(variables)]
        groups = GROUPS | {"flink_jobmanager": ["node1", "node2"]}
        ran = run_playbook(PLAYBOOKS / "restart.yml", groups, *arguments)
    assert ran.returncode != 0, ran.stdout
    assert plays(ran)[-1] == "JobManagers"
    assert (tmp_path / "calls").read_text().splitlines().count("restart flink-jobmanager.service") == 1


def test_without_zookeeper_there_is_one_jobmanager(run_playbook: Run) -> None:
    for quorum, refused in (("", True), ("192.0.2.1:2181", False)):
        variables = json.dumps({"zookeeper_quorum": quorum})
        groups = GROUPS | {
            "kafka": ["node1", "node2", "node3"],
            "minio": ["node1", "node2", "node3", "node4"],
            "zookeeper": ["node1"],
            "training": ["node4"],
        }
        ran = run_playbook(
            PLAYBOOKS / "validate.yml", groups, "--extra-vars", variables, "--limit", "localhost,node4"
        )
        told = " ".join((ran.stdout + ran.stderr).split())
        assert ("nothing decides which of several leads" in told) is refused, told
