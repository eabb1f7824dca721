#!/bin/bash
# Makes a bare Debian root file system ($1) a host. $2: directory of extra certificate authorities.
set -euo pipefail
root=$1
authorities=$2

# Network: the address comes by DHCP, reserved for the host by Terraform.
cat > "$root/etc/systemd/network/eth0.network" <<'EOF'
[Match]
Name=eth0
[Network]
DHCP=ipv4
LinkLocalAddressing=no
IPv6AcceptRA=no
[DHCPv4]
ClientIdentifier=mac
UseDomains=yes
EOF
ln -sf /run/systemd/resolve/resolv.conf "$root/etc/resolv.conf"

# Administrator, by key only; Terraform brings the key.
chroot "$root" useradd --create-home --shell /bin/bash --groups sudo ops
install -m 0440 /dev/stdin "$root/etc/sudoers.d/ops" <<< 'ops ALL=(ALL) NOPASSWD: ALL'
install -d "$root/etc/ssh/authorized_keys.d"
cat > "$root/etc/ssh/sshd_config.d/lab.conf" <<'EOF'
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/authorized_keys.d/%u
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
UseDNS no
EOF
rm -f "$root"/etc/ssh/ssh_host_*
cat > "$root/etc/systemd/system/ssh-host-key.service" <<'EOF'
[Unit]
Description=Generate the SSH host key on first boot
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
Before=ssh.service
[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key
[Install]
WantedBy=multi-user.target
EOF

# Where the machine has cgroup v1 with cpu and cpuacct apart, systemd looks for them together and mounts neither:
# a JVM then sees no limits at all. Options as shown (of a user id that means nothing in here) must not be repeated.
cat > "$root/etc/systemd/system/cgroup-v1-split.service" <<'EOF'
[Unit]
Description=Mount cgroup v1 cpu and cpuacct hierarchies that are apart
DefaultDependencies=no
Before=sysinit.target
ConditionPathIsSymbolicLink=/sys/fs/cgroup/cpu
ConditionPathExists=!/sys/fs/cgroup/cpu/cgroup.procs
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/mount --options-mode=ignore -o remount,rw,nosuid,nodev,noexec /sys/fs/cgroup
ExecStart=/bin/rm -f /sys/fs/cgroup/cpu /sys/fs/cgroup/cpuacct
ExecStart=/bin/mkdir /sys/fs/cgroup/cpu /sys/fs/cgroup/cpuacct
ExecStart=/bin/mount -t cgroup -o cpu cgroup /sys/fs/cgroup/cpu
ExecStart=/bin/mount -t cgroup -o cpuacct cgroup /sys/fs/cgroup/cpuacct
ExecStart=-/bin/mount --options-mode=ignore -o remount,ro,nosuid,nodev,noexec /sys/fs/cgroup
[Install]
WantedBy=sysinit.target
EOF

# Java's packages register alternatives for manual pages and fail without their directories.
mkdir -p "$root"/usr/share/man/man{1..8}

# Certificate authorities of the control node, if it has any of its own.
find "$authorities" -name '*.crt' -exec cp -t "$root/usr/local/share/ca-certificates" {} + 2>/dev/null || true
chroot "$root" update-ca-certificates

chroot "$root" systemctl enable systemd-networkd systemd-resolved ssh ssh-host-key cgroup-v1-split
chroot "$root" systemctl disable systemd-networkd-wait-online apt-daily.timer apt-daily-upgrade.timer
echo LANG=C.UTF-8 > "$root/etc/default/locale"

# Each host gets its own.
rm -f "$root/etc/hostname" "$root/var/lib/dbus/machine-id"
: > "$root/etc/machine-id"
