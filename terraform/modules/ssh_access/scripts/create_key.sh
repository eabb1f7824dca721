#!/bin/bash
# Makes key pair $FILE, without a passphrase, and room for the hosts' keys.
set -euo pipefail

dir=$(dirname "$FILE")
mkdir -p "$dir/known_hosts.d"
chmod 0700 "$dir"
rm -f "$FILE" "$FILE.pub"
ssh-keygen -q -t ed25519 -N '' -C "$COMMENT" -f "$FILE"
