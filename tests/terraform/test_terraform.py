import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import PROJECT, TESTED_MODULES, Terraform

CONTROL = '{ first_node = 1, memory_mb = 4096, groups = ["kafka", "minio", "zookeeper", "flink_jobmanager"] }'
SHARED = '["kafka", "minio", "zookeeper", "flink_taskmanager"]'
WORKERS = f"{{ first_node = 2, count = 2, memory_mb = 5120, groups = {SHARED} }}"
TRAINING = '{ first_node = 4, memory_mb = 4096, groups = ["minio", "training"] }'
CONTROLLERS = '{ first_node = 61, count = 2, memory_mb = 640, groups = ["kafka_controller"] }'


def plan(terraform: Terraform, tmp_path: Path, pools: dict[str, str]) -> subprocess.CompletedProcess[str]:
    tfvars = tmp_path / "test.tfvars"
    entries = "\n".join(f"  {name} = {pool}" for name, pool in pools.items())
    tfvars.write_text(f"pools = {{\n{entries}\n}}\n")
    return terraform("lab", "plan", "-input=false", "-lock=false", f"-var-file={tfvars}")


def test_format(terraform: Terraform) -> None:
    result = terraform(".", "fmt", "-check", "-recursive", "-diff")
    assert result.returncode == 0, result.stdout


def test_lab_is_valid(terraform: Terraform) -> None:
    result = terraform("lab", "validate")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("module", TESTED_MODULES)
def test_module(terraform: Terraform, module: str) -> None:
    result = terraform(module, "test")
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_default_plan_makes_four_hosts(terraform: Terraform) -> None:
    result = terraform("lab", "plan", "-input=false", "-lock=false")
    assert result.returncode == 0, result.stderr
    for name in ("node1", "node2", "node3", "node4"):
        assert f'module.host["{name}"].terraform_data.instance will be created' in result.stdout


def test_cluster_tfvars_plan_a_host_for_each_role(terraform: Terraform) -> None:
    result = terraform("lab", "plan", "-input=false", "-lock=false", "-var-file=cluster.tfvars")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("terraform_data.instance will be created") == 15


def test_grown_tfvars_plan_six_hosts(terraform: Terraform) -> None:
    result = terraform("lab", "plan", "-input=false", "-lock=false", "-var-file=grown.tfvars")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("terraform_data.instance will be created") == 6


def test_controllers_tfvars_plan_three_more(terraform: Terraform) -> None:
    result = terraform("lab", "plan", "-input=false", "-lock=false", "-var-file=controllers.tfvars")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("terraform_data.instance will be created") == 7
    assert re.search(
        r"\+ kafka_controller += \[\n\s+\+ \"node61\",\n\s+\+ \"node62\",\n\s+\+ \"node63\",", result.stdout
    )


@pytest.mark.parametrize(
    ("pools", "message"),
    [
        (
            {"control": CONTROL, "workers": WORKERS, "training": TRAINING.replace("training", "trainig")},
            'pools.training.groups: "trainig" is unknown',
        ),
        (
            {"control": CONTROL.replace("4096", "1024"), "workers": WORKERS, "training": TRAINING},
            (
                "pools.control.memory_mb is 1024; "
                "kafka and minio and zookeeper and flink_jobmanager need at least 2816"
            ),
        ),
        (
            {
                "control": CONTROL,
                "workers": WORKERS.replace("first_node = 2", "first_node = 1"),
                "training": TRAINING,
            },
            "pools.*.first_node: node1 is in pools.control and in pools.workers",
        ),
        (
            {"control": CONTROL, "workers": WORKERS.replace('"kafka", ', ""), "training": TRAINING},
            "pools.*.groups: kafka is on 1 hosts; three replicas need at least 3",
        ),
        (
            {"control": CONTROL, "workers": WORKERS, "training": TRAINING.replace('"minio", ', "")},
            "pools.*.groups: minio is on 3 hosts",
        ),
        (
            {"control": CONTROL.replace('"zookeeper", ', ""), "workers": WORKERS, "training": TRAINING},
            "pools.*.groups: zookeeper is on 2 hosts; it must be 1, 3 or 5",
        ),
        (
            {"control": CONTROL, "workers": WORKERS, "training": TRAINING, "controllers": CONTROLLERS},
            "pools.*.groups: kafka_controller is on 2 hosts; it must be 1, 3 or 5, or none",
        ),
        (
            {
                "control": CONTROL.replace('"kafka"', '"kafka", "kafka_controller"'),
                "workers": WORKERS,
                "training": TRAINING,
            },
            "pools.control.groups: kafka and kafka_controller, whose hosts are no brokers; take out one",
        ),
        (
            {
                "control": CONTROL.replace(', "flink_jobmanager"', ""),
                "workers": WORKERS,
                "training": TRAINING,
            },
            "pools.*.groups: flink_jobmanager is on no host; it needs at least 1",
        ),
        (
            {"control": CONTROL, "workers": WORKERS.replace("count = 2", "count = 0"), "training": TRAINING},
            "wrong in pools.workers",
        ),
        (
            {"control": CONTROL, "workers": WORKERS, "training": TRAINING.replace("memory_mb = 4096, ", "")},
            'attribute "memory_mb" is required',
        ),
    ],
)
def test_wrong_tfvars_name_the_key(
    terraform: Terraform, tmp_path: Path, pools: dict[str, str], message: str
) -> None:
    result = plan(terraform, tmp_path, pools)
    assert result.returncode == 1
    assert message in " ".join(result.stderr.replace("│", "").split())


def test_the_state_of_a_lab_that_an_earlier_version_made_is_moved(
    terraform: Terraform, tmp_path: Path
) -> None:
    root = tmp_path / "terraform/lab"
    root.mkdir(parents=True)
    (root / "terraform.tfstate").write_text(json.dumps(state_of(GROWN)))
    (root / "versions.tf").write_text((PROJECT / "terraform/lab/versions.tf").read_text())
    assert terraform(str(root), "init", "-input=false", "-force-copy").returncode == 0
    taken = json.loads((tmp_path / "build/lab/terraform.tfstate").read_text())
    assert set(taken["outputs"]["hosts"]["value"]) == set(GROWN)


@pytest.mark.parametrize("command", [["plan"], ["apply", "-auto-approve"]])
@pytest.mark.parametrize(("domain_type", "told"), [("qemu", True), ("kvm", False)])
def test_emulated_machines_are_warned_of(
    terraform: Terraform, tmp_path: Path, command: list[str], domain_type: str, *, told: bool
) -> None:
    # The files of the root that need no provider.
    for name in ("variables.tf", "checks.tf"):
        (tmp_path / name).write_text((PROJECT / "terraform/libvirt" / name).read_text())
    (tmp_path / "disk.qcow2").touch()
    settings = ["-var=image=disk.qcow2", f"-var=domain_type={domain_type}"]
    result = terraform(str(tmp_path), *command, "-input=false", *settings)
    assert result.returncode == 0, result.stderr
    words = " ".join((result.stdout + result.stderr).split())
    assert ("Warning: Check block assertion failed" in words) is told, words
    assert ("Machines are emulated" in words) is told


def test_files_of_ssh_are_written_again_when_lost(terraform: Terraform) -> None:
    # The module of the lab that needs no Incus.
    def apply() -> None:
        result = terraform("lab", "apply", "-auto-approve", "-input=false", "-target=module.ssh_access")
        assert result.returncode == 0, result.stderr

    apply()
    state = json.loads(terraform("lab", "show", "-json").stdout)
    resources = state["values"]["root_module"]["child_modules"][0]["resources"]
    files = {resource["name"]: Path(resource["values"]["output"]["file"]) for resource in resources}
    assert {file.parts[-3:-1] for file in files.values()} == {("build", "lab"), ("lab", "ssh")}
    key = files["key"].read_text()
    files["config"].unlink()
    # A file that is written again has the time of its plan in it, in whole seconds: the two must differ.
    time.sleep(1)
    apply()
    assert "Host node1 10.78.0.11" in files["config"].read_text()
    assert files["key"].read_text() == key


def state_of(hosts: dict[str, list[str]]) -> dict[str, Any]:
    """Return a state of the lab with these hosts and their groups, as Terraform writes it."""
    described = {name: {"groups": groups} for name, groups in hosts.items()}
    return {
        "version": 4,
        "terraform_version": "1.6.0",
        "serial": 1,
        "lineage": "00000000-0000-0000-0000-000000000000",
        "outputs": {"hosts": {"value": described, "type": type_of(described)}},
        "resources": [
            {
                "module": f'module.host["{name}"]',
                "mode": "managed",
                "type": "terraform_data",
                "name": "instance",
                "provider": 'provider["terraform.io/builtin/terraform"]',
                "instances": [{"schema_version": 0, "attributes": instance(name)}],
            }
            for name in hosts
        ],
        "check_results": None,
    }


def instance(name: str) -> dict[str, Any]:
    """Return what Terraform keeps of a host."""
    given, triggers = {"name": name, "owner": "/srv/terraform/lab"}, {"incarnation": "2026-11-28T00:00:00Z"}
    return {
        "id": name,
        "input": {"value": given, "type": type_of(given)},
        "output": {"value": given, "type": type_of(given)},
        "triggers_replace": {"value": triggers, "type": type_of(triggers)},
    }


# Hosts that are not in the default topology, so that Terraform deletes them.
GROWN = {"node105": ["flink_taskmanager", "kafka"], "node106": ["flink_taskmanager"]}


@pytest.mark.parametrize(
    ("arguments", "present", "refused"),
    [
        ([], {}, ["node105 would be deleted, with the data of kafka"]),
        (["node106,node105"], {}, []),
        (
            ["node105"],
            {"node1": ""},
            ["Incus has instance node1 already; something else made it", "incus delete --force node1"],
        ),
        (["node105"], {"node1": "/"}, ["Incus has instance node1 already; / made it", "-chdir=/ destroy"]),
        (["node105"], {"fraud0": ""}, ["Incus has network fraud0 already", "incus network delete fraud0"]),
        # what a deleted checkout left is replaced
        (["node105"], {"node1": "/no such checkout", "node9": ""}, []),
    ],
)
def test_plans_that_delete_are_refused(
    terraform: Terraform, tmp_path: Path, arguments: list[str], present: dict[str, str], refused: list[str]
) -> None:
    state, planned = tmp_path / "terraform.tfstate", tmp_path / "plan"
    state.write_text(json.dumps(state_of(GROWN)))
    result = terraform("lab", "plan", "-input=false", "-lock=false", f"-state={state}", f"-out={planned}")
    assert result.returncode == 0, result.stderr
    shown = terraform("lab", "show", "-json", str(planned)).stdout

    checked = check_plan(shown, tmp_path, arguments, present)
    assert (checked.returncode != 0) is bool(refused), checked.stderr
    assert all(words in checked.stderr for words in refused), checked.stderr
    assert "node106" not in checked.stderr


@pytest.mark.parametrize(("identity", "status"), [("the same", 1), ("another", 0)])
def test_only_a_host_that_vanished_is_replaced(tmp_path: Path, identity: str, status: int) -> None:
    def host(incarnation: str) -> dict[str, Any]:
        return {
            "input": {"name": "node1", "owner": "/srv"},
            "triggers_replace": {"incarnation": incarnation},
        }

    change = {"actions": ["delete", "create"], "before": host("the same"), "after": host(identity)}
    plan = {"resource_changes": [{"name": "instance", "change": change}]}
    assert check_plan(json.dumps(plan), tmp_path, [], {}).returncode == status


@pytest.mark.parametrize(("group", "status"), [("kafka_controller", 1), ("flink_taskmanager", 0)])
def test_a_host_with_a_controllers_metadata_is_not_deleted_by_a_plan(
    tmp_path: Path, group: str, status: int
) -> None:
    before = {"input": {"name": "node61"}, "triggers_replace": {"incarnation": "x"}}
    change = {"actions": ["delete"], "before": before, "after": None}
    plan = {
        "output_changes": {"hosts": {"before": {"node61": {"groups": [group]}}}},
        "resource_changes": [{"name": "instance", "change": change}],
    }
    checked = check_plan(json.dumps(plan), tmp_path, [], {})
    assert checked.returncode == status
    assert ("node61 would be deleted, with the data of kafka_controller" in checked.stderr) is bool(status)


def check_plan(
    shown: str, tmp_path: Path, arguments: list[str], present: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Check a plan where Incus has instances (node…) and networks (fraud…) of these owners."""
    listed = [{"name": name, "config": {"user.fraud_owner": owner}} for name, owner in present.items()]
    for kind, begin in {"list": "node", "network": "fraud"}.items():
        (tmp_path / kind).write_text(
            json.dumps([item for item in listed if str(item["name"]).startswith(begin)])
        )
    incus = tmp_path / "incus"
    incus.write_text('#!/bin/sh\ncat "${0%/*}/$1"\n')
    incus.chmod(0o755)
    return subprocess.run(
        [str(PROJECT / "terraform/lab/scripts/check_plan.py"), *arguments],
        input=shown,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_hosts_are_reached_from_a_checkout_with_a_space_in_its_path(tmp_path: Path) -> None:
    (tmp_path / "ssh").write_text('#!/bin/sh\nprintf "%s\\n" "$@" > "${0%/*}/arguments"\n')
    (tmp_path / "ssh").chmod(0o755)
    folder = tmp_path / "a checkout"
    given = {"NAME": "node1", "ADDRESS": "192.0.2.1", "SSH_DIR": str(folder), "TIMEOUT_S": "5"}
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    script = PROJECT / "terraform/modules/ssh_access/scripts/wait_for_ssh.sh"
    subprocess.run([str(script)], env=os.environ | given | path, check=True)
    # without the quotes, ssh would take it for two files
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert f'UserKnownHostsFile="{folder}/known_hosts.d/node1"' in arguments


def inventory(root: Path) -> subprocess.CompletedProcess[str]:
    script = PROJECT / "ansible/inventory/terraform.py"
    env = os.environ | {"TERRAFORM_ROOT": str(root)}
    return subprocess.run([str(script), "--list"], check=False, capture_output=True, text=True, env=env)


@pytest.mark.parametrize("root", ["terraform/libvirt", "/"])
def test_inventory_is_empty_before_the_first_apply(tmp_path: Path, root: str) -> None:
    (tmp_path / root).mkdir(parents=True, exist_ok=True)
    result = inventory(tmp_path / root)
    assert json.loads(result.stdout) == {"_meta": {"hostvars": {}}}


def test_inventory_says_which_root_is_missing(tmp_path: Path) -> None:
    result = inventory(tmp_path / "absent")
    assert result.returncode != 0
    assert "absent is no directory; set TERRAFORM_ROOT" in result.stderr


def test_inventory_has_groups_and_connection(tmp_path: Path) -> None:
    topology = {
        "hosts": {"node1": {"ansible_host": "10.78.0.11", "node_index": 1}},
        "groups": {"flink_jobmanager": ["node1"]},
        "children": {"flink": ["flink_jobmanager", "flink_taskmanager"]},
        "ssh_config_file": "/srv/build/lab/ssh_config",
    }
    # A state as Terraform writes it, with nothing but the output.
    state = {
        "version": 4,
        "terraform_version": "1.6.0",
        "serial": 1,
        "lineage": "00000000-0000-0000-0000-000000000000",
        "outputs": {"inventory": {"value": topology, "type": type_of(topology)}},
        "resources": [],
        "check_results": None,
    }
    for folder in ("build/lab", "terraform/lab"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "build/lab/terraform.tfstate").write_text(json.dumps(state))
    result = inventory(tmp_path / "terraform/lab")
    assert result.returncode == 0, result.stderr
    listed = json.loads(result.stdout)
    assert listed["flink_jobmanager"] == {"hosts": ["node1"]}
    assert listed["flink"] == {"children": ["flink_jobmanager", "flink_taskmanager"]}
    assert listed["_meta"]["hostvars"]["node1"] == {
        "ansible_host": "10.78.0.11",
        "ansible_ssh_common_args": '-F "/srv/build/lab/ssh_config"',
        "node_index": 1,
    }


def type_of(value: object) -> object:
    """Return Terraform's type of a JSON value."""
    if isinstance(value, dict):
        return ["object", {key: type_of(item) for key, item in value.items()}]
    if isinstance(value, list):
        return ["tuple", [type_of(item) for item in value]]
    return "number" if isinstance(value, int) else "string"
