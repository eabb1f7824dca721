#!/usr/bin/env python3
"""Write the SSH host key of instance $INSTANCE_ID, which is host $NAME, into known_hosts file $FILE.

The host makes its key itself, and cloud-init prints the public half on the console. This script asks EC2
($REGION) for the console, by the credentials that made the instance; so no host key is ever taken on trust.
"""

import os
import re
import sys
import time
from pathlib import Path
from typing import Any

try:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:
    sys.exit("boto3 is not installed. In the project's folder, run . .venv/bin/activate, then apply again.")

KEYS = re.compile(r"-----BEGIN SSH HOST KEY KEYS-----(.*?)-----END SSH HOST KEY KEYS-----", re.DOTALL)
# a whole Ed25519 key: they all have the same length
KEY = re.compile(r"^ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI[A-Za-z0-9+/]{43}(?=\s)", re.MULTILINE)


def host_key(console: str) -> str | None:
    """Return the key that cloud-init printed last; None if it has not printed one yet."""
    printed = KEYS.findall(console)
    found = KEY.search(printed[-1]) if printed else None
    return found.group() if found else None


def read_console(ec2: Any, instance: str) -> str:  # noqa: ANN401 - boto3 ships no types
    """Return what the instance has printed so far."""
    return str(ec2.get_console_output(InstanceId=instance, Latest=True).get("Output", ""))


def main() -> None:
    """Wait for the key and write it, or exit and say where to look."""
    name, instance, region = (os.environ[variable] for variable in ("NAME", "INSTANCE_ID", "REGION"))
    look = f"aws ec2 get-console-output --latest --output text --region {region} --instance-id {instance}"
    # cloud-init installs packages before it prints
    timeout_s = float(os.environ.get("TIMEOUT_S", "900"))
    deadline = time.monotonic() + timeout_s
    try:
        ec2 = boto3.client("ec2", region)
        while (key := host_key(read_console(ec2, instance))) is None:
            if time.monotonic() > deadline:
                sys.exit(f"{name}: {instance} shows no SSH host key within {timeout_s:.0f} s; see: {look}")
            time.sleep(min(5, timeout_s))
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"{name}: the console of {instance} cannot be read: {error}")
    file = Path(os.environ["FILE"])
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{name} {key}\n")


if __name__ == "__main__":
    main()
