"""Scripts that wait for machines, with stand-ins for what they call: each ends and says what for."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
PROBE = PROJECT / "ansible/roles/libvirt/files/probe_kvm.sh"
CONFIGURE = PROJECT / "terraform/modules/libvirt_host/scripts/configure.sh"
WAIT_FOR_SSH = PROJECT / "terraform/modules/ssh_access/scripts/wait_for_ssh.sh"

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


def test_kvm_is_believed_where_the_image_comes_to_its_prompt(stand_in: StandIn) -> None:
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
def test_kvm_is_not_believed_where_a_machine_stops_on_its_way(
    stand_in: StandIn, qemu: str, told: str
) -> None:
    stand_in("qemu-system-x86_64", qemu)
    result = run(PROBE, "disk.qcow2", TIMEOUT_S="2")
    assert result.returncode == 1
    assert told in result.stderr


MACHINE = {"NAME": "node1", "DOMAIN": "fraudvm0-node1", "ADDRESS": "192.0.2.1", "TIMEOUT_S": "2"}


@pytest.mark.parametrize(
    ("state", "domain_type", "told"),
    [
        ("paused (unknown)", "kvm", "-var=domain_type=qemu"),
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
