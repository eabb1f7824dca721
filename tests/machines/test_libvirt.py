"""A virtual machine: made, reached, set up with Ansible, planned without change, and gone without a trace.

Where KVM does not run guest code it is emulated, and takes some ten minutes.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PLUGINS, PROJECT, Root, watch

# Not the checkout's own: the tests touch no machines that somebody made from it.
NETWORK = "fraudtest0"
SUBNET = "10.75.0.0/24"
HOST = "node1"
PROBE = PROJECT / "ansible/roles/libvirt/files/probe_kvm.sh"
# One host of the four: emulated, the whole system would be too slow.
TARGETS = [f'-target=module.host["{HOST}"]', "-target=module.ssh_access"]


def virsh(*arguments: str) -> str:
    command = ["virsh", "--quiet", "--connect", "qemu:///system", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def traces() -> list[str]:
    """Return whatever libvirt or the machine has of the test's network, disks and machines."""
    found = [
        f"{kind}: {name}"
        for kind, arguments in {
            "domain": ["list", "--all", "--name"],
            "network": ["net-list", "--all", "--name"],
            "pool": ["pool-list", "--all", "--name"],
        }.items()
        for name in virsh(*arguments).split()
        if name.startswith(NETWORK)
    ]
    paths = [Path("/var/lib/libvirt") / NETWORK, Path("/sys/class/net") / NETWORK]
    return found + [str(path) for path in paths if path.exists()]


@pytest.fixture(scope="module")
def root(project: Path) -> Iterator[Root]:
    network = project / "ansible/inventory/group_vars/all/network.yml"
    text = network.read_text()
    for line, value in {"libvirt_network: fraudvm0": NETWORK, "libvirt_subnet: 10.77.0.0/24": SUBNET}.items():
        assert line in text
        text = text.replace(line, f"{line.partition(':')[0]}: {value}")
    network.write_text(text)
    assert traces() == [], "left by a run that was broken off; remove it with virsh"

    root = Root(project, "libvirt")
    root.run("init", "-input=false", f"-plugin-dir={PLUGINS}")
    yield root
    root.run("destroy", "-auto-approve", "-input=false")


@pytest.fixture(scope="module")
def machine(root: Root) -> dict[str, str]:
    """Return the environment in which Ansible sees the running machine."""
    root.watch("apply", "-auto-approve", "-input=false", *TARGETS)
    # An emulated machine may take a while to answer where this machine is busy.
    return os.environ | {"TERRAFORM_ROOT": str(root.path), "ANSIBLE_TIMEOUT": "120"}


def ssh(root: Root, command: str) -> str:
    config = root.project / "build/libvirt/ssh_config"
    result = subprocess.run(["ssh", "-F", config, HOST, command], check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_root_is_valid(root: Root) -> None:
    root.run("validate")


def test_whole_system_is_planned(root: Root) -> None:
    result = root.run("plan", "-input=false", "-lock=false")
    assert result.stdout.count("libvirt_domain.machine will be created") == 4


def test_unknown_domain_type_is_refused(root: Root) -> None:
    result = root.run("plan", "-input=false", "-lock=false", "-var=domain_type=xen", check=False)
    assert result.returncode == 1
    assert 'domain_type is "xen"; it must be kvm or qemu' in result.stderr


def test_probe_knows_when_the_image_has_booted(root: Root) -> None:
    """Emulated, the image boots on any machine: if the probe fails with KVM, the image is not the reason."""
    image = json.loads((root.path / "control_node.auto.tfvars.json").read_text())["image"]
    watch([str(PROBE), image], os.environ | {"ACCELERATOR": "tcg", "TIMEOUT_S": "600"})


@pytest.mark.usefixtures("machine")
def test_machine_is_reached_by_ssh(root: Root) -> None:
    assert ssh(root, "hostname; systemctl is-system-running").split() == [HOST, "running"]
    assert ssh(root, "sudo -n id -u") == "0"
    assert ssh(root, "systemd-detect-virt") in {"kvm", "qemu"}


def test_machine_is_set_up_by_ansible(root: Root, machine: dict[str, str]) -> None:
    playbook = ["ansible-playbook", "playbooks/base.yml", "--limit", HOST]
    watch(playbook, machine, cwd=PROJECT / "ansible")
    assert "17" in ssh(root, "java -version 2>&1 | head -1")


def test_a_volume_that_grows_is_filled_while_it_is_in_use(
    root: Root, machine: dict[str, str], tmp_path: Path
) -> None:
    volume = {"service": "keeper", "path": "/var/lib/keeper", "device": "/dev/loop7"}
    role = {"role": "data_volume"} | {f"data_volume_{name}": value for name, value in volume.items()}
    play = {"hosts": HOST, "become": True, "gather_facts": False, "roles": [role]}
    (tmp_path / "play.yml").write_text(json.dumps([play]))

    def apply() -> int:
        watch(["ansible-playbook", str(tmp_path / "play.yml")], machine, cwd=PROJECT / "ansible")
        return int(ssh(root, "df --output=size --block-size=1M /var/lib/keeper").split()[1])

    ssh(
        root,
        "sudo modprobe loop && sudo truncate --size=300M /srv/volume && sudo losetup /dev/loop7 /srv/volume",
    )
    assert apply() < 300
    ssh(root, "sudo touch /var/lib/keeper/kept")
    ssh(root, "sudo truncate --size=700M /srv/volume && sudo losetup --set-capacity /dev/loop7")
    assert apply() > 600
    ssh(root, "ls /var/lib/keeper/kept")


@pytest.mark.usefixtures("machine")
def test_plan_shows_no_change(root: Root) -> None:
    result = root.run("plan", "-input=false", "-detailed-exitcode", *TARGETS, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.usefixtures("machine")
def test_nothing_is_left(root: Root) -> None:
    root.watch("destroy", "-auto-approve", "-input=false")
    assert traces() == []
    assert not (root.project / "build/libvirt/ssh_config").exists()
