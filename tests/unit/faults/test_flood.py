"""A flood: what is sent, whether topics keep it, what is slowed, and what of the findings is told."""

import json
import subprocess
import sys
from argparse import Namespace
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, NamedTuple, cast

import console_producer
import flood
import flood_load
import flood_watch
import harm
import lab_command
import msgspec
import pytest
import samples
import topics
from console_producer import sending_host
from containers import HostError
from flood import flood_problems, highest, memory_problems
from flood_load import CHUNK, SAMPLE, Load, pour, records_of
from flood_page import page
from flood_verdict import edges, missing, predictions
from flood_watch import Watch, counted, uncommitted
from kafka.errors import KafkaTimeoutError
from passing_time import PassingTime
from room import Sizes, lacking, sizes
from samples import Samples, memory_bounds

from flink_jobs.domain.scoring import Prediction
from flink_jobs.domain.transaction import parse_transaction
from flink_jobs.store import kafka_servers

# what is sent


def of_lines(lines: bytes) -> list[tuple[str, dict[str, Any]]]:
    pairs = [line.split(b"\t") for line in lines.splitlines()]
    return [(key.decode(), json.loads(value)) for key, value in pairs]


def test_a_line_is_a_customer_and_a_transaction_that_the_job_reads() -> None:
    load = Load("w1")
    made = load.lines(50) + load.lines(50, sampled=True)
    for line in made.splitlines():
        key, payload = line.split(b"\t")
        assert parse_transaction(payload, 4e9).customer_id == key.decode()
    ids = [record["transaction_id"] for _, record in of_lines(made)]
    assert ids == [f"w1-{number}" for number in range(100)]
    # those who are computed anew have no other records
    whose = [key.startswith(load.sampled) for key, _ in of_lines(made)]
    assert whose == [False] * 50 + [True] * 50


class Clock(PassingTime):
    """Time that passes by itself with each write, too."""

    def __init__(self, write_s: float = 0.0) -> None:
        super().__init__()
        self.write_s = write_s
        self.written: list[tuple[float, bytes]] = []

    def write(self, lines: bytes) -> None:
        self.now_s += self.write_s
        self.written.append((self.now_s, lines))


def poured(monkeypatch: pytest.MonkeyPatch, clock: Clock, seconds: float, most: int | None = None) -> int:
    pacer = flood_load.Pacer
    monkeypatch.setattr(flood_load, "Pacer", lambda: pacer(clock.monotonic, clock.sleep))
    monkeypatch.setattr(flood_load, "time", clock)
    stopped = (lambda: False) if most is None else (lambda: len(clock.written) >= most)
    return pour(clock.write, Load("w1"), 10_000, seconds, stopped)


def sampled(clock: Clock) -> list[bool]:
    return [Load("w1").sampled.encode() in lines for _, lines in clock.written]


def test_a_flood_comes_at_its_rate_and_its_first_and_last_records_are_sampled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    assert poured(monkeypatch, clock, 10) == records_of(10_000, 10) == 100_000
    times = [at for at, _ in clock.written]
    assert times == pytest.approx([number * CHUNK / 10_000 for number in range(100)], abs=0.02)
    # a sleep may end a moment too soon
    assert clock.now_s > 9.99
    chunks = SAMPLE // CHUNK
    assert sampled(clock) == [True] * chunks + [False] * (100 - 2 * chunks) + [True] * chunks


def test_a_flood_that_is_taken_slowly_ends_in_time_and_says_how_much_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(write_s=0.25)
    # 40 chunks in ten seconds, and the last sample
    assert poured(monkeypatch, clock, 10) == 40 * CHUNK + SAMPLE
    assert sampled(clock)[-SAMPLE // CHUNK :] == [True] * (SAMPLE // CHUNK)


def test_a_flood_that_is_stopped_sends_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    assert poured(monkeypatch, clock, 10, most=3) == 3 * CHUNK


HOSTS = {
    "node1": {"groups": ["kafka", "flink_taskmanager"]},
    "node2": {"groups": ["kafka"]},
    "node3": {"groups": ["minio"]},
}


def test_the_producer_runs_beside_no_taskmanager_if_it_can() -> None:
    assert sending_host(HOSTS) == "node2"
    assert sending_host({"node1": HOSTS["node1"]}) == "node1"


class Fed:
    """In the place of the lab: a program of Python's takes the lines."""

    hosts = HOSTS

    def __init__(self, program: str) -> None:
        self.containers = self
        self.program = program
        self.command = ""

    def fed(self, _host: str, command: str, told: IO[bytes]) -> subprocess.Popen[bytes]:
        self.command = command
        words = [sys.executable, "-c", f"import sys, time; {self.program}"]
        return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=told, stderr=subprocess.STDOUT)


def test_the_producer_gets_all_lines_and_is_done_after_the_block(tmp_path: Path) -> None:
    file = tmp_path / "taken"
    system = Fed(f"open({str(file)!r}, 'wb').write(sys.stdin.buffer.read())")
    with console_producer.console_producer(cast("Any", system), "transactions") as write:
        for _ in range(3):
            write(b"key\trecord\n" * 10_000)
    assert file.read_bytes() == b"key\trecord\n" * 30_000
    assert "--topic transactions " in system.command


def test_a_producer_that_fails_says_why() -> None:
    failing = Fed("print('no such topic'); sys.exit(3)")
    with (
        pytest.raises(HostError, match=r"the producer on node2 has ended: .*no such topic"),
        console_producer.console_producer(cast("Any", failing), "transactions") as write,
    ):
        # more than a pipe holds
        write(b"key\trecord\n" * 100_000)
    quiet = Fed("sys.stdin.read(); print('no leader'); sys.exit(4)")
    with (
        pytest.raises(HostError, match="ended with 4: no leader"),
        console_producer.console_producer(cast("Any", quiet), "transactions") as write,
    ):
        write(b"key\trecord\n")


def test_a_producer_that_does_not_end_is_ended() -> None:
    endless = Fed("time.sleep(600)")
    with (
        pytest.raises(HostError, match=r"was not done 0\.1 s after the last record"),
        console_producer.console_producer(cast("Any", endless), "transactions", flush_timeout_s=0.1),
    ):
        pass


# whether it may be sent

MB = 1_000_000
BEFORE = Sizes({("transactions", 0): 10 * MB, ("transactions", 1): 50 * MB}, 180 * MB)
AFTER = Sizes({("transactions", 0): 30 * MB, ("transactions", 1): 60 * MB}, 270 * MB)


def test_sizes_are_those_of_the_largest_replica() -> None:
    told = {
        "brokers": [
            {"logDirs": [{"partitions": [{"partition": "fraud-alerts-0", "size": 7}]}]},
            {
                "logDirs": [
                    {
                        "partitions": [
                            {"partition": "fraud-alerts-0", "size": 9},
                            {"partition": "fraud-alerts-1", "size": 1},
                        ]
                    }
                ]
            },
        ]
    }
    assert sizes(f"Querying brokers\n{json.dumps(told)}") == Sizes(
        {("fraud-alerts", 0): 9, ("fraud-alerts", 1): 1}, 17
    )


def test_what_a_topic_would_delete_is_refused_with_numbers() -> None:
    much = 1_000_000 * MB
    # the fuller partition, ten times, and a margin
    assert lacking(BEFORE, AFTER, 10, {"transactions": 260 * MB}, much) == []
    assert lacking(BEFORE, AFTER, 10, {"transactions": 259 * MB}, much) == [
        "a partition of transactions needs 260 MB and keeps 259 MB"
    ]
    assert lacking(BEFORE, AFTER, 10, {"transactions": -1}, much) == []
    # 90 MB ten times with a margin, once more for the lake, and what stays free
    assert lacking(BEFORE, AFTER, 10, {}, 7_400 * MB) == []
    assert lacking(BEFORE, AFTER, 10, {}, 7_300 * MB) == ["the disk needs 7.3 GB and has 7.3 GB"]


def test_a_topic_that_has_deleted_a_segment_meanwhile_needs_no_less_than_nothing() -> None:
    assert lacking(AFTER, BEFORE, 10, {"transactions": 0}, 10_000 * MB) == []


# what is slowed


def held(folder: Path, percent: int, group: str, quota: str, processes: str = "17\n") -> int:
    """Run the step that slows a unit, with stand-ins for systemctl and the kernel's files."""
    (folder / "systemctl").write_text(
        f"#!/bin/sh\ncase $* in *ControlGroup*) echo '{group}';; *MainPID*) echo 17;; "
        f"*) echo $* >>{folder}/asked;; esac\n"
    )
    (folder / "sleep").write_text("#!/bin/sh\n")
    # as whoever runs the tests
    (folder / "setpriv").write_text('#!/bin/sh\nshift 2\nexec "$@"\n')
    for name in ("systemctl", "sleep", "setpriv"):
        (folder / name).chmod(0o755)
    (folder / "cpu.max").write_text(quota)
    (folder / "cgroup.procs").write_text(processes)
    (step,) = harm.slowed("node1", "flink-taskmanager@1", percent).breaks
    return run(folder, step.command)


def run(folder: Path, command: str) -> int:
    environment = {"PATH": f"{folder}:/usr/bin:/bin"}
    command = command.replace("/sys/fs/cgroup", str(folder)).replace("/proc/$process", str(folder))
    return subprocess.run(["bash", "-euc", command], env=environment, check=False).returncode


def test_a_unit_is_slowed_and_it_is_told_where_the_kernel_does_not(tmp_path: Path) -> None:
    assert held(tmp_path, 15, "", "15000 100000\n") == 0
    assert (tmp_path / "asked").read_text() == "set-property --runtime flink-taskmanager@1 CPUQuota=15%\n"
    assert held(tmp_path, 15, "", "max 100000\n") != 0
    assert held(tmp_path, 15, "/nowhere", "15000 100000\n") != 0
    assert held(tmp_path, 15, "", "15000 100000\n", processes="170\n117\n") != 0, "its process is not in it"


def test_a_unit_is_moved_into_its_group_and_freed_where_systemd_may_not(tmp_path: Path) -> None:
    first = tmp_path / "cpu"
    first.mkdir()
    (first / "cpu.cfs_quota_us").write_text("15000\n")
    (first / "cgroup.procs").touch()
    assert held(tmp_path, 15, "", "none\n", processes="") == 0
    assert (first / "cgroup.procs").read_text() == "17\n"
    (mend,) = harm.slowed("node1", "flink-taskmanager@1", 15).mends
    assert run(tmp_path, mend.command) == 0
    asked = (tmp_path / "asked").read_text().splitlines()[-1]
    assert asked == "set-property --runtime flink-taskmanager@1 CPUQuota="
    assert (first / "cpu.cfs_quota_us").read_text() == "-1\n"


# what was found


class Bounds:
    """In the place of the lab; tests say what a unit may have."""

    hosts = HOSTS

    def __init__(self, told: str) -> None:
        self.containers = self
        self.told = told

    def shell(self, _host: str, command: str) -> str:
        return self.told if "MemoryMax" in command else ""


def test_each_service_has_a_bound_of_memory() -> None:
    found = memory_bounds(cast("Any", Bounds("2000000\n")))
    assert found == {f"{unit} of {host}": 2.0 for host in HOSTS for unit in samples.units_of(HOSTS, host)}
    with pytest.raises(HostError, match="kafka of node1 has no bound of memory: MemoryMax=infinity"):
        memory_bounds(cast("Any", Bounds("infinity\n")))


def test_what_takes_more_memory_than_it_may_is_told() -> None:
    series = {("memory, MB", "kafka of node1"): [90.0, 101.0, 80.0], ("threads", "kafka of node1"): [900.0]}
    assert memory_problems(highest(series, {"kafka of node1": 101.0})) == []
    assert memory_problems(highest(series, {"kafka of node1": 100.0})) == [
        "kafka of node1 took 101 MB, 100 MB are allowed"
    ]


NAMES = cast("Any", SimpleNamespace(transactions="t", predictions="p", transactions_dlq="d"))


def test_what_waits_is_counted_by_offsets() -> None:
    begin = {"t": {0: 10, 1: 20}, "p": {0: 5}, "d": {0: 1}}
    ends = {"t": {0: 110, 1: 25}, "p": {0: 65}, "d": {0: 3}}
    assert counted(begin, ends, NAMES) == (105, 62)
    # a partition without a commit has been read by nobody
    assert uncommitted(begin["t"], ends["t"], {0: 100}) == 15
    assert uncommitted(begin["t"], ends["t"], {0: 110, 1: 25}) == 0


def message(offset: int, **more: dict[str, float]) -> SimpleNamespace:
    found = Prediction(f"w1-{offset}", 0.5, "v1", 0, offset, 1000)
    return SimpleNamespace(value=msgspec.json.encode(msgspec.structs.replace(found, **more)))


def test_each_place_is_counted_and_only_what_is_needed_is_kept() -> None:
    alert: dict[str, Any] = {"features": {"amount": 1.0}}
    # the last is no record of the flood
    records = [message(2), message(3, **alert), message(3), message(5), message(99, **alert)]
    found = predictions(records, {0: (2, 6)}, frozenset({(0, 3)}))
    assert missing(found.counts) == [(0, 4)]
    assert found.counts.repeated == 1
    assert [each.offset for each in found.sampled] == [3, 3]
    assert [(each.offset, each.features) for each in found.alerting] == [(3, {})]


def test_the_edges_of_a_flood_have_each_place_once() -> None:
    wanted = {0: (100, 200), 1: (0, 15), 2: (0, 5)}
    assert edges(wanted, 10) == [{0: (100, 110), 1: (0, 10), 2: (0, 5)}, {0: (190, 200), 1: (10, 15)}]


class Lab:
    """In the place of Flink and Kafka's admin, as a flood asks them."""

    hosts = HOSTS
    settings = SimpleNamespace(topics=NAMES, kafka=None)

    def __init__(self) -> None:
        self.flink = self.containers = self
        self.started = {"kafka_to_minio_job": 1, "ml_inference_job": 2}
        self.offsets: dict[str, dict[int, int]] = {"t": {0: 10}, "p": {0: 5}, "d": {0: 0}}
        self.begins = {"t": {0: 0}, "p": {0: 5}, "d": {0: 0}}
        self.committed: dict[tuple[str, int], int] = {}

    def job(self, name: str) -> str:
        return name

    def request(self, path: str) -> dict[str, Any]:
        return {"vertices": [{"id": "v", "start-time": self.started[path.rpartition("/")[2]]}]}

    def now(self) -> dict[str, dict[int, int]]:
        return {topic: parts.copy() for topic, parts in self.offsets.items()}

    def first(self) -> dict[str, dict[int, int]]:
        return self.begins

    def list_group_offsets(self, _asked: object) -> dict[str, Any]:
        found = {
            Part(topic, part): SimpleNamespace(offset=offset)
            for (topic, part), offset in self.committed.items()
        }
        return {"kafka_to_minio_job": found}

    def describe_configs(self, asked: list[Any], **_options: str) -> dict[str, Any]:
        return {"topic": {each.name: {"retention.bytes": {"value": "7"}} for each in asked}}


class Part(NamedTuple):
    topic: str
    partition: int


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    found = Lab()
    monkeypatch.setattr(flood_watch, "KafkaAdminClient", lambda **_: found)
    monkeypatch.setattr(flood_watch, "answering_servers", lambda _: [])
    monkeypatch.setattr(flood_watch, "LOOK_S", 0.0)
    monkeypatch.setattr(Samples, "take", lambda _: None)
    return found


def watching(lab: Lab) -> Watch:
    return Watch(cast("Any", lab), cast("Any", lab))


def test_what_restarts_or_deletes_records_is_told(lab: Lab) -> None:
    watch = watching(lab)
    assert (watch.restarted(), watch.removed()) == ([], [])
    lab.started["ml_inference_job"] = 3
    watch.samples.restarted.add("kafka of node1")
    lab.begins["t"] = {0: 11}
    assert watch.restarted() == ["kafka of node1", "ml_inference_job"]
    assert watch.removed() == ["t"]
    assert watch.kept_bytes() == {"t": 7, "p": 7, "d": 7}


def test_what_the_lake_has_not_committed_waits(lab: Lab) -> None:
    watch = watching(lab)
    lab.offsets |= {"t": {0: 30}, "p": {0: 25}}
    assert watch.lake_waits() == 40
    lab.committed = {("t", 0): 30, ("p", 0): 22, ("other", 0): 1}
    assert watch.lake_waits() == 3


def test_a_watch_ends_when_nothing_waits_or_time_is_over(lab: Lab) -> None:
    watch = watching(lab)
    lab.offsets["t"] = {0: 12}
    assert watch.until(lambda waits: waits <= 0, -1) is None
    lab.offsets["p"] = {0: 6}
    lab.offsets["d"] = {0: 1}
    assert watch.until(lambda waits: waits <= 0, -1) is not None
    assert [counts for _, *counts in watch.timeline] == [[2, 0], [2, 2]]


def test_a_flood_counts_from_when_the_producer_runs(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[bytes] = []

    def write(lines: bytes) -> None:
        taken.append(lines)
        lab.offsets["t"][0] += lines.count(b"\n")

    monkeypatch.setattr(flood, "console_producer", lambda *_: nullcontext(write))
    watch, load = watching(lab), Load("w1")
    begin, came, sent, seconds = flood.send(cast("Any", lab), watch, load, 400_000, 0.25)
    assert begin == {0: 10 + CHUNK}
    # on a busy machine it may be less than 100,000
    assert came == sent >= SAMPLE
    assert seconds > 0.24
    assert load.sampled.encode() not in taken[0]
    assert load.sampled.encode() in taken[1]


def test_a_flood_that_nobody_takes_ends(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flood, "STARTED_S", 0.1)
    monkeypatch.setattr(flood, "console_producer", lambda *_: nullcontext(lambda _: None))
    with pytest.raises(HostError, match=r"sent nothing within 0\.1 s"):
        flood.send(cast("Any", lab), watching(lab), Load("w1"), 400_000, 0.25)


FOUND: dict[str, Any] = {
    "factor": 10.2,
    "wanted_factor": 10.0,
    "seconds": 121.0,
    "wanted_seconds": 120.0,
    "refused": 0,
    "drain_s": 900.0,
    "lake_drain_s": 960.0,
}


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (
            {"factor": 9.99, "allowance_percent": 15},
            (
                "the flood was 9.99 times the sustainable rate, not 10: this machine sends no more; with an "
                "ALLOWANCE below 15 the lab scores less"
            ),
        ),
        ({"refused": -5}, "others sent 5 records meanwhile"),
        ({"seconds": 119.0}, "the flood took 119 s, not 120"),
        (
            {"drain_s": None, "lake_drain_s": None},
            "records still waited to be scored when no more time was given",
        ),
        ({"lake_drain_s": None}, "records were not in the lake when no more time was given"),
    ],
)
def test_a_flood_that_was_smaller_or_does_not_drain_is_told(found: dict[str, Any], told: str) -> None:
    assert flood_problems(FOUND) == []
    assert flood_problems(FOUND | found) == [told]


def test_what_a_flood_found_is_all_that_is_judged(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = SimpleNamespace(
        sizes=dict, look=lambda: 5, scored=int, until=lambda *_: 3.0, kept_bytes=dict, lake_waits=int
    )
    for name, value in {
        "BACKLOG": CHUNK,
        "console_producer": lambda *_: nullcontext(lambda _: None),
        "throughput": lambda *_: {"tps": 1000},
        "lacking": lambda *_: [],
        "send": lambda *_: ({}, 500_000, 500_000, 120.0),
    }.items():
        monkeypatch.setattr(flood, name, value)
    options = Namespace(factor=10.0, seconds=120.0, allowance=8)
    found = flood._flood(cast("Any", lab), cast("Any", watch), Load("w1"), options)  # noqa: SLF001
    (told,) = flood_problems(found)
    assert told.endswith("this machine sends no more; with an ALLOWANCE below 8 the lab scores less")


class Slow:
    """In the place of a consumer: gives a record after each minute, and ends."""

    def __init__(self, clock: Clock, records: int, pause_s: float) -> None:
        self.clock = clock
        self.left = iter(range(records))
        self.pause_s = pause_s

    def poll(self, **_options: int) -> dict[int, list[Any]]:
        self.clock.now_s += self.pause_s
        number = next(self.left, None)
        return {} if number is None else {0: [SimpleNamespace(partition=0, offset=number)]}

    def assign(self, _parts: object) -> None: ...

    def seek(self, _part: object, _offset: int) -> None: ...

    def close(self) -> None: ...


def test_a_topic_may_be_read_for_long_while_records_come(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(topics, "time", clock)
    settings = cast("Any", SimpleNamespace(kafka=None))
    monkeypatch.setattr(topics, "make_consumer", lambda _: Slow(clock, 10, 60))
    assert len(list(topics.read(settings, "t", {0: (0, 10)}))) == 10
    with pytest.raises(topics.NotReadError, match="1 records of t did not come"):
        list(topics.read(settings, "t", {0: (0, 11)}))


class Busy:
    """A consumer whose brokers answer late, so many times."""

    def __init__(self, times: int) -> None:
        self.times = times

    def end_offsets(self, parts: list[topics.TopicPartition]) -> dict[topics.TopicPartition, int]:
        self.times -= 1
        if self.times >= 0:
            raise KafkaTimeoutError("in 30000 ms")
        return dict.fromkeys(parts, 7)


def test_brokers_that_a_flood_keeps_busy_are_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(kafka_servers, "time", clock)
    monkeypatch.setattr(topics, "folders_of", lambda _names: {})
    monkeypatch.setattr(topics, "partitions_of", lambda *_: [topics.TopicPartition("t", 0)])
    busy = Busy(2)
    monkeypatch.setattr(topics, "make_consumer", lambda _servers: busy)
    ends = topics.Ends(cast("Any", SimpleNamespace(kafka=None, topics=None)))
    assert ends.now() == {"t": {0: 7}}
    busy.times = 1_000
    with pytest.raises(topics.NotReadError, match="in 30000 ms"):
        ends.now()


def test_what_kafka_fails_with_is_told_in_a_line() -> None:
    assert issubclass(KafkaTimeoutError, lab_command.FAILURES)


def test_the_page_tells_the_factor_and_what_did_not_hold() -> None:
    shown = page(
        FOUND
        | {
            "begun": "2026-11-29T00:00:00+00:00",
            "allowance_percent": 15,
            "sustainable_tps": 6_000,
            "flood_tps": 61_200,
            "acknowledged": 7_400_000,
            "waiting": 6_600_000,
            "lake_drain_s": None,
            "lost": 0,
            "computed_anew": 40_000,
            "differing": 0,
            "problems": ["kafka of node1 restarted"],
            "memory": [{"of": "kafka of node1", "peak_mb": 700.0, "bound_mb": 900.0}],
            "timeline": [(0.0, 0, 0), (2.0, 120_000, 12_000), (4.0, 240_000, 24_000)],
            "series": [{"kind": "memory, MB", "of": "kafka of node1", "samples": [600.0, 700.0]}],
        }
    )
    assert "10.2 times as many" in shown
    assert "in the lake not in time" in shown
    assert "kafka of node1 restarted" in shown
    assert shown.count("<img") == 3
