#!/usr/bin/env python3
"""Ansible inventory from Terraform's outputs.

Reads output `inventory` of the root in $TERRAFORM_ROOT, a folder of this project, default terraform/lab.
Without a state there are no hosts, but playbooks for localhost run.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]


def read_outputs(root: Path) -> dict[str, Any]:
    """Return all outputs of the Terraform root, {} before its first apply."""
    if not root.is_dir():
        sys.exit(f"terraform.py: {root} is no directory; set TERRAFORM_ROOT to a folder under terraform/")
    state = (root / "../../build" / root.resolve().name / "terraform.tfstate").resolve()
    if not state.is_file():
        return {}
    program = shutil.which("terraform") or shutil.which("tofu") or PROJECT / ".venv/bin/tofu"
    command = [str(program), f"-chdir={root}", "output", "-json", "-no-color", f"-state={state}"]
    # Terraform would print a warning into its JSON if this file is missing; `output` needs no such file.
    env = {key: value for key, value in os.environ.items() if key != "TF_CLI_CONFIG_FILE"}
    try:
        result = subprocess.run(command, check=False, capture_output=True, text=True, env=env)  # noqa: S603 - no shell, own arguments
    except FileNotFoundError:
        sys.exit("terraform.py: neither terraform nor tofu is here; run playbooks/control_node.yml")
    if result.returncode != 0:
        sys.exit(f"terraform.py: {' '.join(command)} failed:\n{result.stderr.strip()}")
    outputs: dict[str, Any] = json.loads(result.stdout)
    return outputs


def to_inventory(topology: dict[str, Any]) -> dict[str, Any]:
    """Return Ansible's inventory of output `inventory`: {hosts, groups, children, ssh_config_file}."""
    ssh = {"ansible_ssh_common_args": f'-F "{topology["ssh_config_file"]}"'}
    inventory: dict[str, Any] = {
        "_meta": {"hostvars": {name: variables | ssh for name, variables in topology["hosts"].items()}},
    }
    for group, hosts in topology["groups"].items():
        inventory[group] = {"hosts": hosts}
    for group, children in topology["children"].items():
        inventory[group] = {"children": children}
    return inventory


def main() -> None:
    """Print the inventory, as Ansible asks with --list."""
    if sys.argv[1:2] == ["--host"]:
        print("{}")
        return
    root = PROJECT / os.environ.get("TERRAFORM_ROOT", "terraform/lab")
    outputs = read_outputs(root)
    topology = outputs.get("inventory", {}).get("value")
    print(json.dumps(to_inventory(topology) if topology else {"_meta": {"hostvars": {}}}, indent=2))


if __name__ == "__main__":
    main()
