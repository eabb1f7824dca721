#!/bin/bash
# Waits until host $NAME, whose host key is in $SSH_DIR/known_hosts.d, has started, lets ops in at $ADDRESS and has done
# $FINALLY as root; $TIMEOUT_S seconds at most.
set -euo pipefail

# `timeout` is needed besides: a host whose start hangs may let ops in, and never says that it has started.
until timeout $((SECONDS < TIMEOUT_S ? TIMEOUT_S - SECONDS : 1)) \
  ssh -F none -i "$SSH_DIR/id_ed25519" -o BatchMode=yes -o ConnectTimeout="${CONNECT_TIMEOUT_S:-2}" -o LogLevel=ERROR \
  -o HostKeyAlias="$NAME" -o UserKnownHostsFile="\"$SSH_DIR/known_hosts.d/$NAME\"" "ops@$ADDRESS" \
  "systemctl is-system-running --wait > /dev/null; sudo -n ${FINALLY:-true}" 2> /dev/null; do
  ((SECONDS < TIMEOUT_S)) || {
    echo "$NAME has not started and let ops in by SSH at $ADDRESS within $SECONDS s" >&2
    exit 1
  }
  sleep 0.5
done
