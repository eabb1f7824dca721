"""How the probe judges the members' answers."""

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[3] / "ansible/roles/zookeeper/files"))
import zookeeper_health
from zookeeper_health import Member

GONE = Member(lacks="does not answer")
FOLLOWS = Member("follower")
WHOLE = {1: FOLLOWS, 2: Member("leader", synced=2), 3: FOLLOWS}
NOT_SERVING = "This ZooKeeper instance is not currently serving requests\n"


def leads(synced: int) -> Member:
    return Member("leader", synced=synced)


def test_a_whole_ensemble_lacks_nothing_and_can_do_without_each_member() -> None:
    assert zookeeper_health.problems(WHOLE) == []
    assert [zookeeper_health.problems_without(WHOLE, number) for number in WHOLE] == [[], [], []]


def test_a_member_that_is_gone_is_missed_and_leaves_none_to_spare() -> None:
    members = {1: FOLLOWS, 2: leads(1), 3: GONE}
    assert zookeeper_health.problems(members) == ["member 3 does not answer"]
    expected = ["member 3 does not answer", "1 others serve, and 2 of 3 decide"]
    assert zookeeper_health.problems_without(members, 1) == expected
    # the one that is gone is not needed
    assert zookeeper_health.problems_without(members, 3) == []


def test_of_five_members_one_can_go_while_another_is_gone_and_two_cannot() -> None:
    members = {1: FOLLOWS, 2: leads(3), 3: FOLLOWS, 4: FOLLOWS, 5: GONE}
    assert zookeeper_health.problems_without(members, 1) == []
    assert zookeeper_health.problems_without(members, 2) == []
    few = members | {2: leads(2), 4: GONE}
    assert "2 others serve, and 3 of 5 decide" in zookeeper_health.problems_without(few, 1)


def test_a_follower_that_is_not_in_sync_leaves_none_to_spare() -> None:
    members = WHOLE | {2: leads(1)}
    assert zookeeper_health.problems(members) == ["1 of 2 followers are in sync"]
    assert zookeeper_health.problems_without(members, 1) == ["1 of 2 followers are in sync"]


@pytest.mark.parametrize(
    ("members", "problem"),
    [(WHOLE | {2: FOLLOWS}, "no member leads"), (WHOLE | {3: leads(1)}, "member 2 and member 3 leads")],
)
def test_one_leads_and_no_other(members: dict[int, Member], problem: str) -> None:
    assert zookeeper_health.problems(members) == [problem]
    assert zookeeper_health.problems_without(members, 1) == [problem]


def test_one_member_by_itself_has_nobody_to_wait_for() -> None:
    assert zookeeper_health.problems({1: leads(0)}) == []
    assert zookeeper_health.problems_without({1: leads(0)}, 1) == []


def test_members_are_those_of_the_configuration() -> None:
    config = "tickTime=2000\nserver.2=10.78.0.12:2888:3888;10.78.0.12:2181\n"
    assert zookeeper_health.read_servers(config) == {2: ("10.78.0.12", 2181)}


@contextmanager
def answering(*answers: str) -> Iterator[int]:
    """Give the port of a member that answers so, once each."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            for each in answers:
                connection, _ = server.accept()
                with connection:
                    assert connection.recv(64) == b"mntr"
                    connection.sendall(each.encode())

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(10)


@pytest.mark.parametrize(
    ("answer", "member"),
    [
        ("zk_version\t3.9.5\nzk_server_state\tfollower\n", FOLLOWS),
        ("zk_server_state\tleader\nzk_synced_followers\t2\n", leads(2)),
        (NOT_SERVING, Member(lacks=f"does not serve: {NOT_SERVING.strip()}")),
        ("zk_server_state\tread-only\n", Member(lacks="does not serve: read-only")),
        ("", Member(lacks="does not serve: no answer")),
    ],
)
def test_an_answer_is_read_for_what_it_says(answer: str, member: Member) -> None:
    with answering(answer) as port:
        assert zookeeper_health.ask("127.0.0.1", port) == member


def test_a_member_that_takes_no_connection_or_is_silent_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(zookeeper_health, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert "timed out" in zookeeper_health.ask("127.0.0.1", port).lacks
    assert "refused" in zookeeper_health.ask("127.0.0.1", port).lacks


@pytest.fixture
def probe(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Run the probe of an ensemble of one at this port; give what it prints."""

    def run(port: int, *arguments: str) -> str:
        (tmp_path / "zoo.cfg").write_text(f"server.1=127.0.0.1:2888:3888;127.0.0.1:{port}\n")
        monkeypatch.setattr(zookeeper_health, "CONFIG", tmp_path / "zoo.cfg")
        monkeypatch.setattr(sys, "argv", ["zookeeper-health", *arguments])
        zookeeper_health.main()
        return capsys.readouterr().out

    return run


def test_it_waits_until_all_is_well(probe: Callable[..., str]) -> None:
    with answering(NOT_SERVING, "zk_server_state\tleader\n") as port:
        assert probe(port, "--wait", "20") == "healthy\n"


def test_it_tells_who_leads(probe: Callable[..., str]) -> None:
    with answering("zk_server_state\tleader\n") as port:
        assert probe(port, "--leader") == "1\n"


def test_it_ends_with_what_is_missing(probe: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    with answering(NOT_SERVING) as port, pytest.raises(SystemExit) as ended:
        probe(port, "--member", "1")
    assert ended.value.code == 1
    assert capsys.readouterr().out.startswith("member 1 does not serve")


def test_a_number_of_no_member_is_refused(
    probe: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        probe(1, "--without", "2")
    assert "the members are 1" in capsys.readouterr().err
