#!/usr/bin/env python3
"""Refuse a plan of the lab that deletes data, or makes what somebody else has made already.

Standard input is what `terraform show -json PLAN` prints; arguments are hosts that may be deleted.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WITH_DATA = {"kafka", "kafka_controller", "minio", "zookeeper"}


def changes(plan: dict[str, Any], name: str, action: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each resource of that name, before and after the action; {} where it does not exist."""
    for resource in plan.get("resource_changes", []):
        change = resource["change"]
        if resource["name"] == name and action in change["actions"]:
            yield change["before"] or {}, change["after"] or {}


def deleted(plan: dict[str, Any]) -> Iterator[str]:
    """Yield the hosts that the plan deletes or replaces."""
    for before, after in changes(plan, "instance", "delete"):
        # Its incarnation differs if the host vanished behind Terraform's back; see modules/incus_host.
        identities = {values["triggers_replace"]["incarnation"] for values in (before, after) if values}
        if len(identities) == 1:
            yield before["input"]["name"]


def taken(plan: dict[str, Any], name: str, present: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield name and owner of what the plan makes, but somebody else has made already."""
    owners = {item["name"]: item["config"].get("user.fraud_owner", "") for item in present}
    for _, after in changes(plan, name, "create"):
        wanted = after.get("input", {})
        owner = owners.get(wanted.get("name"), wanted.get("owner"))
        # What a deleted checkout left behind may be replaced.
        if owner != wanted.get("owner") and (not owner or Path(owner).is_dir()):
            yield wanted["name"], owner


def problems(
    plan: dict[str, Any], may_go: set[str], present: dict[str, list[dict[str, Any]]]
) -> Iterator[str]:
    """Yield what speaks against the plan, and what to do about it."""
    outputs = plan.get("output_changes", {})
    hosts = outputs.get("hosts", {}).get("before") or {}
    for name in deleted(plan):
        data = WITH_DATA.intersection(hosts.get(name, {}).get("groups", WITH_DATA))
        if data and name not in may_go:
            yield (
                f"{name} would be deleted, with the data of {' and '.join(sorted(data))}.\n"
                "  To keep it, name the pools that it is in: make up TFVARS=grown.tfvars\n"
                "  To delete it, empty it first (docs/operate.md, More hosts, or fewer), then: "
                f"make up DELETE={name}"
            )
    for kind, listed in present.items():
        for name, owner in taken(plan, kind, listed):
            delete = f"incus {'network delete' if kind == 'network' else 'delete --force'} {name}"
            remedy = (
                f"Destroy that lab: terraform -chdir={owner} destroy"
                if owner
                else f"If nobody needs it: {delete}"
            )
            yield f"Incus has {kind} {name} already; {owner or 'something else'} made it.\n  {remedy}"


def incus(*arguments: str) -> list[dict[str, Any]]:
    """Return what Incus lists."""
    command = ["incus", *arguments, "--format=json"]
    listed = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout  # noqa: S603 - no shell, own arguments
    return list(json.loads(listed))


def main() -> None:
    """Print the problems on standard error, and fail if there are any."""
    may_go = {name for argument in sys.argv[1:] for name in argument.replace(",", " ").split()}
    present = {"instance": incus("list"), "network": incus("network", "list")}
    found = list(problems(json.load(sys.stdin), may_go, present))
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
