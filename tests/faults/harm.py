"""What a fault does to hosts, as commands: how it breaks something, and how that is mended.

A mend may be done at any time, also where nothing is broken: it mends what a run that was cut off has left.
"""

import shlex
from collections.abc import Sequence
from typing import NamedTuple

from containers import HERE, PRODUCER, Step

# all that the firewall of a host gets, and what is removed again
TABLE = "inet faults"
# where the file systems of full disks lie on this machine, and where a host sees one meanwhile
DISKS, ASIDE = "/var/tmp/fraud-faults", "/mnt/fault"  # noqa: S108 - root's own, and large
DEVICE = "fault"
# room beside what is there, which is filled up
SPARE_MB = 512


class Harm(NamedTuple):
    """What is done, on hosts that are known by now.

    Attributes:
        breaks: done in this order.
        mends: undo that.
        prepares: done before, while nothing is measured yet.
        tidies: undo that, when all is measured.

    """

    breaks: tuple[Step, ...]
    mends: tuple[Step, ...]
    prepares: tuple[Step, ...] = ()
    tidies: tuple[Step, ...] = ()

    @property
    def undone(self) -> tuple[Step, ...]:
        """All that a run which is cut off has to make up for."""
        return self.mends + self.tidies


def together(harms: Sequence[Harm]) -> Harm:
    """Join harms: broken one after another, mended in the other order.

    Hosts lose their power last and get it first: without it, nothing else can be done on them.
    """
    breaks = [step for each in harms for step in each.breaks]
    mends = [step for each in reversed(harms) for step in each.mends]
    return Harm(
        tuple(sorted(breaks, key=lambda step: step.where == HERE)),
        tuple(sorted(mends, key=lambda step: step.where != HERE)),
        tuple(step for each in harms for step in each.prepares),
        tuple(step for each in reversed(harms) for step in each.tidies),
    )


def _started(unit: str) -> str:
    return f"systemctl reset-failed {unit} 2>/dev/null || true; systemctl start {unit}"


def killed(host: str, unit: str) -> Harm:
    """End all processes of a unit; systemd starts it again."""
    return Harm((Step(host, f"systemctl kill --signal=KILL {unit}"),), (Step(host, _started(unit)),))


def stopped(host: str, unit: str) -> Harm:
    """Stop a unit in good order."""
    return Harm((Step(host, f"systemctl stop {unit}"),), (Step(host, _started(unit)),))


def kept_down(host: str, unit: str) -> Harm:
    """End all processes of a unit, which systemd does not start again."""
    end = f"systemctl kill --signal=KILL {unit}; systemctl stop {unit}"
    return Harm((Step(host, end),), (Step(host, _started(unit)),))


def frozen(host: str, unit: str) -> Harm:
    """Freeze all processes of a unit: they keep their connections, and do not know what happens."""
    thaw = f"systemctl kill --signal=CONT {unit} 2>/dev/null || true; {_started(unit)}"
    return Harm((Step(host, f"systemctl kill --signal=STOP {unit}"),), (Step(host, thaw),))


def slowed(host: str, unit: str, percent: int) -> Harm:
    """Give a unit that share of one processor's time; its host's other services keep theirs.

    It fails where the kernel does not hold the unit's process to it. With the kernel's first cgroups, systemd
    makes the group only now, and in a container may not move another user's process: its user does.
    """
    allow = f"systemctl set-property --runtime {unit} CPUQuota="
    read = f"group=$(systemctl show --property=ControlGroup --value {unit})"
    read += f"; process=$(systemctl show --property=MainPID --value {unit})"
    first, second = "/sys/fs/cgroup/cpu$group", "/sys/fs/cgroup$group"
    move = (
        f'chown --reference="/proc/$process" "{first}/cgroup.procs"; '
        'setpriv --reuid="$(stat --format=%u "/proc/$process")" --clear-groups '
        f'sh -c "echo $process > \\"{first}/cgroup.procs\\""'
    )
    held = (
        f'if [ -e "{first}/cgroup.procs" ]; then {move}; fi; '
        f'if cat "{first}/cpu.cfs_quota_us" "{second}/cpu.max" 2>/dev/null | grep -q "^[0-9]" '
        f'&& cat "{first}/cgroup.procs" "{second}/cgroup.procs" 2>/dev/null | grep -qx "$process"'
    )
    wait = f"{read}; for _ in 1 2 3 4 5; do {held}; then exit 0; fi; sleep 1; done; exit 1"
    # what systemd could not move there it does not free either
    free = f'if [ -e "{first}/cpu.cfs_quota_us" ]; then echo -1 > "{first}/cpu.cfs_quota_us"; fi'
    return Harm((Step(host, f"{allow}{percent}%; {wait}"),), (Step(host, f"{allow}; {read}; {free}"),))


def _of_hosts(command: str, hosts: Sequence[str]) -> Harm:
    """Do something to whole hosts after which `incus start` lets them run again."""
    names = " ".join(map(shlex.quote, hosts))
    start = "; ".join(
        f"incus start {name} 2>/dev/null || incus info {name} | grep -qi running" for name in hosts
    )
    return Harm((Step(HERE, f"{command} {names}"),), (Step(HERE, start),))


def powered_off(*hosts: str) -> Harm:
    """Kill all processes of whole hosts at once.

    A power cut would lose what was not synced to disk, too: the kernel that containers share keeps it.
    """
    return _of_hosts("incus stop --force", hosts)


def shut_down(*hosts: str) -> Harm:
    """Stop whole hosts in good order."""
    return _of_hosts("incus stop --timeout=90", hosts)


def paused(*hosts: str) -> Harm:
    """Freeze all processes of whole hosts."""
    return _of_hosts("incus pause", hosts)


def _filtered(host: str, inward: Sequence[str], outward: Sequence[str]) -> Harm:
    """Drop packets on a host that match, on their way in or out; its loopback stays."""
    remove = f"nft delete table {TABLE} 2>/dev/null || true"
    rules = [f"add table {TABLE}"]
    for chain, matches in (("input", inward), ("output", outward)):
        if matches:
            rules.append(
                f"add chain {TABLE} {chain} {{ type filter hook {chain} priority -200; policy accept; }}"
            )
        rules += [f"add rule {TABLE} {chain} {match} drop" for match in matches]
    return Harm((Step(host, f"nft {shlex.quote('; '.join(rules))}"),), (Step(host, remove),))


def cut_off(host: str, *, inward: bool, outward: bool) -> Harm:
    """Cut a host off from all others and from clients: what comes in, what goes out, or both."""
    return _filtered(host, ['iifname != "lo"'] * inward, ['oifname != "lo"'] * outward)


def cut_from_port(host: str, port: int) -> Harm:
    """Cut a host's clients off from a port, wherever that is, on the host itself too."""
    return _filtered(host, [f"tcp sport {port}"], [f"tcp dport {port}"])


def filled(host: str, unit: str, folder: str) -> Harm:
    """Fill the disk that a unit has its data on.

    Hosts of the lab share the disk of this machine. So the data is moved to a small file system before, and
    back afterwards; the unit stops for both.
    """
    image, mounted = f"{DISKS}/{host}.img", f"{DISKS}/{host}"
    move = "rsync -aHAX --delete"
    add = f"incus config device add {host} {DEVICE} disk source={mounted} shift=true path="
    remove = f"incus config device remove {host} {DEVICE}"
    within = f"incus exec {host} -- "
    prepare = [
        f"mkdir -p {mounted}",
        f"used=$({within}du -sm {folder} | cut -f1)",
        f"truncate -s $((used + used / 5 + {SPARE_MB}))M {image}",
        # neither root's reserve nor a folder that a broker would take for a partition
        f"mkfs.ext4 -q -F -m 0 {image}; mount -o loop {image} {mounted}; rmdir {mounted}/lost+found",
        f"{within}systemctl stop {unit}",
        f"{add}{ASIDE}",
        f"{within}{move} {folder}/ {ASIDE}/",
        remove,
        f"{add}{folder}",
        f"{within}systemctl start {unit}",
    ]
    # where the data is not on the small file system, there is nothing to move back
    tidy = [
        f"mountpoint -q {mounted} || exit 0",
        f"{within}systemctl stop {unit}",
        f"at=$(incus config device get {host} {DEVICE} path 2>/dev/null || true)",
        f'if [ "$at" = {folder} ]; then {remove}; {add}{ASIDE}; {within}{move} {ASIDE}/ {folder}/; fi',
        f"{remove} 2>/dev/null || true",
        f"{within}bash -c {shlex.quote(_started(unit))}",
        f"umount {mounted}; rm -f {image}",
    ]
    full = f"{folder}/.full"
    return Harm(
        (Step(host, f"dd if=/dev/zero of={full} bs=64K 2>/dev/null || true"),),
        (Step(host, f"rm -f {full}; {_started(unit)}"),),
        (Step(HERE, "\n".join(prepare)),),
        (Step(HERE, "\n".join(tidy)),),
    )


def sent_otherwise(setting: str, value: float) -> Harm:
    """Let the producer send otherwise than it does."""
    return Harm((Step(PRODUCER, f"{setting}={value}"),), (Step(PRODUCER, f"{setting}=0"),))


def done_here(breaks: Sequence[str], mends: Sequence[str]) -> Harm:
    """Do something with commands of an operator, from the top of the checkout."""
    return Harm(tuple(Step(HERE, each) for each in breaks), tuple(Step(HERE, each) for each in mends))
