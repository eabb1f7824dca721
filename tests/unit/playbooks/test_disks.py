"""How much of the brokers' disks each topic may take, and what is refused where that is too little."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from flink_jobs.domain.features import FEATURE_NAMES
from flink_jobs.domain.scoring import Prediction

ANSIBLE = Path(__file__).parents[3] / "ansible"
PLAYBOOKS = ANSIBLE / "playbooks"
TOPICS = yaml.safe_load((ANSIBLE / "inventory/group_vars/all/topics.yml").read_text())
GROUPS = {
    "kafka": ["node1", "node2", "node3", "node4"],
    "minio": ["node1", "node2", "node3", "node4", "node5"],
    "flink_jobmanager": ["node1"],
    "flink_taskmanager": ["node2"],
}
GB = 1_000_000_000
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.set_fact:
        mounts: "{{ disks[inventory_hostname] }}"
        devices: "{{ devices }}"
        virtualization_type: "{{ kind }}"
        cacheable: true
- hosts: node1
  gather_facts: false
  tasks:
    - ansible.builtin.debug:
        msg: "{{ {'topics': retention_topics, 'expected': retention_expected_mb_on_broker | int,
                  'disks': retention_brokers_seen | map('extract', hostvars, 'disk_mb') | list,
                  'grown': disk_kafka_grown_mb | int, 'journal': journal_max_mb | int} | to_json }}"
"""


@pytest.fixture
def sized(
    run_playbook: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> Callable[..., dict[str, Any]]:
    """Compute the sizes that follow from the hosts' disks, {host: {mount: GB}}, and volumes, {group: GB}."""

    def of(
        disks: dict[str, dict[str, int]],
        kind: str = "kvm",
        limit: str = "all",
        volumes: dict[str, int] | None = None,
    ) -> dict[str, Any]:
        (tmp_path / "play.yml").write_text(PLAY)
        mounts = {
            host: [
                {"mount": mount, "device": f"/dev/{Path(mount).name}", "size_total": size * GB}
                for mount, size in disk.items()
            ]
            for host, disk in disks.items()
        }
        devices = {name: {"sectors": size * GB // 512} for name, size in (volumes or {}).items()}
        given = {
            "disks": mounts,
            "kind": kind,
            "devices": devices,
            "data_volumes": dict.fromkeys(devices, "/dev/disk/by-id/volume"),
        }
        ran = run_playbook(tmp_path / "play.yml", GROUPS, "--limit", limit, "--extra-vars", json.dumps(given))
        assert ran.returncode == 0, ran.stdout + ran.stderr
        found: dict[str, Any] = json.loads(
            yaml.safe_load(re.findall(r"^ {4}msg: (?:.*\n)(?: {8}.*\n)*", ran.stdout, re.MULTILINE)[0])["msg"]
        )
        return found

    return of


def taken_mb(topics: dict[str, Any]) -> float:
    """What all topics take at most on the fullest of four brokers, with three replicas each."""
    total = 0
    for topic in topics.values():
        on_broker = -(-topic["partitions"] * 3 // 4)
        config = topic["config"]
        total += on_broker * (config["retention.bytes"] + config["segment.bytes"])
    return total / 1e6


def test_topics_fill_the_smallest_brokers_part_and_no_more(sized: Callable[..., dict[str, Any]]) -> None:
    disks = {f"node{number}": {"/": 100} for number in range(1, 6)}
    found = sized(disks | {"node3": {"/": 100, "/var/lib/kafka": 10, "/var/lib/kaf": 900}})
    # a fifth is the system's; of the rest, Kafka has two parts and MinIO three, unless Kafka has its own disk
    assert [disk["kafka"] for disk in found["disks"]] == [32_000, 32_000, 8_000, 32_000]
    assert [disk["minio"] for disk in found["disks"]] == [48_000, 48_000, 80_000, 48_000]
    assert 0.95 * 8_000 < taken_mb(found["topics"]) <= 8_000 * 1.01
    assert found["topics"]["transactions"]["config"]["retention.ms"] == 604_800_000
    assert [topic["only_lowered"] for topic in found["topics"].values()] == [[]] * len(found["topics"])
    assert found["journal"] == 1_000


def test_nothing_is_raised_by_a_run_that_does_not_know_all_brokers_disks(
    sized: Callable[..., dict[str, Any]],
) -> None:
    disks = {f"node{number}": {"/": 100} for number in range(1, 6)}
    found = sized(disks, limit="all:localhost:!node3")
    assert {tuple(sorted(topic["only_lowered"])) for topic in found["topics"].values()} == {
        ("retention.bytes", "segment.bytes")
    }


@pytest.mark.parametrize(
    ("volume_gb", "kafka_mb"),
    [
        (102, 80_000),  # the file system fills it
        (200, 152_000),
    ],
)
def test_a_volume_that_has_grown_is_judged_by_its_own_size(
    sized: Callable[..., dict[str, Any]], volume_gb: int, kafka_mb: int
) -> None:
    found = sized(
        {f"node{number}": {"/": 20, "/var/lib/kafka": 100} for number in range(1, 6)},
        volumes={"kafka": volume_gb},
    )
    assert found["grown"] == kafka_mb
    # what topics may take follows once the file system has grown
    assert found["disks"][0]["kafka"] == 80_000


def test_containers_share_their_machines_disk(sized: Callable[..., dict[str, Any]]) -> None:
    found = sized({f"node{number}": {"/": 100} for number in range(1, 6)}, kind="lxc")
    assert {disk["kafka"] for disk in found["disks"]} == {6_400}
    assert found["journal"] == 200


def test_what_is_expected_follows_from_the_records_of_a_day(sized: Callable[..., dict[str, Any]]) -> None:
    found = sized({f"node{number}": {"/": 100} for number in range(1, 6)})
    # three replicas on four brokers: a week of transactions, three days of predictions, a month of the others
    assert found["expected"] == round((7 * 160 + 3 * 340 + 30 * (15 + 2 + 2)) * 3 / 4 + 0.49)


def test_a_disk_that_is_too_small_is_refused_with_figures(
    run_playbook: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    many = "transactions_per_day=1000000000000"
    ran = run_playbook(PLAYBOOKS / "validate.yml", GROUPS, "--limit", "node1", "--extra-vars", many)
    assert ran.returncode != 0
    told = " ".join((ran.stdout + ran.stderr).split())
    needed, there, enough = re.findall(
        r"node1: to keep 1000000000000 transactions a day .*? takes (\d+) MB of each broker's disk, "
        r"but Kafka's part of this one is (\d+) MB, which is enough for (\d+) a day",
        told,
    )[0]
    assert int(needed) > int(there) >= 0
    assert int(enough) == 1000000000000 * int(there) // int(needed)


@pytest.mark.parametrize(
    ("follows", "expected_mb", "told"),
    [
        (True, 50_000, None),
        (False, 50_000, "Its volume has grown: playbooks/base.yml lets the file system fill it."),
        (False, 500_000, "Give it a larger disk"),
    ],
)
def test_a_volume_counts_as_grown_only_where_the_run_lets_its_file_system_fill_it(
    run_playbook: Callable[..., subprocess.CompletedProcess[str]],
    *,
    follows: bool,
    expected_mb: int,
    told: str | None,
) -> None:
    given = {
        "disk_mb": {"kafka": 10_000},
        "disk_kafka_grown_mb": 100_000,
        "retention_expected_mb_on_broker": expected_mb,
        "base_follows": follows,
    }
    ran = run_playbook(
        PLAYBOOKS / "validate.yml", GROUPS, "--limit", "node1", "--extra-vars", json.dumps(given)
    )
    output = " ".join((ran.stdout + ran.stderr).split())
    assert "Check that the hosts are fit" in output
    found = re.search(r"Kafka's part of this one is 10000 MB, which is enough for \d+ a day\. (.*)", output)
    assert (found is None) == (told is None)
    assert not found or found[1].startswith(str(told))


@pytest.mark.parametrize(
    ("options", "follows"),
    [
        ([], True),
        (["--tags", "base,kafka"], True),
        (["--tags", "kafka"], False),
        (["--skip-tags", "base"], False),
    ],
)
def test_site_says_whether_file_systems_are_let_fill_their_volumes(
    run_playbook: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
    options: list[str],
    *,
    follows: bool,
) -> None:
    site = yaml.safe_load((ANSIBLE / "site.yml").read_text())
    (check,) = (play for play in site if "validate.yml" in play["ansible.builtin.import_playbook"])
    told = {"ansible.builtin.debug": {"msg": "{{ base_follows }}"}}
    play = {"hosts": "node1", "gather_facts": False, "tags": "always", "vars": check["vars"], "tasks": [told]}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    ran = run_playbook(tmp_path / "play.yml", GROUPS, *options)
    assert re.findall(r"msg: (\w+)", ran.stdout) == [str(follows).lower()], ran.stdout


def test_a_volume_that_is_mounted_later_is_not_judged_by_the_systems_disk(
    run_playbook: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    awaited = {"transactions_per_day": 1000000000000, "data_volumes": {"kafka": "/dev/disk/by-id/volume"}}
    ran = run_playbook(
        PLAYBOOKS / "validate.yml", GROUPS, "--limit", "node1", "--extra-vars", json.dumps(awaited)
    )
    assert "Check that the hosts are fit" in ran.stdout
    assert "of each broker's disk" not in ran.stdout + ran.stderr


def test_records_are_no_larger_than_the_sizing_assumes() -> None:
    transaction = (
        b'{"transaction_id": "1754154", "event_time": "2018-09-30T23:59:59Z", "customer_id": "4999", '
        b'"terminal_id": "9999", "amount": 12345.67}'
    )
    version = "20261124T154400Z-bea8c0a8"
    prediction = Prediction(
        "1754154",
        0.123456,
        version,
        7,
        9_999_999,
        1_795_000_000_000,
        0.123456,
        version,
        threshold=0.123456789,
        risk_version=version,
    )
    # for one in a hundred: what the model saw
    with_features = msgspec.structs.replace(
        prediction, features=dict.fromkeys(FEATURE_NAMES, 0.1234567890123)
    )
    sizes = len(msgspec.json.encode(prediction)), len(msgspec.json.encode(with_features))
    predicted = sizes[0] + (sizes[1] - sizes[0]) / 100
    key, overhead = len("1754154"), 12
    counted = TOPICS["topics_bytes_per_transaction"]
    assert 0.8 < (len(transaction) + key + overhead) / counted["transactions"] <= 1
    assert 0.8 < (predicted + key + overhead) / counted["predictions"] <= 1
