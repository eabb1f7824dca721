"""Who leads, as ZooKeeper tells it, or the configuration where there is one JobManager."""

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from passing_time import PassingTime

sys.path.append(str(Path(__file__).parents[3] / "ansible/roles/flink/files"))
import flink_leader

ALONE = "rest.address: 10.78.0.11\nrest.bind-address: 10.78.0.9\nrest.port: 8081\n"
SEVERAL = ALONE + (
    "high-availability.cluster-id: /fraud-2.3.0\n"
    "high-availability.zookeeper.quorum: 10.78.0.11:2181,10.78.0.12:2181\n"
)
# as Java serializes it: the address, then the beginning of an object
TOLD = b"\xac\xed\x00\x05w\x18\x00\x16http://10.78.0.14:8081sr\x00\x0ejava.util.UUID"


LATCH = "/flink/fraud-2.3.0/leader/latch"
# the leader's and the other's
SESSIONS = {"_c_one-latch-0000000007": 71, "_c_other-latch-0000000008": 82}


class NoNodeError(Exception):
    pass


class Node(NamedTuple):
    ephemeralOwner: int  # noqa: N815 - kazoo's name


class Retry:
    """In the place of kazoo's, for a connection that comes back at once."""

    def __init__(self, max_tries: int, max_delay: float) -> None:
        assert max_tries == -1
        assert max_delay > 0

    def __call__(self, ask: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401 - whatever it is
        try:
            return ask(*arguments)
        except RuntimeError:
            return ask(*arguments)


class Zookeeper:
    """In the place of kazoo's client; tests say what its node holds, or what happens instead."""

    held: bytes | Exception = TOLD
    session: int = 71
    lost: bool = False
    asked: list[str]
    deleted: list[str]
    closed: int

    def __init__(self, hosts: str, timeout: float) -> None:
        assert timeout > 0
        Zookeeper.asked = [hosts]
        Zookeeper.deleted = []
        Zookeeper.closed = 0

    def start(self, timeout: float) -> None:
        assert timeout > 0
        if isinstance(self.held, TimeoutError):
            raise self.held

    def get(self, node: str) -> tuple[bytes, Node]:
        self.asked.append(node)
        if Zookeeper.lost:
            Zookeeper.lost = False
            raise RuntimeError("the connection was lost")
        if isinstance(self.held, Exception):
            raise self.held
        return self.held, Node(self.session)

    def get_children(self, node: str) -> list[str]:
        assert node == LATCH
        return [*SESSIONS, "_c_gone-latch-0000000006"]

    def exists(self, node: str) -> Node | None:
        session = SESSIONS.get(node.removeprefix(f"{LATCH}/"))
        return Node(session) if session else None

    def delete(self, node: str) -> None:
        self.deleted.append(node)

    def stop(self) -> None:
        pass

    def close(self) -> None:
        Zookeeper.closed += 1


@pytest.fixture(autouse=True)
def zookeeper(monkeypatch: pytest.MonkeyPatch) -> type[Zookeeper]:
    modules: dict[str, dict[str, Any]] = {
        "kazoo": {},
        "kazoo.client": {"KazooClient": Zookeeper},
        "kazoo.exceptions": {"KazooException": RuntimeError, "NoNodeError": NoNodeError},
        "kazoo.handlers": {},
        "kazoo.handlers.threading": {"KazooTimeoutError": TimeoutError},
        "kazoo.retry": {"KazooRetry": Retry},
    }
    for name, content in modules.items():
        module = types.ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(Zookeeper, "held", TOLD)
    return Zookeeper


def test_the_only_jobmanager_leads() -> None:
    assert flink_leader.find_leader(ALONE) == "http://10.78.0.11:8081"
    assert flink_leader.find_leader("rest.address: 'node1'\nrest.port: \"8082\"\n") == "http://node1:8082"


def test_of_several_zookeeper_tells_which_leads(zookeeper: type[Zookeeper]) -> None:
    assert flink_leader.find_leader(SEVERAL) == "http://10.78.0.14:8081"
    assert zookeeper.asked == [
        "10.78.0.11:2181,10.78.0.12:2181",
        "/flink/fraud-2.3.0/leader/rest_server/connection_info",
    ]
    assert zookeeper.closed == 1


@pytest.mark.parametrize(
    ("held", "told"),
    [
        (NoNodeError(), "no JobManager leads"),
        (b"", "no JobManager leads"),
        (TimeoutError("Connection time-out"), r"ZooKeeper \(10.78.0.11.* does not tell who leads.*time-out"),
        (RuntimeError("lost"), "ZooKeeper .* does not tell who leads.*lost"),
    ],
)
def test_whether_a_leader_or_zookeeper_is_missing_is_told(
    zookeeper: type[Zookeeper], held: bytes | Exception, told: str
) -> None:
    zookeeper.held = held
    with pytest.raises(flink_leader.NoLeaderError, match=told):
        flink_leader.find_leader(SEVERAL)
    assert zookeeper.closed == 1


def test_a_leader_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    zookeeper: type[Zookeeper],
) -> None:
    (tmp_path / "config.yaml").write_text(SEVERAL)
    monkeypatch.setattr(flink_leader, "CONFIG", tmp_path / "config.yaml")
    zookeeper.held = NoNodeError()
    monkeypatch.setattr(sys, "argv", ["flink-leader"])
    with pytest.raises(SystemExit, match="no JobManager leads"):
        flink_leader.main()

    class Elected(PassingTime):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            zookeeper.held = TOLD

    monkeypatch.setattr(flink_leader, "time", Elected())
    monkeypatch.setattr(sys, "argv", ["flink-leader", "--wait", "30"])
    flink_leader.main()
    assert capsys.readouterr().out == "http://10.78.0.14:8081\n"


def test_the_lead_of_a_process_that_is_gone_is_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, zookeeper: type[Zookeeper]
) -> None:
    (tmp_path / "config.yaml").write_text(SEVERAL.replace("10.78.0.11\n", "10.78.0.14\n"))
    monkeypatch.setattr(flink_leader, "CONFIG", tmp_path / "config.yaml")
    monkeypatch.setattr(sys, "argv", ["flink-leader", "--resign"])
    flink_leader.main()
    assert zookeeper.deleted == [f"{LATCH}/_c_one-latch-0000000007"]
    assert zookeeper.closed == 1
    zookeeper.held = TimeoutError("Connection time-out")
    with pytest.raises(SystemExit, match="time-out"):
        flink_leader.main()


@pytest.mark.parametrize("held", [TOLD, NoNodeError()])
def test_only_ones_own_lead_is_ended(zookeeper: type[Zookeeper], held: bytes | Exception) -> None:
    zookeeper.held = held
    flink_leader.resign(SEVERAL)
    assert zookeeper.deleted == []


def test_the_only_jobmanager_has_no_lead_to_end(zookeeper: type[Zookeeper]) -> None:
    zookeeper.asked = []
    flink_leader.resign(ALONE)
    assert zookeeper.asked == []


class EndedError(Exception):
    """Time is up."""


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch, zookeeper: type[Zookeeper]) -> Callable[..., list[int]]:
    """Watch while leader, session and process change each second; give the processes that were killed."""

    def watched(*seconds: tuple[str, int, int]) -> list[int]:
        kills: list[int] = []
        to_come = list(seconds)

        def pass_time(_: float = 0) -> None:
            if not to_come:
                raise EndedError
            leader, zookeeper.session, pid = to_come.pop(0)
            zookeeper.lost = not to_come
            monkeypatch.setattr(flink_leader, "running_pid", lambda: pid)
            zookeeper.held = TOLD.replace(b"10.78.0.14", leader.encode()) if leader else NoNodeError()

        pass_time()
        monkeypatch.setattr(flink_leader, "time", types.SimpleNamespace(sleep=pass_time))
        monkeypatch.setattr(flink_leader.os, "kill", lambda pid, number: kills.append(pid * (number == 9)))
        with pytest.raises(EndedError):
            flink_leader.watch(SEVERAL)
        return kills

    return watched


OWN, OTHER = "10.78.0.11", "10.78.0.14"


def test_a_process_in_whose_place_another_leads_is_killed(killed: Callable[..., list[int]]) -> None:
    assert killed((OWN, 1, 7), (OWN, 1, 7), ("", 0, 7), (OTHER, 2, 7), (OTHER, 2, 7)) == [7]
    # and again, after it had led once more
    assert killed((OWN, 1, 7), (OTHER, 2, 7), (OWN, 3, 8), (OTHER, 4, 8)) == [7, 8]


def test_who_never_led_restarted_or_stops_is_left_alone(killed: Callable[..., list[int]]) -> None:
    assert killed((OTHER, 1, 7), (OTHER, 2, 7)) == []
    assert killed((OWN, 1, 7), (OTHER, 2, 8)) == []
    assert killed((OWN, 1, 7), (OTHER, 2, 0)) == []
    # restarted, and led again before anybody else
    assert killed((OWN, 1, 7), ("", 0, 0), (OWN, 2, 8), (OWN, 2, 8)) == []
    assert killed((OWN, 1, 7), ("", 0, 7)) == []


@pytest.mark.parametrize(("state", "pid"), [("active", 41), ("deactivating", 0), ("activating", 0)])
def test_a_unit_that_stops_has_no_process_to_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, pid: int
) -> None:
    (tmp_path / "systemctl").write_text(f"#!/bin/sh\necho ActiveState={state}; echo MainPID=41\n")
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert flink_leader.running_pid() == pid
