#!/bin/bash
# Succeeds if KVM on this machine boots disk image $1 (qcow2, not written to) up to the login prompt on its serial
# console. Opening /dev/kvm would not prove it, nor would a guest of a few instructions: nested virtualization may
# refuse the first instruction, or fail as late as in the boot loader.
set -euo pipefail
image=$1
accelerator=${ACCELERATOR:-kvm}
timeout_s=${TIMEOUT_S:-120}

work=$(mktemp --directory)
console=$work/console
errors=$work/errors
qemu=
clean_up() {
  if [[ -n $qemu ]]; then
    kill -KILL "$qemu" 2> /dev/null || true
    wait "$qemu" 2> /dev/null || true
  fi
  rm -rf "$work"
}
trap clean_up EXIT

fail() {
  echo "$1" >&2
  exit 1
}

touch "$console" "$errors"
cpu=host
[[ $accelerator == kvm ]] || cpu=max
# the devices that libvirt gives a machine, without a network
qemu-system-x86_64 -accel "$accelerator" -cpu "$cpu" -m 512 -nodefaults -no-user-config -display none -vga std \
  -snapshot -drive "file=$image,format=qcow2,if=virtio" -serial "file:$console" > "$errors" 2>&1 &
qemu=$!

until grep --quiet --text 'login: ' "$console"; do
  # QEMU itself keeps running after it has paused the guest for an error.
  if grep --quiet --ignore-case 'internal error' "$errors"; then fail "$(grep --ignore-case --max-count 1 'internal error' "$errors")"; fi
  kill -0 "$qemu" 2> /dev/null || fail "QEMU ended: $(tail --lines 1 "$errors")"
  ((SECONDS < timeout_s)) || fail "no login prompt after $SECONDS s; the console's last line: $(tail --lines 1 "$console")"
  sleep 0.2
done
