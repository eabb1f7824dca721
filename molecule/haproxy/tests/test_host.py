"""What holds on each host."""

from collections.abc import Callable

from testinfra.host import Host

EXPOSURE_AT_MOST = 3.0


def test_service_runs_and_starts_at_boot(host: Host) -> None:
    assert host.service("haproxy").is_running
    assert host.service("haproxy").is_enabled


def test_it_listens_on_loopback_only(host: Host, address: str, open_ports: set[str]) -> None:
    sockets = host.check_output("ss --no-header --listening --tcp --numeric --processes").splitlines()
    assert {line.split()[3] for line in sockets if '"haproxy"' in line} == {"127.0.0.1:9010"}
    assert open_ports == {f"{address}:9000"}  # the stand-in


def test_it_is_confined(host: Host, exposure: Callable[[str], float]) -> None:
    assert set(host.check_output("ps -o user= -C haproxy").split()) == {"haproxy"}
    assert exposure("haproxy.service") <= EXPOSURE_AT_MOST
    assert host.check_output("systemctl show haproxy --property=MemoryMax --value") == str(128 * 1024**2)


def test_only_root_asks_it_for_statistics(host: Host) -> None:
    socket = host.file("/run/haproxy/stats.sock")
    assert (socket.user, socket.mode) == ("haproxy", 0o600)
    assert host.run("runuser -u nobody -- haproxy-health").rc == 1
    assert host.check_output("haproxy-health") == "healthy"
