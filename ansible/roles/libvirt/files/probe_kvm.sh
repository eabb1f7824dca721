#!/bin/bash
# Succeeds if KVM runs a guest's code on this machine. That /dev/kvm can be opened says less: nested virtualization may
# refuse the first instruction. The guest is a boot sector that asks QEMU to exit with status 2 * 16 + 1.
set -uo pipefail
sector=$(mktemp)
trap 'rm -f "$sector"' EXIT

# mov al, 16; mov dx, 0xf4; out dx, al; hlt — and the mark of a boot sector at its end
printf '\xb0\x10\xba\xf4\x00\xee\xf4' > "$sector"
truncate --size=510 "$sector"
printf '\x55\xaa' >> "$sector"

timeout 20 qemu-system-x86_64 -accel kvm -cpu host -m 32 -nodefaults -no-user-config -display none \
  -device isa-debug-exit,iobase=0xf4,iosize=0x04 -drive "file=$sector,format=raw,if=ide,readonly=off"
status=$?
((status == 33)) || { echo "the guest ended with status $status instead of 33" >&2; exit 1; }
