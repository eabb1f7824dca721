import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from testinfra.host import Host

PLAYBOOK = Path(__file__).parents[3] / "ansible/playbooks/base.yml"
HostsOf = Callable[[str], dict[str, Host]]
Apply = Callable[..., subprocess.CompletedProcess[str]]


def test_time_zone_is_utc(host: Host) -> None:
    assert host.check_output("date +%Z") == "UTC"


def test_hosts_know_each_other_by_both_names(host: Host, hosts_of: HostsOf) -> None:
    others = {name: other for name, other in hosts_of("base").items() if name != host.backend.host}
    assert others
    for name, other in others.items():
        address = other.ansible.get_variables()["ansible_host"]
        assert host.check_output(f"getent hosts {name}").split() == [address, f"{name}.lab.internal", name]
        assert host.addr(f"{name}.lab.internal").ipv4_addresses == [address]


def test_a_hosts_own_name_leads_to_the_address_that_others_use(host: Host) -> None:
    own = host.check_output("getent ahostsv4 $(hostname).lab.internal").split()[0]
    assert own in {address for address in host.interface("eth0").addresses if "." in address}


def test_a_run_on_one_host_keeps_the_names_of_the_others(hosts_of: HostsOf, apply: Apply) -> None:
    ran = apply(PLAYBOOK, "--limit", "base-1")
    assert "changed=0" in ran.stdout
    assert "base-2" not in ran.stdout
    assert hosts_of("base")["base-1"].run("getent hosts base-2").rc == 0


def test_the_hosts_file_keeps_localhost(host: Host) -> None:
    # not by a query, which systemd's resolver answers without this line
    assert re.search(r"^127\.0\.0\.1\s+localhost\b", host.file("/etc/hosts").content_string, re.MULTILINE)


def test_nothing_but_ssh_answers_the_network(host: Host) -> None:
    listening = host.check_output("ss --no-header --listening --tcp --udp --numeric").splitlines()
    places = {line.split()[4] for line in listening}
    # port 68 is the host's DHCP client's
    assert {place for place in places if not re.match(r"127\.|.*:68$", place)} == {"0.0.0.0:22", "[::]:22"}


def test_group_of_the_settings_exists(host: Host) -> None:
    assert host.group("fraud").exists


def test_journal_is_kept_and_small(host: Host) -> None:
    host.check_output("echo kept | systemd-cat --identifier=molecule && journalctl --sync")
    kept = "journalctl --directory=/var/log/journal --identifier=molecule --output=cat --no-pager"
    assert "kept" in host.check_output(kept)
    (limit_mb,) = re.findall(
        r"^SystemMaxUse=(\d+)M",
        host.check_output("systemd-analyze cat-config systemd/journald.conf"),
        re.MULTILINE,
    )
    disk_mb = int(host.check_output("df --output=size --block-size=MB /").split()[1].removesuffix("MB"))
    assert 50 <= int(limit_mb) <= max(50, min(1000, disk_mb / 100))


def test_services_may_open_many_files_and_more_if_they_ask(host: Host) -> None:
    # in a container, the limit that systemd was started with is the highest
    most = next(
        line.split()[4]
        for line in host.file("/proc/1/limits").content_string.splitlines()
        if "open files" in line
    )
    limits = host.check_output("systemd-run --quiet --pipe --wait sh -c 'ulimit -Sn; ulimit -Hn'").split()
    assert limits == ["16384", str(min(int(most), 524288))]


def test_the_clock_is_left_to_the_machine_below(host: Host) -> None:
    assert not host.package("chrony").is_installed
