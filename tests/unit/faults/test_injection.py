"""A fault is mended, whatever happens meanwhile, and touches only the hosts of its lab."""

from collections.abc import Sequence
from pathlib import Path

import harm
import pytest
from containers import HERE, OWNER, Containers, HostError, Step
from harm import Harm
from injection import Injection, Journal


class Machine:
    """Notes the commands that it is told to run, and fails those that it is told to."""

    def __init__(self, owner: str = str(OWNER)) -> None:
        self.owner = owner
        self.ran: list[str] = []
        self.fails: set[str] = set()
        self.there = ["node1", "node2"]

    def __call__(self, command: Sequence[str], _timeout_s: float) -> str:
        if command[:3] == ["incus", "config", "get"]:
            if command[3] not in self.there:
                raise HostError("no such instance")
            return f"{self.owner}\n"
        if command[:2] == ["incus", "list"]:
            return "\n".join(self.there)
        assert command[0] == "bash" or command[:2] == ["incus", "exec"]
        self.ran.append(command[-1])
        if command[-1] in self.fails:
            raise HostError(f"{command[-1]} failed")
        return ""


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def containers(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Containers:
    found = Containers(["node1", "node2"], machine)
    mend = found.mend
    monkeypatch.setattr(found, "mend", lambda steps: mend(steps, timeout_s=-1))
    return found


HARM = Harm(
    (Step("node1", "break 1"), Step(HERE, "break 2")),
    (Step(HERE, "mend 2"), Step("node1", "mend 1")),
    (Step(HERE, "prepare"),),
    (Step(HERE, "tidy"),),
)


def injected(
    containers: Containers, journal: Journal, harm: Harm = HARM, producer: object = None
) -> Injection:
    injection = Injection("a fault", harm, containers, journal)
    with injection.prepared(), injection.broken(producer):
        pass
    return injection


def test_hosts_of_another_lab_are_left_alone(machine: Machine, containers: Containers) -> None:
    with pytest.raises(HostError, match=r"node1 belongs to /elsewhere, not to .*leave it alone"):
        Containers(["node1"], Machine("/elsewhere"))
    with pytest.raises(HostError, match="belongs to nobody that is known"):
        Containers(["node1"], Machine(""))
    with pytest.raises(HostError, match="node9 is no host of this lab"):
        containers.shell("node9", "true")
    assert machine.ran == []


def test_a_host_that_was_lost_is_no_reason_not_to_mend(machine: Machine) -> None:
    machine.there = ["node1"]
    assert Containers(["node1", "node2"], machine).names == ["node1", "node2"]


def test_a_fault_is_mended_and_tidied_up(machine: Machine, containers: Containers, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "open.json")
    assert injected(containers, journal).failed == []
    assert machine.ran == ["prepare", "break 1", "break 2", "mend 2", "mend 1", "tidy"]
    assert journal.left() is None


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_fault_is_mended_when_its_row_is_cut_off(
    machine: Machine, containers: Containers, tmp_path: Path, error: type[BaseException]
) -> None:
    journal = Journal(tmp_path / "open.json")
    injection = Injection("a fault", HARM, containers, journal)

    def cut_off() -> None:
        with injection.prepared(), injection.broken(None):
            assert journal.left() == ("a fault", HARM.undone)
            raise error

    with pytest.raises(error):
        cut_off()
    assert machine.ran[-3:] == ["mend 2", "mend 1", "tidy"]
    assert journal.left() is None


def test_what_could_not_be_injected_is_told_and_mended(
    machine: Machine, containers: Containers, tmp_path: Path
) -> None:
    machine.fails = {"break 1"}
    journal = Journal(tmp_path / "open.json")
    assert injected(containers, journal).failed == ["not injected: break 1 failed"]
    assert machine.ran == ["prepare", "break 1", "mend 2", "mend 1", "tidy"]
    assert journal.left() is None


def test_what_could_not_be_mended_is_mended_by_the_next_run(
    machine: Machine, containers: Containers, tmp_path: Path
) -> None:
    machine.fails = {"mend 1"}
    journal = Journal(tmp_path / "open.json")
    assert injected(containers, journal).failed == ["not mended: mend 1 failed"]
    with pytest.raises(HostError, match=r"could not be mended: .*mend 1 failed"):
        Journal(tmp_path / "open.json").mend_left(containers)
    machine.fails, machine.ran = set(), []
    assert Journal(tmp_path / "open.json").mend_left(containers) == "a fault"
    assert machine.ran == ["mend 2", "mend 1", "tidy"]
    assert journal.mend_left(containers) is None


def test_the_producer_is_told_and_told_back(machine: Machine, containers: Containers, tmp_path: Path) -> None:
    class Producer:
        seen: list[float] = []  # noqa: RUF012 - of this test alone

        def __setattr__(self, name: str, value: float) -> None:
            assert name == "poison_tps"
            self.seen.append(value)

        poison_tps = 0.0

    producer = Producer()
    otherwise = harm.sent_otherwise("poison_tps", 1)
    assert injected(containers, Journal(tmp_path / "open.json"), otherwise, producer).failed == []
    assert producer.seen == [1, 0]
    assert machine.ran == []
    unknown = harm.sent_otherwise("no_setting", 1)
    with pytest.raises(HostError, match="no setting no_setting"):
        injected(containers, Journal(tmp_path / "open.json"), unknown, producer)


def test_a_unit_that_has_failed_is_told(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    containers = Containers(["node1", "node2"], machine)
    failed = {"node1": "", "node2": "kafka.service loaded failed failed Kafka broker\n"}

    def shell(name: str, command: str) -> str:
        if command.startswith("systemctl"):
            return failed[name]
        assert "_SYSTEMD_UNIT=kafka.service" in command
        return "no space left on device\n"

    monkeypatch.setattr(containers, "shell", shell)
    assert containers.failed_services() == ["kafka.service of node2 has failed: no space left on device"]

    def silent(name: str, _command: str) -> str:
        raise HostError(f"{name} is off")

    monkeypatch.setattr(containers, "shell", silent)
    assert containers.failed_services()[0] == "node1 does not answer: node1 is off"
