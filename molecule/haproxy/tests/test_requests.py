"""Where requests go, while a server of two is stopped, frozen, or not ready."""

import uuid
from collections.abc import Callable, Iterator

import pytest
from conftest import PROXY, Nodes

# two checks that failed, and what a busy machine adds
NOTICED_S = 6


@pytest.fixture
def state(nodes: Nodes) -> Iterator[Callable[[int, str], None]]:
    """Change how a stand-in answers, for the time of a test."""
    yield nodes.become
    for node in range(2):
        nodes.become(node, "well")
    nodes.whole()


def test_both_servers_are_asked_for_the_host_that_the_client_named(nodes: Nodes) -> None:
    assert {answer.text for answer in nodes.ask(10, "GET", "/who")} == set(nodes.names)
    assert {answer.text for answer in nodes.ask(4, "GET", "/host")} == {"127.0.0.1:9010"}


def test_no_request_fails_when_a_server_is_killed_and_it_is_asked_again_once_it_is_back(
    nodes: Nodes, signal: Callable[[str], None]
) -> None:
    signal("KILL")
    answers = nodes.ask(20, "GET", "/who")
    assert {(answer.status, answer.text) for answer in answers} == {("200", nodes.names[0])}, answers
    # HAProxy pauses for a second before it tries the same server again
    assert max(answer.took_s for answer in answers) < 1, answers
    assert nodes.ask(1, "PUT", "/object", "1000")[0].status == "200"
    nodes.hosts[1].check_output("systemctl start stand-in")
    nodes.whole()
    assert {answer.text for answer in nodes.ask(10, "GET", "/who")} == set(nodes.names)


def test_a_frozen_server_is_left_out_within_seconds(nodes: Nodes, signal: Callable[[str], None]) -> None:
    signal("STOP")
    answers = nodes.ask(10, "GET", "/who")
    # a request that waits for it is ended, for its client to repeat it
    assert {answer.status for answer in answers} <= {"200", "502"}, answers
    assert max(answer.took_s for answer in answers) < NOTICED_S, answers
    left = nodes.ask(10, "GET", "/who")
    assert {(answer.status, answer.text) for answer in left} == {("200", nodes.names[0])}, left
    told = nodes.hosts[0].run("haproxy-health")
    assert told.rc == 1
    assert told.stdout.startswith(f"HAProxy sees {nodes.names[1]} down: Layer7 timeout"), told.stdout
    signal("CONT")
    nodes.whole()


def test_a_server_that_has_not_found_its_peers_is_left_out(
    nodes: Nodes, state: Callable[[int, str], None]
) -> None:
    state(1, "starting")
    told = nodes.hosts[0].run("for _ in $(seq 60); do haproxy-health || exit; sleep 0.1; done")
    assert f"HAProxy sees {nodes.names[1]} down" in told.stdout
    assert {answer.text for answer in nodes.ask(10, "GET", "/who")} == {nodes.names[0]}
    # where all checks fail, all servers are asked
    state(0, "starting")
    nodes.hosts[0].check_output(
        "for _ in $(seq 60); do [ $(haproxy-health | grep -c down) = 2 ] && exit; sleep 0.1; done; exit 1"
    )
    assert {answer.text for answer in nodes.ask(10, "GET", "/who")} == set(nodes.names)


def test_a_put_that_a_server_took_is_not_sent_again(nodes: Nodes, state: Callable[[int, str], None]) -> None:
    for node in range(2):
        state(node, "silent")
    path = f"/object/{uuid.uuid4()}"
    assert nodes.ask(1, "PUT", path, "1000000")[0].status == "502"
    taken = [nodes.ask(1, "GET", "/taken", url=url)[0].text.split() for url in nodes.urls]
    assert sum(paths.count(path) for paths in taken) == 1


def test_a_client_whose_object_is_refused_before_it_is_sent_is_answered_again(
    nodes: Nodes, state: Callable[[int, str], None]
) -> None:
    for node in range(2):
        state(node, "refusing")
    assert nodes.hosts[0].check_output(f"put_and_get {PROXY}") == "503 200"


def test_the_size_of_an_object_is_not_limited(nodes: Nodes) -> None:
    """By HAProxy, whose memory is: this one is larger."""
    assert nodes.ask(1, "PUT", "/object/large", str(256 * 1024**2))[0].status == "200"
