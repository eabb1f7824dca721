import re

from testinfra.host import Host


def test_time_zone_is_utc(host: Host) -> None:
    assert host.check_output("date +%Z") == "UTC"


def test_hosts_know_each_other_by_both_names(host: Host) -> None:
    assert host.check_output("getent hosts elsewhere") == "192.0.2.7       elsewhere.lab.internal elsewhere"
    assert host.addr("elsewhere.lab.internal").ipv4_addresses == ["192.0.2.7"]


def test_own_name_is_the_address_that_others_use(host: Host) -> None:
    own = host.check_output("getent ahostsv4 base-1.lab.internal").split()[0]
    assert own in {address for address in host.interface("eth0").addresses if "." in address}


def test_localhost_is_left_alone(host: Host) -> None:
    # systemd's resolver would answer without it
    assert re.search(r"^127\.0\.0\.1\s+localhost\b", host.file("/etc/hosts").content_string, re.MULTILINE)


def test_nothing_but_ssh_answers_the_network(host: Host) -> None:
    listening = host.check_output("ss --no-header --listening --tcp --udp --numeric").splitlines()
    places = {line.split()[4] for line in listening}
    # on port 68 a host gets its own address
    assert {place for place in places if not re.match(r"127\.|.*:68$", place)} == {"0.0.0.0:22", "[::]:22"}


def test_group_of_the_settings_exists(host: Host) -> None:
    assert host.group("fraud").exists


def test_journal_is_kept_and_small(host: Host) -> None:
    host.check_output("echo kept | systemd-cat --identifier=molecule && journalctl --sync")
    kept = "journalctl --directory=/var/log/journal --identifier=molecule --output=cat --no-pager"
    assert "kept" in host.check_output(kept)
    assert "SystemMaxUse=50M" in host.check_output("systemd-analyze cat-config systemd/journald.conf")


def test_services_may_open_many_files(host: Host) -> None:
    assert host.check_output("systemctl show --property=DefaultLimitNOFILE --value") == "16384"
