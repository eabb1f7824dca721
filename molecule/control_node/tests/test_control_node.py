"""What control_node.yml leaves on a bare machine: all that it takes to make the lab's hosts."""

import json
from pathlib import Path

import pytest
import yaml
from testinfra.host import Host

ROOT = Path(__file__).parents[3]
CHECKOUT = "/srv/fraud detection"
CACHE = "/root/.cache/fraud-detection"
VARIABLES = ROOT / "ansible/inventory/group_vars/all"
LAB = yaml.safe_load((VARIABLES / "lab.yml").read_text())
VERSIONS = yaml.safe_load((VARIABLES / "versions.yml").read_text())


def test_everybody_may_write_to_the_checkout(host: Host) -> None:
    # so these tests cover such a checkout, from which Ansible takes no ansible.cfg by itself
    assert host.file(f"{CHECKOUT}/ansible").mode == 0o777


def test_opentofu_was_built_and_the_lab_is_planned(host: Host) -> None:
    assert not host.exists("terraform")
    tofu = f"'{CHECKOUT}/.venv/bin/tofu' -chdir='{CHECKOUT}/terraform/lab'"
    plan = json.loads(host.check_output(f"{tofu} show -json ../../build/lab/plan"))
    made = [resource["address"] for resource in plan["resource_changes"] if resource["name"] == "instance"]
    assert made == [f'module.host["node{number}"].terraform_data.instance' for number in (1, 2, 3, 4)]


def test_incus_runs_by_systemd_and_has_the_image(host: Host) -> None:
    incus = host.service("incus")
    assert incus.is_running
    assert incus.is_enabled
    assert host.check_output("incus image get-property %s recipe", LAB["lab_image"])
    assert host.check_output("incus storage get %s user.fraud_owner", LAB["lab_storage_pool"])


@pytest.mark.parametrize("file", ["/etc/subuid", "/etc/subgid"])
def test_root_has_ids_for_containers(host: Host, file: str) -> None:
    assert "root:1000000:1000000000" in host.file(file).content_string.splitlines()


@pytest.mark.parametrize(
    "artifact",
    [
        f"kafka-{VERSIONS['kafka_version']}*.tar.gz",
        f"flink-{VERSIONS['flink_version']}*.tar.gz",
        f"minio-{VERSIONS['minio_version']}*/minio",
        f"minio-{VERSIONS['minio_version']}*/mc",
        "wheels-flink-*.tar",
        "wheels-training-*.tar",
    ],
)
def test_artefacts_for_the_hosts_were_built(host: Host, artifact: str) -> None:
    (found,) = host.check_output(f"ls -d {CACHE}/{artifact}").split()
    assert host.file(found).size > 1_000_000


def test_the_projects_own_wheel_was_built(host: Host) -> None:
    assert host.check_output(f"ls '{CHECKOUT}'/build/dist").endswith(".whl")
