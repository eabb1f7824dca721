#!/bin/bash
# Makes of a root file system ($1, tar) a disk that boots by BIOS ($2, qcow2) of $3 GiB, what is empty left out.
set -euo pipefail
rootfs=$1
disk=$2
size_gb=$3

START_BYTES=1048576

work=$(mktemp --directory "$disk.XXXXXX")
raw=$work/disk.raw
root=$work/root
loop=
clean_up() {
  if mountpoint --quiet "$root"; then umount "$root"; fi
  if [[ -n $loop ]]; then losetup --detach "$loop"; fi
  rm -rf "$work"
}
trap clean_up EXIT

truncate --size="${size_gb}G" "$raw"
sfdisk --quiet "$raw" <<< "start=$((START_BYTES / 512)), type=83, bootable"
dd if=/usr/lib/EXTLINUX/mbr.bin of="$raw" bs=440 count=1 conv=notrunc status=none

loop=$(losetup --find --show --offset="$START_BYTES" "$raw")
# without what the boot loader cannot read
mkfs.ext4 -q -L root -O '^64bit,^metadata_csum' "$loop"
mkdir "$root"
mount "$loop" "$root"
tar --extract --numeric-owner --xattrs --xattrs-include='*' --file="$rootfs" --directory="$root"

echo 'LABEL=root / ext4 noatime,errors=remount-ro 0 1' > "$root/etc/fstab"
printf '%s\n' '127.0.0.1 localhost' '::1 localhost ip6-localhost ip6-loopback' > "$root/etc/hosts"
mkdir -p "$root/boot/extlinux"
# Debian's kernel packages keep both links up to date.
cat > "$root/boot/extlinux/extlinux.conf" << 'EOF'
SERIAL 0 115200
DEFAULT debian
PROMPT 0
LABEL debian
  LINUX /vmlinuz
  INITRD /initrd.img
  APPEND root=LABEL=root ro net.ifnames=0 console=tty0 console=ttyS0,115200
EOF
extlinux --install "$root/boot/extlinux" 2> "$work/extlinux.log" || { cat "$work/extlinux.log" >&2; exit 1; }

umount "$root"
losetup --detach "$loop"
loop=
qemu-img convert -c -O qcow2 "$raw" "$work/disk.qcow2"
mv "$work/disk.qcow2" "$disk"
