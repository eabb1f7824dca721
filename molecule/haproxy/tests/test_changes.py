"""What becomes of a changed configuration, and of a process that ended."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import PROXY, Nodes

CONVERGE = Path(__file__).parents[1] / "converge.yml"
CONFIG = "/etc/haproxy/haproxy.cfg"
Apply = Callable[..., subprocess.CompletedProcess[str]]


def with_variables(**variables: object) -> list[str]:
    return ["--extra-vars", json.dumps(variables)]


def main_pids(nodes: Nodes) -> list[str]:
    return [host.check_output("systemctl show haproxy --property=MainPID --value") for host in nodes.hosts]


def assert_one_host_after_another(nodes: Nodes, told: str) -> None:
    turns = re.findall(
        r"^TASK \[haproxy : Restart or reload the service\] \**\n((?:.+\n)*)", told, re.MULTILINE
    )
    assert [re.findall(r"^changed: \[(.*)\]", turn, re.MULTILINE) for turn in turns] == [
        [name] for name in nodes.names
    ], told


def test_a_changed_configuration_is_loaded_without_dropping_a_request(nodes: Nodes, apply: Apply) -> None:
    first, before = nodes.hosts[0], main_pids(nodes)
    for node in range(2):
        nodes.become(node, "held")
    first.check_output(
        f"systemd-run --collect --unit=held --property=StandardOutput=file:/run/held ask {PROXY} 1 GET /held"
    )
    told = apply(CONVERGE, *with_variables(haproxy_connections=999)).stdout
    for node in range(2):
        nodes.become(node, "well")
    assert_one_host_after_another(nodes, told)
    for host in nodes.hosts:
        assert "maxconn 999" in host.file(CONFIG).content_string
        assert host.check_output("haproxy-health --configuration") == "healthy"
    assert main_pids(nodes) == before
    held = first.check_output("while systemctl is-active --quiet held; do sleep 0.1; done; cat /run/held")
    assert held.startswith("200 "), held


def test_a_broken_configuration_is_refused_and_the_former_one_stays(nodes: Nodes, apply: Apply) -> None:
    before = [host.file(CONFIG).content_string for host in nodes.hosts]
    told = apply(CONVERGE, *with_variables(haproxy_servers={"node1": "192.0.2.1:port"}), fails=True).stdout
    assert "port" in told
    assert [host.file(CONFIG).content_string for host in nodes.hosts] == before
    nodes.whole()


@pytest.mark.parametrize("victim", ["$main", "$(pgrep --parent $main)"], ids=["main", "serving"])
def test_a_process_that_is_killed_is_started_again(nodes: Nodes, victim: str) -> None:
    show = "systemctl show haproxy --property=MainPID --value"
    restarted = f"until [ $({show}) != 0 ] && [ $({show}) != $0 ]; do sleep 0.1; done"
    nodes.hosts[0].check_output(f"main=$({show}); kill -KILL {victim}; timeout 20 sh -c '{restarted}' $main")
    assert nodes.hosts[0].check_output("haproxy-health --wait 15") == "healthy"
    assert nodes.ask(1, "GET", "/who")[0].status == "200"


@pytest.mark.slow
def test_a_changed_unit_restarts_one_host_after_another(nodes: Nodes, apply: Apply) -> None:
    before = main_pids(nodes)
    told = apply(CONVERGE, *with_variables(haproxy_memory_mb=127)).stdout
    assert_one_host_after_another(nodes, told)
    assert not set(before) & set(main_pids(nodes))
    apply(CONVERGE)
    nodes.whole()
