"""Scripts that wait for machines, with stand-ins for what they call: each ends in time and says why."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from ansible_modules import load
from moto.server import ThreadedMotoServer

PROJECT = Path(__file__).parents[3]
PROBE = PROJECT / "ansible/roles/libvirt/files/probe_kvm.sh"
CONFIGURE = PROJECT / "terraform/modules/libvirt_host/scripts/configure.sh"
WAIT_FOR_SSH = PROJECT / "terraform/modules/ssh_access/scripts/wait_for_ssh.sh"
LEARN_HOST_KEY = PROJECT / "terraform/modules/aws_host/scripts/learn_host_key.py"

StandIn = Callable[[str, str], None]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Put a script onto the PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    (tmp_path / "bin").mkdir()

    def put(name: str, script: str) -> None:
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/bash\n{script}\n")
        program.chmod(0o755)

    return put


def run(script: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(script), *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


CONSOLE = 'console=$(grep -o "file:[^ ]*" <<< "$*" | cut -d: -f2)'


def test_the_probe_succeeds_where_kvm_boots_the_image_to_its_prompt(stand_in: StandIn) -> None:
    stand_in(
        "qemu-system-x86_64",
        f'{CONSOLE}; echo "Loading /vmlinuz... ok"; echo "host login: " > $console; sleep 60',
    )
    assert run(PROBE, "disk.qcow2").returncode == 0


@pytest.mark.parametrize(
    ("qemu", "told"),
    [
        ('echo "KVM internal error. Suberror: 1"; sleep 60', "KVM internal error. Suberror: 1"),
        ('echo "failed to set MSR 0x10a" >&2; exit 1', "QEMU ended: failed to set MSR 0x10a"),
        (
            f"{CONSOLE}; echo Booting... > $console; sleep 60",
            "no login prompt after 2 s; the console's last line: Booting...",
        ),
    ],
)
def test_the_probe_fails_where_the_machine_stops_on_its_way(stand_in: StandIn, qemu: str, told: str) -> None:
    stand_in("qemu-system-x86_64", qemu)
    result = run(PROBE, "disk.qcow2", TIMEOUT_S="2")
    assert result.returncode == 1
    assert told in result.stderr


MACHINE = {"NAME": "node1", "DOMAIN": "fraudvm0-node1", "ADDRESS": "192.0.2.1", "TIMEOUT_S": "2"}


@pytest.mark.parametrize(
    ("state", "domain_type", "told"),
    [
        ("paused (unknown)", "kvm", "apply with -var=domain_type=qemu, now and from now on"),
        ("paused (I/O error)", "qemu", "the machine is paused (I/O error), and not by us"),
        ("shut off (crashed)", "kvm", "the machine is shut off (crashed), and not by us"),
    ],
)
def test_a_machine_that_does_not_run_is_not_waited_for(
    stand_in: StandIn, tmp_path: Path, state: str, domain_type: str, told: str
) -> None:
    stand_in("virsh", f'[[ $* != *domstate* ]] || {{ echo "{state}"; exit; }}; exit 1')
    environment = MACHINE | {"DOMAIN_TYPE": domain_type, "SSH_DIR": str(tmp_path), "TIMEOUT_S": "600"}
    result = run(CONFIGURE, **environment)
    assert result.returncode == 1
    assert told in result.stderr


def test_a_machine_without_an_agent_is_waited_for_until_time_is_up(stand_in: StandIn, tmp_path: Path) -> None:
    stand_in("virsh", '[[ $* != *domstate* ]] || { echo "running (booted)"; exit; }; exit 1')
    result = run(CONFIGURE, **MACHINE, DOMAIN_TYPE="kvm", SSH_DIR=str(tmp_path))
    assert result.returncode == 1
    assert "node1: QEMU's agent in the machine gave no SSH host key within" in result.stderr


def test_a_host_whose_start_hangs_is_waited_for_until_time_is_up(stand_in: StandIn, tmp_path: Path) -> None:
    stand_in("ssh", "exec sleep 60")
    result = run(WAIT_FOR_SSH, **MACHINE, SSH_DIR=str(tmp_path))
    assert result.returncode == 1
    assert "node1 has not started and let ops in by SSH at 192.0.2.1 within" in result.stderr


REGION = "eu-central-1"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "k" * 43


def printed(key: str) -> str:
    """Return what an instance prints: the operators' key, and its own keys."""
    return (
        f"authorized: {KEY.replace('k', 'o')} operators\r\n-----BEGIN SSH HOST KEY KEYS-----\r\n"
        f"ecdsa-sha2-nistp256 AAAA root@node1\r\n{key} root@node1\r\n-----END SSH HOST KEY KEYS-----\r\n"
    )


@pytest.fixture(scope="module")
def cloud() -> Iterator[dict[str, str]]:
    """Give the environment of the script, with an instance; moto answers as EC2 does."""
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    credentials = {"aws_access_key_id": "moto", "aws_secret_access_key": "moto"}
    ec2 = boto3.client("ec2", REGION, endpoint_url=endpoint, **credentials)
    (instance,) = ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)["Instances"]
    yield {name.upper(): value for name, value in credentials.items()} | {
        "AWS_ENDPOINT_URL": endpoint,
        "NAME": "node1",
        "INSTANCE_ID": instance["InstanceId"],
        "REGION": REGION,
        "TIMEOUT_S": "0.1",
    }
    server.stop()


@pytest.fixture
def known(cloud: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file that the key of the instance is to be written into."""
    file = tmp_path / "ssh/known_hosts.d/node1"
    for name, value in (cloud | {"FILE": str(file)}).items():
        monkeypatch.setenv(name, value)
    return file


def learn_host_key(console: str) -> None:
    with pytest.MonkeyPatch.context() as moto:
        moto.setattr("moto.ec2.responses.general.SAMPLE_CONSOLE_OUTPUT", console)
        load("learn_host_key", LEARN_HOST_KEY).main()


def test_a_clouds_host_is_known_by_the_key_that_it_printed_last(known: Path) -> None:
    learn_host_key(printed(KEY.replace("k", "f")) + printed(KEY))
    assert known.read_text() == f"node1 {KEY}\n"


@pytest.mark.parametrize("console", ["Booting...", printed(KEY[:-1]), printed(KEY).partition("-----END")[0]])
def test_a_clouds_host_that_prints_no_whole_key_is_waited_for_until_time_is_up(
    known: Path, console: str
) -> None:
    with pytest.raises(SystemExit, match=r"node1: i-.* shows no SSH host key within .* see: aws ec2"):
        learn_host_key(console)
    assert not known.exists()


def test_a_console_that_cannot_be_read_is_reported(known: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSTANCE_ID", "i-0123456789abcdef0")
    with pytest.raises(SystemExit, match=r"node1: the console of i-.* cannot be read: .*InvalidInstanceID"):
        learn_host_key(printed(KEY))
    assert not known.exists()
