"""Who leads, as ZooKeeper tells it, or the configuration where there is one JobManager."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[3] / "ansible/roles/flink/files"))
import flink_leader

ALONE = "rest.address: 10.78.0.11\nrest.bind-address: 10.78.0.9\nrest.port: 8081\n"
SEVERAL = ALONE + (
    "high-availability.cluster-id: /fraud-2.3.0\n"
    "high-availability.zookeeper.quorum: 10.78.0.11:2181,10.78.0.12:2181\n"
)
# as Java serializes it: the address, then the beginning of an object
TOLD = b"\xac\xed\x00\x05w\x18\x00\x16http://10.78.0.14:8081sr\x00\x0ejava.util.UUID"


class NoNodeError(Exception):
    pass


class Zookeeper:
    """In the place of kazoo's client; tests say what its node holds, or what happens instead."""

    held: bytes | Exception = TOLD
    asked: list[str]
    closed: int

    def __init__(self, hosts: str, timeout: float) -> None:
        assert timeout > 0
        Zookeeper.asked = [hosts]
        Zookeeper.closed = 0

    def start(self, timeout: float) -> None:
        assert timeout > 0
        if isinstance(self.held, TimeoutError):
            raise self.held

    def get(self, node: str) -> tuple[bytes, Any]:
        self.asked.append(node)
        if isinstance(self.held, Exception):
            raise self.held
        return self.held, None

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

    def elected(_: float) -> None:
        zookeeper.held = TOLD

    monkeypatch.setattr(flink_leader.time, "sleep", elected)
    monkeypatch.setattr(sys, "argv", ["flink-leader", "--wait", "30"])
    flink_leader.main()
    assert capsys.readouterr().out == "http://10.78.0.14:8081\n"
