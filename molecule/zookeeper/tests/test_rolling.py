"""Configuration goes round one member at a time, and members stay those of the beginning."""

import json
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from conftest import PORT, Ensemble

testinfra_hosts = ["ansible://zookeeper-1"]
CONVERGE = Path(__file__).parents[1] / "converge.yml"


def started(ensemble: Ensemble) -> dict[int, int]:
    """When each member was started, by the clock that all containers share."""
    command = "systemctl show zookeeper --property=ActiveEnterTimestampMonotonic --value"
    return {number: int(host.check_output(command)) for number, host in ensemble.hosts.items()}


def snapshots_after(count: int) -> list[str]:
    """A setting that all members share."""
    return ["--extra-vars", json.dumps({"zookeeper_properties": {"snapCount": count}})]


@pytest.mark.slow
def test_an_ensemble_of_more_members_is_refused_with_the_way_to_it(
    ensemble: Ensemble, apply: Callable[..., Any]
) -> None:
    before = started(ensemble)
    nodes = ensemble.addresses | {4: "192.0.2.4", 5: "192.0.2.5"}
    listed = ", ".join(f"{number}: {address}" for number, address in nodes.items())
    refused = apply(CONVERGE, "--extra-vars", f"{{zookeeper_nodes: {{{listed}}}}}", fails=True)
    told = " ".join(refused.stdout.split())
    assert "was founded with the members 1, 2, 3, and cannot become one of 1, 2, 3, 4, 5 in place" in told
    assert "playbooks/zookeeper_anew.yml" in told
    assert started(ensemble) == before
    assert "server.4" not in ensemble.hosts[1].file("/etc/zookeeper/zoo.cfg").content_string


@pytest.mark.slow
def test_another_configuration_restarts_one_member_at_a_time_and_the_leader_last(
    ensemble: Ensemble,
    apply: Callable[..., Any],
    outages: Callable[..., AbstractContextManager[list[set[str]]]],
) -> None:
    before, leader = started(ensemble), ensemble.leader()
    with outages(dict.fromkeys(ensemble.addresses.values(), PORT)) as seen:
        apply(CONVERGE, *snapshots_after(9000))
    assert max(map(len, seen)) == 1, seen
    assert {address for down in seen for address in down} == set(ensemble.addresses.values())
    after = started(ensemble)
    assert all(after[number] > before[number] for number in after)
    assert max(after, key=lambda number: after[number]) == leader
    for host in ensemble.hosts.values():
        assert "snapCount=9000\n" in host.file("/etc/zookeeper/zoo.cfg").content_string
    ensemble.wait_until_whole()


@pytest.mark.slow
def test_the_next_run_completes_one_that_broke_off(
    ensemble: Ensemble,
    apply: Callable[..., Any],
    breaks: Callable[[int, int], list[int]],
    up_to_date: Callable[..., bool],
) -> None:
    # on each: configuration, the question what to restart, and the restart
    for changes in breaks(9, 1):
        changed = snapshots_after(9100 + changes)
        apply(CONVERGE, *changed, break_off_after=changes)
        apply(CONVERGE, *changed)
        for number, host in ensemble.hosts.items():
            assert up_to_date(host, "zookeeper.service", "/etc/zookeeper/*", "/opt/zookeeper"), number


@pytest.mark.slow
def test_a_host_that_was_made_again_gets_the_data_of_the_others(
    ensemble: Ensemble, apply: Callable[..., Any]
) -> None:
    lost, other = ensemble.followers()
    path = f"/molecule-{uuid.uuid4()}"
    ensemble.write(path, "kept", through=other)
    files = "/var/lib/zookeeper /etc/zookeeper /etc/systemd/system/zookeeper.service"
    ensemble.hosts[lost].check_output(f"systemctl stop zookeeper && rm -r {files}")
    apply(CONVERGE)
    ensemble.wait_until_whole()
    assert ensemble.read(path, lost) == "kept"
    ensemble.hosts[other].check_output("zookeeper-cli delete %s", path)
