"""Hosts find each other at their internal addresses, wherever playbooks reach them."""

import json
import os
import re
import subprocess
from pathlib import Path

import yaml

ANSIBLE = Path(__file__).parents[3] / "ansible"
# They tell a person where to look.
FOR_PEOPLE = {"clients.yml", "validate.yml"}


def test_settings_name_hosts_by_their_internal_addresses(tmp_path: Path) -> None:
    hosts = {
        f"node{n}": {"ansible_host": f"203.0.113.{n}", "host_address": f"10.0.0.{n}", "node_index": n}
        for n in (1, 2)
    }
    groups = {group: {"hosts": dict.fromkeys(hosts)} for group in ("kafka", "minio")}
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(yaml.safe_dump({"all": {"hosts": hosts, "children": groups}}))
    (tmp_path / "group_vars").symlink_to(ANSIBLE / "inventory/group_vars")
    shown = subprocess.run(
        ["ansible", "node1", "-i", str(inventory), "-m", "debug", "-a", "var=settings_common"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=os.environ | {"ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "ANSIBLE_FORCE_COLOR": "0"},
    ).stdout
    settings = json.loads(shown.partition("=>")[2])["settings_common"]
    assert settings["kafka"]["bootstrap_servers"] == "10.0.0.1:9092,10.0.0.2:9092"
    assert settings["s3"]["endpoint_url"] == "http://127.0.0.1:9010"


def test_playbooks_put_no_other_address_into_what_they_deploy() -> None:
    found = {
        file.name
        for file in ANSIBLE.glob("playbooks/**/*.yml")
        if re.search(r"\bansible_host\b", file.read_text())
    }
    assert found == FOR_PEOPLE
