#!/bin/bash
# Sets the limits of the running instance $NAME, gives it the SSH key, and learns its host key.
set -euo pipefail

TIMEOUT_S=120

fail() {
  echo "$NAME: $1" >&2
  exit 1
}

incus config set "$NAME" limits.cpu="$CPUS" limits.memory="${MEMORY_MB}MiB"

# Both keys pass through Incus and not over the network, so no host key is ever taken on trust.
incus file push --quiet --uid=0 --gid=0 --mode=0644 "$SSH_DIR/id_ed25519.pub" "$NAME/etc/ssh/authorized_keys.d/ops"
until host_key=$(incus file pull --quiet "$NAME/etc/ssh/ssh_host_ed25519_key.pub" - 2> /dev/null); do
  ((SECONDS < TIMEOUT_S)) || fail "no SSH host key after $SECONDS s; look at: incus exec $NAME -- systemctl --failed"
  sleep 0.5
done
echo "$NAME $host_key" > "$SSH_DIR/known_hosts.d/$NAME"

ADDRESS=$(incus config device get "$NAME" eth0 ipv4.address)
export ADDRESS TIMEOUT_S
"$(dirname "$0")/../../ssh_access/scripts/wait_for_ssh.sh" || fail "did not start; look at: incus exec $NAME -- systemctl --failed"
