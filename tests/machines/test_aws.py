"""AWS, played by moto: the root is planned, applied, looked at, planned without change, and destroyed.

moto answers as AWS does, but runs nothing. Providers come from terraform/plugins or a registry; without
them, these tests are skipped.
"""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from conftest import PLUGINS, Root
from moto.server import ThreadedMotoServer

# boto3 ships no types
EC2 = Any
REGION = "eu-central-1"
SETTINGS = [f"-var=region={REGION}", "-var=operator_cidr=10.0.8.0/24", "-var=image_id=ami-12c6146b"]


# what the hosts' consoles show
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "k" * 43
CONSOLE = f"""cloud-init: Package installation
-----BEGIN SSH HOST KEY KEYS-----
{HOST_KEY} root@node1
-----END SSH HOST KEY KEYS-----
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0)
    with pytest.MonkeyPatch.context() as moto:
        moto.setattr("moto.ec2.responses.general.SAMPLE_CONSOLE_OUTPUT", CONSOLE)
        server.start()
        yield "http://{}:{}".format(*server.get_host_and_port())
        server.stop()


@pytest.fixture(scope="module")
def credentials(endpoint: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "moto",
        "AWS_SECRET_ACCESS_KEY": "moto",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@pytest.fixture(scope="module")
def ec2(endpoint: str) -> EC2:
    credentials = {"aws_access_key_id": "moto", "aws_secret_access_key": "moto"}
    return boto3.client("ec2", REGION, endpoint_url=endpoint, **credentials)


@pytest.fixture(scope="module")
def root(project: Path, credentials: dict[str, str]) -> Root:
    root = Root(project, "aws")
    root.env |= credentials
    # Providers from the mirror in terraform/plugins, else from a registry.
    if root.run("init", "-input=false", f"-plugin-dir={PLUGINS}", check=False).returncode == 0:
        return root
    result = root.run("init", "-input=false", check=False)
    # Terraform's words, and OpenTofu's
    if re.search("Failed to (query available|resolve) provider packages", result.stderr):
        pytest.skip("no provider for AWS: neither is it in terraform/plugins nor is a registry reached")
    assert result.returncode == 0, result.stderr
    return root


@pytest.fixture(scope="module")
def applied(root: Root) -> Root:
    root.watch("apply", "-auto-approve", "-input=false", *SETTINGS)
    return root


def instances(ec2: EC2) -> list[dict[str, Any]]:
    reservations = ec2.describe_instances()["Reservations"]
    found = [instance for reservation in reservations for instance in reservation["Instances"]]
    return [instance for instance in found if instance["State"]["Name"] != "terminated"]


def test_moto_answers(ec2: EC2) -> None:
    assert instances(ec2) == []


def test_root_is_valid(root: Root) -> None:
    root.run("validate")


def test_a_network_of_everybody_is_refused_as_operators(root: Root) -> None:
    settings = [setting.replace("10.0.8.0/24", "0.0.0.0/0") for setting in SETTINGS]
    result = root.run("plan", "-input=false", *settings, check=False)
    assert result.returncode == 1
    assert 'operator_cidr is "0.0.0.0/0"; it must be' in " ".join(result.stderr.replace("│", "").split())


@pytest.mark.usefixtures("applied")
def test_hosts_are_as_the_topology_says(ec2: EC2) -> None:
    addresses = sorted(instance["PrivateIpAddress"] for instance in instances(ec2))
    assert addresses == ["10.76.0.11", "10.76.0.12", "10.76.0.13", "10.76.0.14"]
    volumes = ec2.describe_volumes()["Volumes"]
    # Kafka on three hosts, MinIO on four
    attached = [
        (volume["Size"], volume["Attachments"][0]["Device"])
        for volume in volumes
        if volume["Size"] in {50, 100}
    ]
    # the host that has MinIO only attaches its volume where the others do
    assert sorted(attached) == [(50, "/dev/sdf")] * 3 + [(100, "/dev/sdg")] * 4


def test_hosts_are_known_by_what_their_consoles_show(applied: Root) -> None:
    for host in ("node1", "node2", "node3", "node4"):
        known = applied.project / "build/aws/ssh/known_hosts.d" / host
        assert known.read_text() == f"{host} {HOST_KEY}\n"


def test_no_key_is_in_user_data(applied: Root, ec2: EC2) -> None:
    hosts = instances(ec2)
    assert len(hosts) == 4
    for instance in hosts:
        shown = ec2.describe_instance_attribute(InstanceId=instance["InstanceId"], Attribute="userData")
        user_data = base64.b64decode(shown["UserData"]["Value"]).decode()
        assert user_data.startswith("#cloud-config")
        assert "PRIVATE KEY" not in user_data
    # the state has the operators' key and no other
    state = (applied.project / "build/aws/terraform.tfstate").read_text()
    assert state.count('"type": "tls_private_key"') == 1


@pytest.mark.usefixtures("applied")
def test_only_operators_come_from_outside(ec2: EC2) -> None:
    groups = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["fraud-detection-*"]}])
    assert len(groups["SecurityGroups"]) == 7
    sources = {
        source["CidrIp"]
        for group in groups["SecurityGroups"]
        for permission in group["IpPermissions"]
        for source in permission["IpRanges"]
    }
    assert sources == {"10.0.8.0/24"}


def test_plan_shows_no_change(applied: Root) -> None:
    result = applied.run("plan", "-input=false", "-detailed-exitcode", *SETTINGS, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_inventory_names_the_volumes_of_each_host(applied: Root) -> None:
    assert Path(applied.run("output", "-raw", "ssh_config").stdout).is_file()
    hosts = json.loads(applied.run("output", "-json", "inventory").stdout)["hosts"]
    assert {name: sorted(host["data_volumes"]) for name, host in hosts.items()} == {
        "node1": ["kafka", "minio"],
        "node2": ["kafka", "minio"],
        "node3": ["kafka", "minio"],
        "node4": ["minio"],
    }


def test_data_is_not_destroyed_with_the_rest(applied: Root, ec2: EC2) -> None:
    result = applied.run("destroy", "-auto-approve", "-input=false", *SETTINGS, check=False)
    assert result.returncode == 1
    assert "Instance cannot be destroyed" in result.stderr
    assert len(instances(ec2)) == 4


def test_nothing_but_data_is_left(applied: Root, ec2: EC2) -> None:
    volumes = [name for name in applied.run("state", "list").stdout.split() if "aws_ebs_volume.data" in name]
    applied.run("state", "rm", *volumes)
    applied.watch("destroy", "-auto-approve", "-input=false", *SETTINGS)
    assert instances(ec2) == []
    kept = {volume["VolumeId"] for volume in ec2.describe_volumes()["Volumes"] if volume["Size"] in {50, 100}}
    assert len(kept) == len(volumes) == 7
    assert [path for path in (applied.project / "build/aws/ssh").rglob("*") if path.is_file()] == []
