#!/usr/bin/python
"""Ansible module: buckets, users and policies of a MinIO cluster, by way of its own client."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: minio_access
short_description: Buckets, users and policies of a MinIO cluster
description:
  - Creates buckets, and a user with a policy of the same name for each client.
  - Runs where C(mc) is installed and knows the administrator under an alias.
  - Passwords never are on a command line.
  - Buckets, users and policies that are not named are left alone.
options:
  alias:
    description: Name of the cluster in the configuration of C(mc).
    type: str
    required: true
  endpoint_url:
    description: URL at which users' passwords are tried.
    type: str
    required: true
  buckets:
    description:
      - "Name to options. C(versioning): true keeps versions, false stops that, left out leaves it."
      - "C(old_versions_days): how long versions are kept that another or a deletion has replaced; left out
        leaves it. Other rules of the bucket stay."
    type: dict
    default: {}
  users:
    description: "Name to buckets, bucket to C(ro) or C(rw)."
    type: dict
    default: {}
  passwords:
    description: Passwords by user name. More may be given than there are users.
    type: dict
    default: {}
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
"""

EXAMPLES = r"""
- name: Let reports read what the shop writes
  minio_access:
    alias: lab
    endpoint_url: http://127.0.0.1:9000
    buckets:
      sales: {versioning: true, old_versions_days: 30}
    users:
      shop: {sales: rw}
      reports: {sales: ro}
    passwords: "{{ passwords }}"
"""

RETURN = r"""
changes:
  description: What was done, or would be, in words.
  returned: always
  type: list
  elements: str
"""

OLD_VERSIONS_RULE = "old-versions"
BUCKET_ACTIONS = {
    "ro": ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketVersions"],
    "rw": [
        "s3:GetBucketLocation",
        "s3:ListBucket",
        "s3:ListBucketMultipartUploads",
        "s3:ListBucketVersions",
    ],
}
OBJECT_ACTIONS = {
    "ro": ["s3:GetObject", "s3:GetObjectVersion"],
    "rw": [
        "s3:AbortMultipartUpload",
        "s3:DeleteObject",
        "s3:GetObject",
        "s3:GetObjectVersion",
        "s3:ListMultipartUploadParts",
        "s3:PutObject",
    ],
}


def policy_document(access: dict[str, str]) -> dict[str, Any]:
    """Grant each bucket's level of access, as an IAM policy."""
    statements = []
    for level in sorted(set(access.values())):
        buckets = sorted(bucket for bucket, granted in access.items() if granted == level)
        for actions, suffix in ((BUCKET_ACTIONS[level], ""), (OBJECT_ACTIONS[level], "/*")):
            resources = [f"arn:aws:s3:::{bucket}{suffix}" for bucket in buckets]
            statements.append({"Effect": "Allow", "Action": actions, "Resource": resources})
    # MinIO lets users who may delete objects delete versions as well, unless this is denied. A client's
    # credentials must not destroy what versioning keeps.
    written = sorted(bucket for bucket, granted in access.items() if granted == "rw")
    if written:
        resources = [f"arn:aws:s3:::{bucket}/*" for bucket in written]
        statements.append({"Effect": "Deny", "Action": ["s3:DeleteObjectVersion"], "Resource": resources})
    return {"Version": "2012-10-17", "Statement": statements}


def in_order(document: dict[str, Any]) -> dict[str, Any]:
    """Sort a policy, so that two can be compared: the server has an order of its own."""
    statements = [
        {key: sorted(value) if isinstance(value, list) else value for key, value in statement.items()}
        for statement in document.get("Statement", [])
    ]
    return {
        **document,
        "Statement": sorted(statements, key=lambda statement: json.dumps(statement, sort_keys=True)),
    }


class CommandFailedError(Exception):
    """The client reported an error; code is the server's error code, if it gave one."""

    def __init__(self, command: str, code: str, message: str) -> None:
        super().__init__(f"mc {command}: {message}")
        self.code = code


class Client:
    """The `mc` command, its output read as JSON."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.executable = module.get_bin_path("mc", required=True, opt_dirs=["/usr/local/bin"])

    def run(
        self, *args: str, stdin: str = "", environment: dict[str, str] | None = None
    ) -> list[dict[str, Any]]:
        """Return the messages that the command printed, one for each thing it lists."""
        status, stdout, stderr = self.module.run_command(
            [self.executable, "--json", *args],
            data=stdin,
            environ_update=environment,
        )
        decoder, messages, rest = json.JSONDecoder(), [], stdout.strip()
        while rest:
            try:
                message, end = decoder.raw_decode(rest)
            except ValueError:
                raise CommandFailedError(" ".join(args), "", stdout.strip()) from None
            messages.append(message)
            rest = rest[end:].lstrip()
        for message in messages:
            if message.get("status") == "error":
                error = message["error"]
                cause = error.get("cause", {})
                details = cause.get("error") or {}
                code = details.get("Code", "") if isinstance(details, dict) else ""
                text = f"{error['message']} {cause.get('message', '')}".strip()
                raise CommandFailedError(" ".join(args), code, text)
        if status != 0:
            raise CommandFailedError(" ".join(args), "", stderr.strip())
        return messages


class Access:
    """The present state, the wanted one, and the steps between them."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.client = Client(module)
        self.alias = module.params["alias"]
        self.changes: list[str] = []
        self.before: dict[str, Any] = {}
        self.after: dict[str, Any] = {}

    def note(self, change: str, *place: str, before: Any, after: Any) -> bool:  # noqa: ANN401 - any JSON value
        """Record a change; tell whether to make it."""
        self.changes.append(change)
        key = " ".join(place)
        self.before[key] = before
        self.after[key] = after
        return not self.module.check_mode

    def apply_buckets(self) -> None:
        """Create buckets, and configure their old versions."""
        present = {message["key"].rstrip("/") for message in self.client.run("ls", self.alias)}
        for bucket, options in self.module.params["buckets"].items():
            target = f"{self.alias}/{bucket}"
            if bucket not in present and self.note(
                f"create bucket {bucket}", "bucket", bucket, before="absent", after="present"
            ):
                self.client.run("mb", target)
            self.apply_versioning(bucket, (options or {}).get("versioning"), present)
            self.apply_old_versions(bucket, (options or {}).get("old_versions_days"), present)

    def apply_versioning(self, bucket: str, wanted: bool | None, present: set[str]) -> None:  # noqa: FBT001
        """Switch versioning on or off, if the bucket's options say so."""
        target = f"{self.alias}/{bucket}"
        if wanted is None:
            return
        enabled = False
        if bucket in present:
            state = self.client.run("version", "info", target)[0].get("versioning") or {}
            enabled = state.get("status") == "Enabled"
        if enabled != wanted:
            verb = "enable" if wanted else "suspend"
            if self.note(
                f"{verb} versioning of {bucket}", "versioning", bucket, before=enabled, after=wanted
            ):
                self.client.run("version", verb, target)

    def apply_old_versions(self, bucket: str, days: int | None, present: set[str]) -> None:
        """Delete old versions after some days, if the bucket's options say so; other rules stay."""
        if days is None:
            return
        rules = self.lifecycle_rules(bucket) if bucket in present else []
        found = [rule for rule in rules if rule["ID"] == OLD_VERSIONS_RULE]
        wanted = [
            {
                "ID": OLD_VERSIONS_RULE,
                "Status": "Enabled",
                # a deletion's marker goes with the last version that it deleted
                "Expiration": {"ExpiredObjectDeleteMarker": True},
                "NoncurrentVersionExpiration": {"NoncurrentDays": days},
            }
        ]
        if found != wanted and self.note(
            f"keep old versions in {bucket} for {days} days",
            "old versions",
            bucket,
            before=found,
            after=wanted,
        ):
            others = [rule for rule in rules if rule["ID"] != OLD_VERSIONS_RULE]
            document = json.dumps({"Rules": others + wanted})
            self.client.run("ilm", "rule", "import", f"{self.alias}/{bucket}", stdin=document)

    def lifecycle_rules(self, bucket: str) -> list[dict[str, Any]]:
        """Return the rules by which a bucket's objects expire."""
        try:
            exported = self.client.run("ilm", "rule", "export", f"{self.alias}/{bucket}")[0]
        except CommandFailedError as error:
            if error.code != "NoSuchLifecycleConfiguration":
                raise
            return []
        rules: list[dict[str, Any]] = exported["config"]["Rules"]
        return rules

    def apply_policy(self, name: str, document: dict[str, Any]) -> None:
        """Write a policy unless it grants just this already."""
        try:
            info = self.client.run("admin", "policy", "info", self.alias, name)[0]
            found = in_order(info["policyInfo"]["Policy"])
        except CommandFailedError as error:
            if error.code != "XMinioAdminNoSuchPolicy":
                raise
            found = None
        wanted = in_order(document)
        if found == wanted:
            return
        if self.note(f"write policy {name}", "policy", name, before=found, after=wanted):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "policy.json")
                path.write_text(json.dumps(wanted), encoding="utf-8")
                self.client.run("admin", "policy", "create", self.alias, name, str(path))

    def password_works(self, name: str, password: str) -> bool:
        """Sign in as the user, who need not be allowed to do anything."""
        scheme, _, host = self.module.params["endpoint_url"].partition("://")
        url = f"{scheme}://{quote(name, safe='')}:{quote(password, safe='')}@{host}"
        try:
            self.client.run("ls", "attempt", environment={"MC_HOST_attempt": url})
        except CommandFailedError as error:
            if error.code in ("SignatureDoesNotMatch", "InvalidAccessKeyId"):
                return False
            if error.code != "AccessDenied":
                raise
        return True

    def apply_user(self, name: str, found: dict[str, Any] | None) -> None:
        """Create a user or set their password, enable them, and attach their policy alone."""
        password = self.module.params["passwords"][name]
        if found is None:
            new = self.note(f"create user {name}", "user", name, before="absent", after="present")
        elif found["userStatus"] != "enabled":
            new = self.note(f"enable user {name}", "user", name, before=found["userStatus"], after="enabled")
        else:
            new = not self.password_works(name, password) and self.note(
                f"set password of {name}", "password", name, before="another", after="as given"
            )
        if new:
            self.client.run("admin", "user", "add", self.alias, name, stdin=password)
        attached = set(filter(None, (found or {}).get("policyName", "").split(",")))
        if attached != {name} and self.note(
            f"attach policy to {name}", "policies of", name, before=sorted(attached), after=[name]
        ):
            if name not in attached:
                self.client.run("admin", "policy", "attach", self.alias, name, "--user", name)
            for other in sorted(attached - {name}):
                self.client.run("admin", "policy", "detach", self.alias, other, "--user", name)

    def apply(self) -> None:
        """Bring the cluster to the wanted state."""
        self.apply_buckets()
        found = {
            message["accessKey"]: message for message in self.client.run("admin", "user", "list", self.alias)
        }
        for name, access in self.module.params["users"].items():
            self.apply_policy(name, policy_document(access))
            self.apply_user(name, found.get(name))


def check(params: dict[str, Any]) -> str:
    """Say what is wrong with the parameters, in words, or nothing."""
    for name, access in params["users"].items():
        if name not in params["passwords"]:
            return f"users: {name} has no password in passwords"
        for bucket, level in access.items():
            if bucket not in params["buckets"]:
                return f"users: {name} has access to {bucket}, which is not among the buckets"
            if level not in BUCKET_ACTIONS:
                return f"users: {name} has '{level}' on {bucket}; give ro or rw"
    return ""


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "alias": {"type": "str", "required": True},
            "endpoint_url": {"type": "str", "required": True},
            "buckets": {"type": "dict", "default": {}},
            "users": {"type": "dict", "default": {}},
            "passwords": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    if complaint := check(module.params):
        module.fail_json(msg=complaint)
    access = Access(module)
    try:
        access.apply()
    except CommandFailedError as error:
        module.fail_json(msg=str(error), changes=access.changes)
    module.exit_json(
        changed=bool(access.changes),
        changes=access.changes,
        diff={"before": access.before, "after": access.after},
    )


if __name__ == "__main__":
    main()
