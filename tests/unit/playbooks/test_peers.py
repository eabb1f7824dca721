"""flink.yml and minio.yml refuse a run with --limit that would leave hosts that do not fit each other."""

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ANSIBLE = Path(__file__).parents[3] / "ansible"
ROLES = ANSIBLE / "roles"
GROUPS = {
    "kafka": ["node1"],
    "minio": ["node1", "node2"],
    "flink_jobmanager": ["node1"],
    "flink_taskmanager": ["node2"],
}
REFUSED = "node2 would not fit the other hosts of the cluster, which this run leaves alone: "
REMEDY = "Nothing was changed. Run it without --limit."
# what each release is made of
SOURCES = {
    "flink-2.3.0": (["flink.tar.gz"], "release/tasks/unpack.yml"),
    "venv": (["wheels.tar", "fraud.whl"], "python_app/tasks/environment.yml"),
    "minio": (["bin/minio", "bin/mc"], "minio/tasks/executables.yml"),
}
Run = Callable[..., subprocess.CompletedProcess[str]]


class Cluster:
    """Hosts that are all this machine; what their services read is in one folder."""

    def __init__(self, run_playbook: Run, root: Path) -> None:
        self.run_playbook = run_playbook
        self.root = root
        for sources, _ in SOURCES.values():
            for name in sources:
                self.write(name, name)
        self.variables: dict[str, Any] = {
            "deployment_dir": str(root / "deployment"),
            "artifacts": {"flink": str(root / "flink.tar.gz"), "minio": str(root / "bin")},
            "package_archives": {"flink": str(root / "wheels.tar")},
            "project_wheel": str(root / "fraud.whl"),
            "flink_home": str(root / "flink"),
            "flink_version": "2.3.0",
            "flink_config_dir": str(root / "etc"),
            "python_app_venv": str(root / "venv"),
            "python_app_settings_file": str(root / "etc/settings.json"),
            "minio_home": str(root / "minio"),
            "minio_settings_file": str(root / "etc/minio.env"),
            "minio_drives": ["/drive1", "/drive2"],
            # wrong, so that a run that is let through ends here and changes nothing
            "python_app_version": "0",
            "minio_memory_mb": 64,
        }

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def link(self, name: str, release: str) -> None:
        (self.root / name).unlink(missing_ok=True)
        (self.root / name).symlink_to(self.root / release)

    def link_newest(self) -> None:
        for name, (sources, recipe) in SOURCES.items():
            digests = [hashlib.sha256(source.encode()).hexdigest() for source in sources]
            content = json.dumps([*digests, (ROLES / recipe).read_text().rstrip()])
            self.link(name.partition("-")[0], f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}")

    def ansible(self, playbook: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run_playbook(playbook, GROUPS, "--extra-vars", json.dumps(self.variables), *arguments)

    def fill(self, playbook: str, roles: list[str], files: dict[str, str]) -> None:
        """Write files as a run of the playbook on all hosts would have."""
        plays = yaml.safe_load((ANSIBLE / "playbooks" / playbook).read_text())
        play = next(play for play in plays if f"{play['hosts']}.yml" == playbook)
        variables: dict[str, Any] = {}
        for part in [ROLES / role / part / "main.yml" for role in roles for part in ("defaults", "vars")]:
            variables |= yaml.safe_load(part.read_text())
        variables |= play.get("vars") or play["roles"][0]["vars"]
        tasks: list[dict[str, Any]] = [
            {"ansible.builtin.template": {"src": str(ROLES / source), "dest": f"{self.root}/etc/{name}"}}
            for name, source in files.items()
        ]
        if "python_app" in roles:
            content = "{{ python_app_settings | to_nice_json }}\n"
            tasks.append(
                {"ansible.builtin.copy": {"content": content, "dest": f"{self.root}/etc/settings.json"}}
            )
        self.write("etc/.keep", "")
        self.write("play.yml", yaml.safe_dump([{"hosts": "node1", "vars": variables, "tasks": tasks}]))
        written = self.ansible(self.root / "play.yml")
        assert written.returncode == 0, written.stdout + written.stderr
        self.link_newest()

    def tells(self, playbook: str, limit: str = "localhost,node2") -> str:
        """Dry-run a playbook on one host, which fails; return what it printed, as one line."""
        ran = self.ansible(ANSIBLE / "playbooks" / playbook, "--check", "--limit", limit)
        assert ran.returncode != 0
        return " ".join((ran.stdout + ran.stderr).split())


@pytest.fixture
def cluster(run_playbook: Run, tmp_path: Path) -> Cluster:
    return Cluster(run_playbook, tmp_path)


def let_through(told: str) -> bool:
    """Whether a run came to the wrong variables, which end it in these tests."""
    return "The packages are built for Python 0" in told or "MinIO needs at least 4 drives" in told


@pytest.mark.parametrize("quorum", ["", "192.0.2.1:2181"])
def test_a_host_whose_flink_fits_the_others_is_let_through(cluster: Cluster, quorum: str) -> None:
    """With ZooKeeper, each host with a JobManager has that one's address."""
    cluster.variables["zookeeper_quorum"] = quorum
    templates = {"config.yaml": "flink/templates/config.yaml.j2", "s3.env": "flink/templates/s3.env.j2"}
    cluster.fill("flink.yml", ["flink", "python_app"], templates)
    told = cluster.tells("flink.yml")
    assert REFUSED not in told
    assert let_through(told), told


def test_another_release_of_the_jobs_is_refused(cluster: Cluster) -> None:
    cluster.link("venv", "venv-former")
    former = {"kafka": {}, "topics": {}, "label_delay_days": 7, "currency": "EUR", "s3": {}}
    former |= {"control_share": 0.001, "breaker": {"multiple": 3, "go_back": False}}
    cluster.write("etc/settings.json", json.dumps(former))
    told = cluster.tells("flink.yml")
    assert f"{REFUSED}node1 has venv-former instead of venv-" in told, told
    assert (
        f"; node1 has another kafka, topics, buckets, s3 in {cluster.root}/etc/settings.json. {REMEDY}"
        in told
    )
    assert "TASK [java" not in told


def test_another_flink_is_refused(cluster: Cluster) -> None:
    cluster.link_newest()
    cluster.link("flink", "flink-2.2.0-former")
    cluster.write("etc/s3.env", "AWS_ACCESS_KEY_ID=former\n")
    cluster.write("etc/config.yaml", "jobmanager.rpc.address: former\n")
    told = cluster.tells("flink.yml")
    assert f"{REFUSED}node1 has flink-2.2.0-former instead of flink-2.3.0-" in told, told
    assert (
        f"; node1 has another {cluster.root}/etc/s3.env; node1 has another jobmanager.rpc.address, " in told
    )
    assert "TASK [java" not in told


def test_hosts_without_zookeeper_beside_others_with_it_are_refused(cluster: Cluster) -> None:
    templates = {"config.yaml": "flink/templates/config.yaml.j2", "s3.env": "flink/templates/s3.env.j2"}
    cluster.variables["zookeeper_quorum"] = ""
    cluster.fill("flink.yml", ["flink", "python_app"], templates)
    cluster.variables["zookeeper_quorum"] = "192.0.2.1:2181"
    told = cluster.tells("flink.yml")
    assert f"{REFUSED}node1 has another high-availability.type, " in told, told


def test_hosts_that_are_gone_or_new_are_not_compared(cluster: Cluster, tmp_path: Path) -> None:
    gone = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    cluster.write("host_vars/node1.yml", yaml.safe_dump(gone))
    assert let_through(cluster.tells("flink.yml"))
    (tmp_path / "host_vars/node1.yml").unlink()
    assert let_through(cluster.tells("minio.yml"))


@pytest.mark.parametrize("playbook", ["flink.yml", "minio.yml"])
def test_a_run_on_all_hosts_compares_nothing(cluster: Cluster, playbook: str) -> None:
    told = cluster.tells(playbook, "all")
    assert let_through(told), told


def test_minio_must_be_the_same_on_all_hosts(cluster: Cluster) -> None:
    cluster.fill("minio.yml", ["minio"], {"minio.env": "minio/templates/minio.env.j2"})
    told = cluster.tells("minio.yml")
    assert REFUSED not in told
    assert let_through(told), told
    cluster.link("minio", "minio-former")
    cluster.write("etc/minio.env", "MINIO_REGION=former\n")
    told = cluster.tells("minio.yml")
    assert f"{REFUSED}node1 has minio-former instead of minio-" in told, told
    assert f"; node1 has another {cluster.root}/etc/minio.env. {REMEDY}" in told
    assert not let_through(told)
