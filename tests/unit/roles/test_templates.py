"""Every template of every role renders, and the result is valid for its kind of file."""

import configparser
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from flink_jobs.memory import copies_bytes

ROLES = Path(__file__).parents[3] / "ansible/roles"
TEMPLATES = sorted(ROLES.glob("*/templates/*.j2"))
PROXY = ROLES / "haproxy/templates/haproxy.cfg.j2"

FACTS = {
    "ansible_facts": {
        "architecture": "x86_64",
        "date_time": {"epoch": "1"},
        "distribution": "Debian",
        "distribution_major_version": "12",
        "distribution_release": "bookworm",
        "env": {"PATH": "/usr/bin"},
        "processor_vcpus": 2,
    },
    "ansible_managed": "Ansible managed",
}
# What a task that loops gives its template.
ITEMS = {
    "log4j.properties.j2": {"level": "INFO", "target": "SYSTEM_OUT"},
    "service-inputs.conf.j2": {
        "key": "systemd-journald.service",
        "value": "/etc/size.conf",
    },
    "taskmanager.env.j2": 1,
}
# What each role is given by the playbook that applies it.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "base": {},
    "data_volume": {
        "data_volume_service": "kafka",
        "data_volume_path": "/var/lib/kafka",
        "data_volume_device": "/dev/disk/by-id/volume",
    },
    "flink": {
        "flink_version": "2.3.0",
        "flink_archive": "/cache/flink.tar.gz",
        "flink_release_dir": "/opt/flink-2.3.0-0123456789ab",
        "flink_address": "192.0.2.1",
        "flink_jobmanager_address": "192.0.2.1",
        "flink_jobmanager_enabled": True,
        "flink_taskmanager_count": 1,
        "flink_s3_endpoint": "http://192.0.2.1:9000",
        "flink_s3_access_key": "flink",
        "flink_s3_secret_key": "secret",
    },
    "haproxy": {"haproxy_servers": {"node1": "192.0.2.1:9000", "node2": "192.0.2.2:9000"}},
    "kafka": {
        "kafka_version": "4.3.1",
        "kafka_archive": "/cache/kafka.tar.gz",
        "kafka_release_dir": "/opt/kafka-4.3.1-0123456789ab",
        "kafka_cluster_id": "AAAAAAAAAAAAAAAAAAAAAA",
        "kafka_nodes": {1: "192.0.2.1", 2: "192.0.2.2", 3: "192.0.2.3"},
        "kafka_node_id": 1,
        "kafka_memory_mb": 1024,
    },
    "zookeeper": {
        "zookeeper_version": "3.9.5",
        "zookeeper_archive": "/cache/zookeeper.tar.gz",
        "zookeeper_release_dir": "/opt/zookeeper-3.9.5-0123456789ab",
        "zookeeper_nodes": {1: "192.0.2.1", 2: "192.0.2.2", 3: "192.0.2.3"},
        "zookeeper_node_id": 1,
        "zookeeper_memory_mb": 256,
    },
    "lab_image": {},
    "scheduled_command": {
        "scheduled_command_name": "risk-renewal",
        "scheduled_command_description": "Renewal of what is known of terminals",
        "scheduled_command_argv": ["/usr/local/bin/fraud-renew-risk"],
    },
    "minio": {
        "minio_binaries_dir": "/cache/minio",
        "minio_release_dir": "/opt/minio-0123456789ab",
        "minio_hosts": ["192.0.2.1", "192.0.2.2"],
        "minio_memory_mb": 512,
        "minio_root_user": "root",
        "minio_root_password": "secret",
    },
}


def render(template: Path, **given: object) -> str:
    role = template.parents[1]
    loader = DataLoader()
    loader.set_basedir(str(template.parent))
    variables: dict[str, Any] = FACTS | {"item": ITEMS.get(template.name)}
    for part in ("defaults", "vars"):
        if (file := role / part / "main.yml").exists():
            variables |= loader.load_from_file(str(file), trusted_as_template=True) or {}
    templar = Templar(loader, variables | ARGUMENTS[role.name] | given)
    rendered: str = templar.template(trust_as_template(template.read_text()))
    return rendered


def is_unit(text: str) -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=["="])
    parser.optionxform = str  # systemd's names have capitals
    parser.read_string(text.replace("\\\n", " "))
    assert parser["Service"]["ExecStart"].startswith("/")
    assert "MemoryMax" in parser["Service"]
    # a line that is joined to the next, as after an included file, is no longer one that systemd knows
    assert re.fullmatch("0[0-7]{3}", parser["Service"].get("UMask", "0077"))
    # Java and Go raise the limit to the system's by themselves; a unit could only lower that.
    assert "LimitNOFILE" not in parser["Service"]
    # A service that ends without being asked to is missed, whatever its exit status.
    assert parser["Service"]["Type"] == "oneshot" or parser["Service"]["Restart"] == "always"


def is_shell(text: str) -> None:
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)


def is_settings(text: str) -> None:
    joined = text.replace("\\\n", " ")
    lines = [line for line in joined.splitlines() if line.strip() and not line.startswith(("#", "["))]
    assert [line for line in lines if "=" not in line] == []


def is_proxy(text: str) -> None:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    sections = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert sections == ["global", "defaults", "frontend", "backend", "backend"]


KINDS: dict[str, Callable[[str], Any]] = {
    "json": json.loads,
    "yaml": yaml.safe_load,
    "service": is_unit,
    "sh": is_shell,
    "zoo.cfg": is_settings,
    "haproxy.cfg": is_proxy,
    "conf": is_settings,
    "env": is_settings,
    "properties": is_settings,
    # lines of a unit's [Service], included by others
    "sandbox": is_settings,
    "timer": is_settings,
}


def test_a_command_that_keeps_state_has_a_user_that_stays_and_the_others_have_none() -> None:
    (template,) = (each for each in TEMPLATES if each.name == "command.service.j2")
    kept, plain = (
        render(template, scheduled_command_keeps_state=each).splitlines() for each in (True, False)
    )
    assert {"User=risk-renewal", "StateDirectory=risk-renewal", "UMask=0022"} <= set(kept)
    assert "DynamicUser=true" not in kept
    assert {"DynamicUser=true", "UMask=0077"} <= set(plain)
    assert not [line for line in plain if line.startswith(("User=", "StateDirectory="))]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda file: f"{file.parents[1].name}-{file.stem}")
def test_a_template_renders_to_a_file_of_its_kind(template: Path) -> None:
    rendered = render(template)
    assert rendered.strip()
    assert not re.search(r"\{\{|\{%|None", rendered), rendered
    name = template.stem
    KINDS[name if name in KINDS else name.rpartition(".")[2]](rendered)


@pytest.mark.parametrize(("memory_mb", "heap"), [(1024, "512m"), (12288, "6144m"), (65536, "6144m")])
def test_a_broker_takes_half_of_its_memory_as_heap_and_no_more_than_it_can_use(
    memory_mb: int, heap: str
) -> None:
    unit = render(ROLES / "kafka/templates/kafka.service.j2", kafka_memory_mb=memory_mb)
    assert f"-Xmx{heap} " in unit
    assert f"MemoryMax={memory_mb}M" in unit


@pytest.mark.parametrize(("memory_mb", "heap"), [(512, "256m"), (12288, "1024m")])
def test_a_controller_alone_takes_no_more_than_it_can_use(memory_mb: int, heap: str) -> None:
    given = {"kafka_controller_nodes": {4: "192.0.2.4"}, "kafka_node_id": 4, "kafka_memory_mb": memory_mb}
    unit = render(ROLES / "kafka/templates/kafka.service.j2", **given)
    assert f"-Xmx{heap} " in unit
    assert "\nDescription=Kafka controller\n" in unit


def kafka_of(node: int, **given: object) -> dict[str, str]:
    text = render(ROLES / "kafka/templates/broker.properties.j2", kafka_node_id=node, **given)
    lines = [line.partition("=") for line in text.splitlines() if not line.startswith("#")]
    return {key: value for key, _, value in lines}


@pytest.mark.parametrize(
    ("node", "roles", "listeners"),
    [
        (3, "broker,controller", "BROKER://192.0.2.3:9092,CONTROLLER://192.0.2.3:9093"),
        (4, "broker", "BROKER://192.0.2.4:9092"),
    ],
)
def test_the_first_three_brokers_vote(node: int, roles: str, listeners: str) -> None:
    found = kafka_of(node, kafka_nodes={number: f"192.0.2.{number}" for number in range(1, 6)})
    assert (found["process.roles"], found["listeners"]) == (roles, listeners)
    assert found["advertised.listeners"] == f"BROKER://192.0.2.{node}:9092"
    quorum = found["controller.quorum.bootstrap.servers"]
    assert quorum == "192.0.2.1:9093,192.0.2.2:9093,192.0.2.3:9093"
    assert found["controller.quorum.auto.join.enable"] == str("controller" in roles).lower()


@pytest.mark.parametrize(
    ("node", "role", "listener"),
    [(1, "broker", "BROKER://192.0.2.1:9092"), (7, "controller", "CONTROLLER://192.0.2.7:9093")],
)
def test_where_there_are_controllers_alone_no_broker_votes(node: int, role: str, listener: str) -> None:
    found = kafka_of(node, kafka_controller_nodes={number: f"192.0.2.{number}" for number in (5, 6, 7)})
    assert found["process.roles"] == role
    # nothing else listens
    assert found["listeners"] == found["advertised.listeners"] == listener
    quorum = found["controller.quorum.bootstrap.servers"]
    assert quorum == "192.0.2.5:9093,192.0.2.6:9093,192.0.2.7:9093"
    assert found["controller.quorum.auto.join.enable"] == str(role == "controller").lower()
    # controllers choose a topic's replicas where nobody says how many, and the next leader
    assert (found["default.replication.factor"], found["unclean.leader.election.enable"]) == ("3", "false")


@pytest.mark.parametrize("controllers", [{}, {5: "192.0.2.5"}])
def test_tools_ask_brokers_wherever_they_are_called(controllers: dict[int, str]) -> None:
    given = {"kafka_controller_nodes": controllers, "kafka_node_id": max({1: "", **controllers})}
    tool = render(ROLES / "kafka/templates/kafka-tool.sh.j2", **given)
    assert "--bootstrap-server 192.0.2.1:9092,192.0.2.2:9092,192.0.2.3:9092 " in tool
    assert "192.0.2.5" not in tool


@pytest.mark.parametrize(("memory_mb", "heap"), [(256, "128m"), (4096, "512m")])
def test_zookeeper_takes_half_of_its_memory_as_heap_and_no_more_than_it_can_use(
    memory_mb: int, heap: str
) -> None:
    unit = render(ROLES / "zookeeper/templates/zookeeper.service.j2", zookeeper_memory_mb=memory_mb)
    assert f"-Xmx{heap} " in unit
    assert f"MemoryMax={memory_mb}M" in unit


def test_members_of_zookeeper_know_each_other_and_listen_on_their_own_address() -> None:
    configuration = render(ROLES / "zookeeper/templates/zoo.cfg.j2").splitlines()
    assert "server.2=192.0.2.2:2888:3888;192.0.2.2:2181" in configuration
    assert {"quorumListenOnAllIPs=false", "admin.enableServer=false", "db.autocreate=false"} < {
        *configuration
    }


def test_another_member_of_zookeeper_leads_before_a_jobmanagers_session_ends() -> None:
    lines = render(ROLES / "zookeeper/templates/zoo.cfg.j2").splitlines()
    ensemble = dict(line.split("=", 1) for line in lines if "=" in line)
    quorum = "192.0.2.1:2181,192.0.2.2:2181,192.0.2.3:2181"
    option = configuration(flink_zookeeper_quorum=quorum)[
        "high-availability.zookeeper.client.session-timeout"
    ]
    session_ms = int(option.removesuffix(" ms"))
    # an election of three takes half a second
    elected_ms = int(ensemble["tickTime"]) * int(ensemble["syncLimit"]) + 1000
    # A client notes after two thirds of its session that it hears nothing, and gives up as long as a session
    # later. It tries a member for a third of a session: the last two tries meet one that is there.
    tries_ms = 2 * session_ms / 3
    assert elected_ms + tries_ms <= session_ms * 5 / 3


def test_processes_of_flink_outlast_two_minutes_without_zookeeper() -> None:
    option = "high-availability.zookeeper.client"
    found = configuration(flink_zookeeper_quorum="192.0.2.1:2181")
    tries, pause_s, longest_s = (
        int(str(found[f"{option}.{name}"]).removesuffix(" s"))
        for name in ("max-retry-attempts", "retry-wait", "max-retry-wait")
    )
    # Curator makes no more, whatever it is told
    assert tries <= 29
    # The n-th pause is drawn from 0 to 2 ** n of the first, bounded: these are the means of the first ones.
    pauses_s = [min(pause_s * 2**number / 2, longest_s) for number in range(tries)]
    assert sum(pauses_s) >= 120
    # the last pause may begin just before ZooKeeper is back
    assert longest_s <= 5


@pytest.mark.parametrize(
    ("unit", "packages"),
    [
        ("kafka/templates/kafka.service.j2", {"openjdk-21-jre-headless"}),
        ("zookeeper/templates/zookeeper.service.j2", {"openjdk-21-jre-headless"}),
        ("flink/templates/flink-jobmanager.service.j2", {"openjdk-21-jre-headless"}),
        ("flink/templates/flink-taskmanager@.service.j2", {"openjdk-21-jre-headless", "libpython3.11"}),
    ],
)
def test_a_service_notes_which_java_and_python_it_starts_with(unit: str, packages: set[str]) -> None:
    packages_of = ("kafka_java_package", "zookeeper_java_package", "flink_java_package")
    java = dict.fromkeys(packages_of, "openjdk-21-jre-headless")
    rendered = render(ROLES / unit, **java).replace("\\\n", "")
    (line,) = re.findall(
        r"^ExecStartPre=-\+/usr/local/sbin/service-inputs note (.*)$", rendered, re.MULTILINE
    )
    assert set(re.findall(r"package:(\S+)", line)) == packages


@pytest.mark.parametrize("restart_s", [2, 15])
def test_a_jobmanager_that_crashed_waits_as_long_as_it_is_told(restart_s: int) -> None:
    template = ROLES / "flink/templates/flink-jobmanager.service.j2"
    assert f"\nRestartSec={restart_s}\n" in render(template, flink_jobmanager_restart_s=restart_s)


def test_a_jobmanager_that_may_take_over_is_watched_and_resigns() -> None:
    template = ROLES / "flink/templates/flink-jobmanager.service.j2"
    alone, one_of_two = (render(template, flink_zookeeper_quorum=quorum) for quorum in ("", "192.0.2.1:2181"))
    assert "flink-leader --resign" not in alone
    assert "flink-jobmanager-watch.service\n" in re.findall("Wants=.*\n", one_of_two)[0]
    # before it is held back where it fails again and again
    assert re.findall("ExecStopPost=-?(.*) ?", one_of_two) == [
        "/usr/local/bin/flink-leader --resign",
        "/usr/local/sbin/service-restart-delay %n",
    ]


def test_a_jobmanager_that_may_take_over_gets_the_processor_as_others_do() -> None:
    template = ROLES / "flink/templates/flink-jobmanager.service.j2"
    assert "\nNice=10\n" in render(template)
    assert "Nice=" not in render(template, flink_zookeeper_quorum="192.0.2.1:2181")


def test_a_taskmanager_tells_jobs_how_much_memory_python_has(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"flink_python_memory_mb": 700, "flink_slots_per_taskmanager": 7}
    unit = render(ROLES / "flink/templates/flink-taskmanager@.service.j2", **given)
    for variable in re.findall(r"TASKMANAGER_\w+=\w+", unit):
        monkeypatch.setenv(*variable.split("="))
    assert copies_bytes() == 25 * 1024 * 1024


# services that are started again whenever they fail; a watch is none, as it ends once it has seen its error
SERVICES = [
    file
    for file in TEMPLATES
    if file.name.endswith(".service.j2") and "\nRestart=" in file.read_text() and "watch" not in file.name
]


@pytest.mark.parametrize("template", SERVICES, ids=lambda file: file.stem)
def test_a_service_that_fails_again_and_again_is_held_back(template: Path) -> None:
    """By service-restart-delay; tests/unit/roles/test_service_inputs.py tests how."""
    assert len(SERVICES) == 5
    assert "\nExecStopPost=/usr/local/sbin/service-restart-delay %n\n" in render(template)


def configuration(**given: object) -> dict[str, Any]:
    rendered: dict[str, Any] = yaml.safe_load(render(ROLES / "flink/templates/config.yaml.j2", **given))
    return rendered


def test_with_zookeeper_a_jobmanagers_ports_are_fixed_and_another_leads_within_half_a_minute() -> None:
    alone = configuration()
    assert not [name for name in alone if name.startswith("high-availability")]
    quorum = "192.0.2.1:2181,192.0.2.2:2181,192.0.2.3:2181"
    several = configuration(flink_zookeeper_quorum=quorum, flink_jobmanager_rpc_port=7123)
    assert several["high-availability.type"] == "zookeeper"
    assert several["high-availability.zookeeper.quorum"] == quorum
    # JobManagers of another version would read what this one keeps of its jobs
    assert several["high-availability.cluster-id"] == "/fraud-2.3.0"
    assert several["high-availability.storageDir"] == "s3://flink/high-availability"
    assert int(several["high-availability.jobmanager.port"]) == 7123
    assert int(several["blob.server.port"]) > 0
    session_ms, unit = several["high-availability.zookeeper.client.session-timeout"].split()
    # ZooKeeper allows 2 to 20 of its ticks, of 2 s
    assert 4000 <= int(session_ms) <= 20000
    assert unit == "ms"
    assert several["rest.address"] == several["jobmanager.rpc.address"] == "192.0.2.1"


def test_a_job_outlives_checkpoints_that_fail_and_leaves_those_that_it_made() -> None:
    options = configuration(flink_checkpoint_failures_tolerated=7)
    assert int(options["execution.checkpointing.tolerable-failed-checkpoints"]) == 7
    retention = "execution.checkpointing.externalized-checkpoint-retention"
    assert options[retention] == "RETAIN_ON_CANCELLATION"


def test_jobs_find_their_settings_where_they_are_submitted_and_where_they_run() -> None:
    given = {"FRAUD_SETTINGS": "/etc/jobs.json"}
    unit = render(ROLES / "flink/templates/flink-taskmanager@.service.j2", flink_environment=given)
    assert "\nEnvironment=FRAUD_SETTINGS=/etc/jobs.json\n" in unit
    client = render(ROLES / "flink/templates/flink.sh.j2", flink_environment=given)
    script = client.partition("tmp=$(mktemp")[0] + 'echo "$FRAUD_SETTINGS"'
    for own, found in (({}, "/etc/jobs.json"), ({"FRAUD_SETTINGS": "/other.json"}, "/other.json")):
        ran = subprocess.run(["sh", "-c", script], env=own, capture_output=True, text=True, check=True)
        assert ran.stdout == f"{found}\n"


def description(**given: object) -> str:
    return re.findall(r"^ +description (\w+)$", render(PROXY, **given), re.MULTILINE)[0]


def test_haproxy_tells_another_digest_after_each_change_of_its_configuration() -> None:
    """By which haproxy-health knows whether the process has read the file."""
    digests = {
        description(),
        description(haproxy_port=9011),
        description(haproxy_connections=999),
        description(haproxy_servers={"node1": "192.0.2.1:9000"}),
    }
    assert len(digests) == 4
    assert description() in digests


def test_haproxy_reaches_beyond_the_loopback_only_to_its_servers() -> None:
    rendered = render(PROXY)
    assert re.findall(r"^ +(?:bind|stats socket) (\S+)", rendered, re.MULTILINE) == [
        "/run/haproxy/stats.sock",
        "127.0.0.1:9010",
    ]
    servers = re.findall(r"^ +server (\S+ \S+)$", rendered, re.MULTILINE)
    assert servers == 2 * ["node1 192.0.2.1:9000", "node2 192.0.2.2:9000"]


def test_haproxy_sends_again_only_what_no_server_took() -> None:
    assert re.findall(r"^ +retry-on (.*)$", render(PROXY), re.MULTILINE) == ["conn-failure"]
