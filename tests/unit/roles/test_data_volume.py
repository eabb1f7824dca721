"""A file system fills its volume, here a file."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

TASKS = Path(__file__).parents[3] / "ansible/roles/data_volume/tasks"
MB = 1024 * 1024
RunHere = Callable[..., subprocess.CompletedProcess[str]]
Grow = Callable[..., str]


def size_mb(volume: Path) -> int:
    told = subprocess.run(
        ["/usr/sbin/dumpe2fs", "-h", volume], check=True, capture_output=True, text=True
    ).stdout
    found = dict(line.split(":", 1) for line in told.splitlines() if ":" in line)
    return int(found["Block count"]) * int(found["Block size"]) // MB


def resize(volume: Path, size: int) -> None:
    with volume.open("ab") as file:
        file.truncate(size)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """Make a file system of 16 MB."""
    file = tmp_path / "volume"
    resize(file, 16 * MB)
    subprocess.run(["/usr/sbin/mkfs.ext4", "-q", file], check=True)
    return file


@pytest.fixture
def grow(run_here: RunHere) -> Grow:
    """Run the tasks that let the file system fill the volume; give the run's summary."""

    def run(device: str | Path, fstype: str = "ext4", *, check_mode: bool = False) -> str:
        variables: dict[str, Any] = {
            "ansible_python_interpreter": "/usr/bin/python3",
            "data_volume_device": str(device),
            "data_volume_fstype": fstype,
            "data_volume_entry": {"changed": False},
        }
        role = {"name": "data_volume", "tasks_from": "grow.yml"}
        ran = run_here([{"ansible.builtin.import_role": role, "check_mode": check_mode}], variables)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout.partition("PLAY RECAP")[2]

    return run


def test_a_file_system_fills_a_volume_that_has_grown_and_keeps_what_it_has(volume: Path, grow: Grow) -> None:
    resize(volume, 32 * MB)
    assert "changed=1" in grow(volume, check_mode=True)
    assert size_mb(volume) == 16
    assert "changed=1" in grow(volume)
    assert size_mb(volume) == 32
    assert "changed=0" in grow(volume)


def test_a_rest_that_is_less_than_a_block_is_no_change(volume: Path, grow: Grow) -> None:
    resize(volume, 16 * MB + 1000)
    assert "changed=0" in grow(volume)


def test_memory_has_no_device_to_fill(grow: Grow) -> None:
    assert "changed=0" in grow("tmpfs", "tmpfs")


def test_a_volume_is_mounted_before_its_file_system_grows() -> None:
    parts = [
        task["ansible.builtin.import_tasks"] for task in yaml.safe_load((TASKS / "main.yml").read_text())
    ]
    assert parts[-2:] == ["mount.yml", "grow.yml"]
