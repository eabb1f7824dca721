"""What Molecule's playbooks change where instances or the network are not theirs; Incus is a stand-in."""

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INCUS = """#!/bin/sh
echo "$*" >> "${0%/*}/calls"
case "$*" in
  *csv*user.fraud_owner=*/molecule) cat "${0%/*}/own" ;;
  "list --format=json") echo '[{"name": "fraud-molecule-web-1", "config": {}}]' ;;
  "network get"*) cat "${0%/*}/network" ;;
esac
"""
OWN = "fraud-detection/molecule"


def play(
    folder: Path, name: str, *, host: str = "kafka-1", own: str = "", network: str = ""
) -> tuple[str, set[str]]:
    """Play create or destroy of a scenario with one host; return what it printed, and changed in Incus."""
    (folder / "own").write_text(own)
    (folder / "network").write_text(f"{network}\n")
    (folder / "incus").write_text(INCUS)
    (folder / "incus").chmod(0o755)
    (folder / "id_ed25519").touch()
    given = {
        "molecule_yml": {"platforms": [{"name": host}], "scenario": {"name": "kafka"}},
        "molecule_ephemeral_directory": str(folder),
        "molecule_instance_config": str(folder / "instances.yml"),
    }
    variables = ["--extra-vars", f"@{ROOT}/molecule/shared/vars.yml", "--extra-vars", json.dumps(given)]
    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "MOLECULE_PROJECT_DIRECTORY": "/srv/checkout",
        "ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",
    }
    ran = subprocess.run(
        [
            "ansible-playbook",
            "--inventory",
            "localhost,",
            *variables,
            str(ROOT / f"molecule/shared/{name}.yml"),
        ],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    asked = (folder / "calls").read_text().splitlines()
    changing = {
        " ".join(call.split()[:4]) for call in asked if " get " not in call and not call.startswith("list")
    }
    return " ".join((ran.stdout + ran.stderr).split()), changing


@pytest.mark.parametrize(
    ("own", "network", "deleted"),
    [
        (
            "fraud-molecule-kafka-1\n",
            OWN,
            {"delete --force fraud-molecule-kafka-1", "network delete fraudmol0"},
        ),
        ("", OWN, {"network delete fraudmol0"}),
        ("fraud-molecule-java-1\n", "", set()),
        ("", "/srv/other", set()),
    ],
)
def test_destroy_deletes_its_own(tmp_path: Path, own: str, network: str, deleted: set[str]) -> None:
    assert play(tmp_path, "destroy", own=own, network=network)[1] == deleted


def test_create_uses_no_network_of_others(tmp_path: Path) -> None:
    told, changed = play(tmp_path, "create", network="")
    assert "Incus has a network fraudmol0 already, and no scenario made it. Nothing was changed." in told
    assert changed == set()


def test_create_replaces_no_instance(tmp_path: Path) -> None:
    told, changed = play(tmp_path, "create", host="web-1", network=OWN)
    assert "Incus has an instance fraud-molecule-web-1 already; something else made it." in told
    assert changed == set()


def test_a_network_is_made_with_its_first_container(tmp_path: Path) -> None:
    """Both under a lock, so that no scenario that ends deletes it in between."""
    incus = tmp_path / "incus"
    incus.write_text(
        """#!/bin/sh
case "$*" in
  "network show"*) [ -e "${0%/*}/made" ] || exit 1 ;;
  "network create"*) touch "${0%/*}/made" ;;
esac
if flock --nonblock "${0%/*}/lock" true; then echo unlocked >> "${0%/*}/calls"; fi
echo "$*" >> "${0%/*}/calls"
"""
    )
    incus.chmod(0o755)
    command = [ROOT / "molecule/shared/launch.sh", tmp_path / "lock", "net0", "ipv4.nat=true", "a=b", "--"]
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for name in ("one", "two"):
        subprocess.run([*command, "image", name], env=environment, check=True)
    assert [line for line in (tmp_path / "calls").read_text().splitlines() if "show" not in line] == [
        "network create net0 ipv4.nat=true a=b",
        "launch --quiet --network=net0 image one",
        "launch --quiet --network=net0 image two",
    ]
