"""What has changed since a service started: by content, whatever clocks and times of files say."""

import os
import subprocess
from pathlib import Path

import pytest

FILES = Path(__file__).parents[3] / "ansible/roles/service_inputs/files"
COMMAND = FILES / "service-inputs.sh"
UNIT = "some.service"


class Host:
    """A unit, its files, and a systemctl that tells of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.properties = {
            "ActiveState": "active",
            "InvocationID": "1",
            "NeedDaemonReload": "no",
            "FragmentPath": str(self.write("some.service", "[Service]")),
            "DropInPaths": "",
        }
        self.settings = self.write("settings", "a=1")
        self.link = root / "release"
        self.link.symlink_to("release-1")
        systemctl = self.write("bin/systemctl", '#!/bin/sh\ncat "$ROOT/properties/$3"\n')
        systemctl.chmod(0o755)
        self.package = self.write("package", "17.0.15+6-1~deb12u1")
        query = self.write("bin/dpkg-query", '#!/bin/sh\n[ "$4" = some-jre ] && cat "$ROOT/package"\n')
        query.chmod(0o755)

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def run(self, *arguments: str | Path) -> list[str]:
        for name, value in self.properties.items():
            self.write(f"properties/{name}", f"{value}\n")
        environment = {
            "PATH": f"{self.root}/bin:{os.environ['PATH']}",
            "ROOT": str(self.root),
            "SERVICE_INPUTS_DIR": str(self.root / "notes"),
            "INVOCATION_ID": self.properties["InvocationID"],
        }
        ran = subprocess.run(
            [COMMAND, *arguments], env=environment, capture_output=True, text=True, check=True
        )
        assert ran.stderr == ""
        return ran.stdout.splitlines()

    def start(self) -> None:
        self.run("note", UNIT, self.settings, self.link, "package:some-jre")

    def changed(self) -> list[str]:
        return [line.removeprefix(f"{UNIT} ") for line in self.run("changed", UNIT)]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    host = Host(tmp_path)
    host.start()
    return host


def test_nothing_changed(host: Host) -> None:
    assert host.changed() == []


def test_another_content_counts_though_the_file_is_old(host: Host) -> None:
    host.settings.write_text("a=2")
    os.utime(host.settings, (0, 0))
    assert host.changed() == [str(host.settings)]
    host.start()
    assert host.changed() == []


def test_the_same_content_written_again_does_not_count(host: Host) -> None:
    host.settings.unlink()
    host.write("settings", "a=1")
    os.utime(host.settings, (2**32, 2**32))
    assert host.changed() == []


def test_a_link_counts_by_its_target(host: Host) -> None:
    host.link.unlink()
    host.link.symlink_to("release-2")
    assert host.changed() == [str(host.link)]


def test_a_package_counts_by_its_version(host: Host) -> None:
    host.package.write_text("17.0.16+8-1~deb12u1")
    assert host.changed() == ["package:some-jre"]
    host.start()
    assert host.changed() == []
    host.package.unlink()
    assert host.changed() == ["package:some-jre"]


def test_a_file_that_is_gone_counts(host: Host) -> None:
    host.settings.unlink()
    assert host.changed() == [str(host.settings)]


def test_the_unit_and_what_is_added_to_it_count(host: Host) -> None:
    host.write("some.service", "[Service]\nNice=1")
    added = host.properties["DropInPaths"] = str(host.write("limits.conf", "[Service]"))
    assert host.changed() == sorted([host.properties["FragmentPath"], added])


def test_a_start_by_a_unit_older_than_its_file_counts(host: Host) -> None:
    """systemd starts so after a crash, where a new unit was written without a daemon-reload."""
    host.properties["NeedDaemonReload"] = "yes"
    host.start()
    host.properties["NeedDaemonReload"] = "no"
    assert host.changed() == [host.properties["FragmentPath"]]


def test_a_start_that_was_not_noted_counts(host: Host) -> None:
    host.properties["InvocationID"] = "2"
    assert host.changed() == [UNIT]
    (host.root / f"notes/{UNIT}").unlink()
    assert host.changed() == [UNIT]


def test_a_service_that_does_not_run_has_no_differences(host: Host) -> None:
    host.settings.write_text("a=2")
    host.properties["ActiveState"] = "failed"
    assert host.changed() == []


@pytest.mark.parametrize(
    ("restarts", "lived_s", "result", "waits_s"),
    [
        (0, 5, "exit-code", "0"),
        (3, 5, "exit-code", "6"),
        (30, 5, "signal", "20"),
        (30, 3600, "signal", ""),
        (3, 5, "success", ""),
    ],
)
def test_a_service_that_fails_again_and_again_is_started_ever_more_rarely(
    tmp_path: Path, restarts: int, lived_s: int, result: str, waits_s: str
) -> None:
    for name, script in {
        "systemctl": f"[ $3 = {UNIT} ] || exit 1; echo NRestarts={restarts};"
        " echo ExecMainStartTimestampMonotonic=7000000;"
        f" echo ExecMainExitTimestampMonotonic={7000000 + lived_s * 1000000}",
        "sleep": "echo $1",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SERVICE_RESULT": result}
    command = ["sh", FILES / "service-restart-delay.sh", UNIT]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == waits_s
