#!/bin/bash
# Gives the running machine $DOMAIN its name $NAME and the SSH key, learns its host key, and waits until it has started.
set -euo pipefail

# an emulated machine takes a minute to start, and several where this machine is busy
export TIMEOUT_S=${TIMEOUT_S:-900} CONNECT_TIMEOUT_S=10

fail() {
  echo "$NAME: $1; look at: virsh console $DOMAIN" >&2
  exit 1
}

# A machine that its hypervisor stopped, as KVM does where it cannot emulate an instruction, never answers.
check_running() {
  local state
  state=$(virsh --quiet domstate "$DOMAIN" --reason) || fail "libvirt does not tell its state"
  [[ $state != running* ]] || return 0
  if [[ $DOMAIN_TYPE == kvm ]]; then
    fail "the machine is $state, and not by us: KVM cannot run it here. Emulation is slower, but works: apply \
with -var=domain_type=qemu, now and from now on. What KVM said is in /var/log/libvirt/qemu/$DOMAIN.log"
  fi
  fail "the machine is $state, and not by us; what QEMU said is in /var/log/libvirt/qemu/$DOMAIN.log"
}

# Prints what QEMU's agent in the machine answers to command $1 with arguments $2 (JSON).
ask() {
  virsh --quiet qemu-agent-command "$DOMAIN" "{\"execute\": \"$1\", \"arguments\": $2}"
}

read_host_key() {
  local handle content
  handle=$(ask guest-file-open '{"path": "/etc/ssh/ssh_host_ed25519_key.pub"}' | grep -o '[0-9]\+') || return
  content=$(ask guest-file-read "{\"handle\": $handle}" | sed 's/.*"buf-b64":"\([^"]*\)".*/\1/') || return
  ask guest-file-close "{\"handle\": $handle}" > /dev/null
  base64 --decode <<< "$content"
}

# Both keys pass through the machine's agent and not over the network, so no host key is ever taken on trust.
until host_key=$(read_host_key 2> /dev/null) && [[ $host_key == ssh-ed25519* ]]; do
  check_running
  ((SECONDS < TIMEOUT_S)) || fail "QEMU's agent in the machine gave no SSH host key within $SECONDS s"
  sleep 1
done
echo "$NAME $host_key" > "$SSH_DIR/known_hosts.d/$NAME"
virsh --quiet set-user-sshkeys "$DOMAIN" ops --reset --file "$SSH_DIR/id_ed25519.pub"

export FINALLY="hostnamectl hostname $NAME"
"$(dirname "$0")/../../ssh_access/scripts/wait_for_ssh.sh" || {
  check_running
  fail "did not start"
}
