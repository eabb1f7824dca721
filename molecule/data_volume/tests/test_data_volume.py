from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

CONVERGE = Path(__file__).parents[1] / "converge.yml"
PLACE = "/var/lib/keeper"


def test_volume_is_mounted_and_its_service_started_with_the_host(host: Host) -> None:
    assert host.mount_point(PLACE).exists
    assert host.mount_point(PLACE).filesystem == "tmpfs"
    assert host.service("keeper").is_running
    assert host.file(f"{PLACE}/kept").exists


@pytest.fixture
def without_volume(host: Host) -> Generator[None]:
    """Unmount the volume and take it out of fstab, so that nothing mounts it."""
    host.check_output(
        f"systemctl stop keeper && umount {PLACE} && cp /etc/fstab /etc/fstab.kept"
        f" && sed -i '\\,{PLACE},d' /etc/fstab && systemctl daemon-reload"
    )
    yield
    host.check_output("mv /etc/fstab.kept /etc/fstab && systemctl daemon-reload && systemctl start keeper")


@pytest.mark.usefixtures("without_volume")
def test_service_refuses_to_start_on_the_systems_disk(host: Host) -> None:
    assert host.run("systemctl start keeper").rc != 0
    assert not host.file(f"{PLACE}/kept").exists


def test_volume_is_mounted_again_for_its_service(host: Host) -> None:
    host.check_output(f"systemctl stop keeper && umount {PLACE} && systemctl start keeper")
    assert host.mount_point(PLACE).exists
    assert host.file(f"{PLACE}/kept").exists


def test_a_volume_is_not_mounted_over_files(host: Host, apply: Callable[..., Any]) -> None:
    host.check_output("mkdir -p /srv/used && touch /srv/used/older")
    ran = apply(CONVERGE, "--extra-vars", "path=/srv/used", fails=True)
    assert "/srv/used/older" in ran.stdout
    assert "/srv/used" not in host.file("/etc/fstab").content_string
