#!/bin/bash
# Waits until host $NAME, whose host key is in $SSH_DIR/known_hosts.d, has started, lets ops in at $ADDRESS and has done
# $FINALLY as root; $TIMEOUT_S seconds at most.
set -euo pipefail

until ssh -F none -i "$SSH_DIR/id_ed25519" -o BatchMode=yes -o ConnectTimeout="${CONNECT_TIMEOUT_S:-2}" -o LogLevel=ERROR \
  -o HostKeyAlias="$NAME" -o UserKnownHostsFile="$SSH_DIR/known_hosts.d/$NAME" "ops@$ADDRESS" \
  "systemctl is-system-running --wait > /dev/null; sudo -n ${FINALLY:-true}" 2> /dev/null; do
  ((SECONDS < TIMEOUT_S)) || {
    echo "no SSH at $ADDRESS after $SECONDS s" >&2
    exit 1
  }
  sleep 0.5
done
