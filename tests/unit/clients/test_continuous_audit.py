import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from audited_system import NOON, AuditedSystem, Consumer, Place, Topic
from hypothesis import given
from hypothesis import strategies as st
from s3_server import s3_server

from clients import audit, continuous_audit
from clients.continuous_audit import Look, Looked
from clients.continuous_report import ContinuousReport, metrics
from flink_jobs.domain.audit_state import AuditState
from flink_jobs.store.lake_files import LakeFiles
from flink_jobs.store.object_store import ObjectStoreError, s3_client, write_object
from flink_jobs.store.settings import S3, Buckets, Kafka, Settings, Topics

LAG_S, PERIOD_S = 120.0, 60.0
SETTINGS = Settings(
    Kafka("127.0.0.1:9"),
    Topics("transactions", "predictions", "fraud_alerts", "transactions_dlq"),
    S3("http://127.0.0.1:9", "user", "password"),
    Buckets("datalake", "models", "features", "flink"),
)


class Audited(AuditedSystem):
    """The system with the audit beside it; each look goes on from the state that the last one left."""

    def __init__(self) -> None:
        super().__init__()
        self.state: bytes | None = None
        self.look()

    def look(self) -> Looked:
        """Look, a minute later, as another process with the state that was kept."""
        self.now_s += PERIOD_S
        state = msgspec.json.decode(self.state, type=AuditState) if self.state else None
        self.consumer = Consumer(self.topics)
        looked = Look(self.consumer, SETTINGS, LakeFiles(self.lake), self.now_s).run(state, LAG_S)
        self.state = msgspec.json.encode(looked.state)
        return looked

    def look_once_all_is_due(self) -> AuditState:
        for _ in range(4):
            looked = self.look()
        return looked.state


def places(gaps: dict[int, list[tuple[int, int]]]) -> set[Place]:
    return {(part, at) for part, spans in gaps.items() for span in spans for at in range(*span)}


@pytest.fixture
def system() -> Audited:
    return Audited()


def test_what_is_answered_and_stored_once_is_well_and_takes_one_range(system: Audited) -> None:
    for partition in (0, 1, 0):
        sent = system.send(partition, 7)
        system.answer(sent[::2])
        system.answer(sent[1::2], "transactions_dlq")
        system.store(sent[:3])
        system.store(sent[3:])
        system.look()
    state = system.look_once_all_is_due()
    assert (state.lost, state.missing, state.stored_twice, state.repeated) == ({}, {}, 0, 0)
    assert state.audited == 21
    assert {part: each.ranges for part, each in state.answered.items()} == {0: [(0, 14)], 1: [(0, 7)]}
    assert state.answered == state.stored
    assert state.settled_at_s == system.now_s


def test_what_came_before_the_audit_began_is_not_asked_about() -> None:
    system = AuditedSystem()
    before = system.send(0, 5)
    system.answer(before[:2])
    old = system.store(before[:2])
    audited = Audited.__new__(Audited)
    audited.__dict__ |= system.__dict__ | {"state": None}
    audited.look()
    # answers and rows of them come later, twice
    for _ in range(2):
        audited.answer(before)
        audited.store(before)
    state = audited.look_once_all_is_due()
    assert (state.lost, state.missing, state.stored_twice, state.repeated) == ({}, {}, 0, 0)
    assert state.audited == 0
    assert old not in audited.lake.opened


def test_what_comes_during_a_look_is_counted_once(system: Audited, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = system.send(0, 6)
    system.answer(sent[:2])
    assign = Consumer.assign

    def answer_more(consumer: Consumer, partitions: list[Any]) -> None:
        assign(consumer, partitions)
        system.answer(sent[2:] + system.send(0, 2))

    with monkeypatch.context() as patch:
        patch.setattr(Consumer, "assign", answer_more)
        system.look()
    state = system.look().state
    assert state.answered[0].ranges == [(0, 8)]
    assert state.repeated == 0


def test_a_record_that_is_dropped_rings_within_five_minutes_and_no_sooner_than_its_lag(
    system: Audited,
) -> None:
    first, dropped, last = system.send(1, 3)
    system.answer([first, last])
    system.store([first, last])
    came_s = system.now_s
    while not (state := system.look().state).lost:
        assert system.now_s - came_s <= 240
    assert system.now_s - came_s >= LAG_S
    # a run more: each begins up to a minute later, and takes some seconds
    assert system.now_s - came_s + PERIOD_S <= 300
    assert places(state.lost) == places(state.missing) == {dropped}


def test_a_record_that_comes_after_all_is_lost_no_more(system: Audited) -> None:
    sent = system.send(0, 3)
    state = system.look_once_all_is_due()
    assert places(state.lost) == places(state.missing) == set(sent)
    system.answer(sent[1:])
    system.store(sent)
    state = system.look().state
    assert places(state.lost) == {sent[0]}
    assert not state.missing
    assert state.repeated == 0


def test_each_lost_record_is_looked_up_once(system: Audited) -> None:
    system.send(0, 5)
    system.look_once_all_is_due()
    system.look()
    assert system.consumer.read["transactions"] == 0
    system.send(0, 2)
    system.look_once_all_is_due()
    assert places(system.look().state.lost) == {(0, at) for at in range(7)}


def test_repeats_are_counted_apart(system: Audited) -> None:
    sent = system.send(0, 4)
    system.answer([*sent, sent[1], sent[1]])
    system.store(sent)
    system.look()
    name = system.store(sent[:3])
    state = system.look_once_all_is_due()
    assert (state.lost, state.missing) == ({}, {})
    assert state.repeated == 2
    assert (state.stored_twice, state.stored_twice_in) == (3, [name])


def test_offsets_without_a_record_are_not_lost(system: Audited) -> None:
    topic = system.topics["transactions"]
    topic.append_marker(0)
    sent = system.send(0, 2)
    topic.append_marker(0)
    topic.append_marker(0)
    more = system.send(0, 2)
    topic.append_marker(0)
    system.answer(sent + more[:1])
    system.store(sent + more[:1])
    state = system.look_once_all_is_due()
    assert places(state.lost) == places(state.missing) == {more[1]}


def test_what_kafka_deleted_before_it_could_be_judged_is_told_and_not_lost(system: Audited) -> None:
    system.send(0, 5)
    system.look()
    system.topics["transactions"].delete_before(0, 3)
    state = system.look_once_all_is_due()
    assert places(state.lost) == places(state.missing) == {(0, 3), (0, 4)}
    assert state.deleted == 3
    # what is known to be lost stays lost
    system.topics["transactions"].delete_before(0, 5)
    assert places(system.look().state.lost) == {(0, 3), (0, 4)}


def test_a_merge_is_no_repeat_and_its_file_is_not_even_opened(system: Audited) -> None:
    sent = system.send(0, 6)
    system.answer(sent)
    names = [system.store(sent[at : at + 2]) for at in (0, 2, 4)]
    system.look()
    merged = system.merge(names[:2])
    for name in names[:2]:
        del system.lake.contents[name]
    system.look()
    system.merge([merged, names[2]])
    state = system.look_once_all_is_due()
    assert (state.missing, state.stored_twice) == ({}, 0)
    assert sorted(set(system.lake.opened)) == names


def test_a_merge_of_files_that_were_not_read_yet_is_read(system: Audited) -> None:
    sent = system.send(0, 6)
    system.answer(sent)
    read = system.store(sent[:2])
    system.look()
    unread = system.store(sent[2:4])
    merged = system.merge([read, unread])
    del system.lake.contents[read], system.lake.contents[unread]
    state = system.look_once_all_is_due()
    assert merged in system.lake.opened
    assert places(state.missing) == {(0, 4), (0, 5)}
    assert state.stored_twice == 0


def test_days_of_files_are_forgotten_once_all_is_well(system: Audited) -> None:
    sent = system.send(0, 4)
    system.answer(sent)
    system.store(sent[:2])
    system.look_once_all_is_due()
    system.now_s += timedelta(days=2).total_seconds()
    # two are missing: their day is read until they came
    assert places(system.look().state.missing) == set(sent[2:])
    late = system.store(sent[2:])
    assert not system.look().state.missing
    assert late in system.lake.opened
    assert set(system.look().state.read) == {"2026-06-17"}


def test_a_topic_that_was_made_anew_is_told_and_begun_again(system: Audited) -> None:
    system.send(0, 5)
    assert system.look_once_all_is_due().lost
    system.topics["transactions"] = Topic()
    system.sent.clear()
    looked = system.look()
    assert "partition 0 end before 5" in looked.begun_anew
    assert looked.state.lost == {}
    lost = system.send(0, 6)
    assert places(system.look_once_all_is_due().lost) == set(lost)
    assert system.look().begun_anew == ""


def test_predictions_that_were_deleted_unread_begin_the_audit_again(system: Audited) -> None:
    sent = system.send(0, 6)
    system.answer(sent)
    for partition in (0, 1):
        system.topics["predictions"].delete_before(partition, 2)
    assert re.match(r"predictions-\d was deleted up to 2, and read up to 0", system.look().begun_anew)
    assert system.look_once_all_is_due().lost == {}


def test_a_topic_of_another_name_begins_the_audit_again(system: Audited) -> None:
    system.look()
    renamed = msgspec.structs.replace(SETTINGS.topics, predictions="fraud_alerts")
    state = msgspec.json.decode(system.state or b"", type=AuditState)
    settings = msgspec.structs.replace(SETTINGS, topics=renamed)
    looked = Look(Consumer(system.topics), settings, LakeFiles(system.lake), system.now_s).run(state, LAG_S)
    assert "other topics answer now: fraud_alerts, transactions_dlq" in looked.begun_anew


def test_a_partition_that_is_added_is_audited_from_its_beginning(system: Audited) -> None:
    system.look()
    for name in ("transactions", "predictions"):
        topic = system.topics[name]
        topic.records.append({})
        topic.begins.append(0)
        topic.ends.append(0)
    # some predictions lie in the partition that was added
    sent = system.send(2, 6)
    system.answer(sent[1:])
    system.store(sent[:5])
    assert system.topics["predictions"].ends[2] > 0
    state = system.look_once_all_is_due()
    assert places(state.lost) == {sent[0]}
    assert places(state.missing) == {sent[5]}


def test_what_is_no_prediction_is_passed_over(system: Audited) -> None:
    for value in (b"", b"\xff", b"{}", b'{"partition": "0", "offset": 0}', b"no JSON"):
        system.topics["predictions"].append(0, value)
    (sent,) = system.send(0)
    system.answer([sent])
    looked = system.look()
    assert looked.answers == 6
    assert looked.state.answered[0].ranges == [(0, 1)]


def test_kafka_that_gives_nothing_is_named(system: Audited, monkeypatch: pytest.MonkeyPatch) -> None:
    system.answer(system.send(0, 3))
    monkeypatch.setattr(continuous_audit, "_READ_TIMEOUT_S", 0.0)
    monkeypatch.setattr(Consumer, "poll", lambda *_, **__: {})
    with pytest.raises(continuous_audit.ClientError, match=r"Kafka gave nothing of predictions-\d for 0 s"):
        system.look()


def test_scoring_is_audited_while_the_lake_cannot_be_read(
    system: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = system.send(0, 3)
    system.answer(sent[:2])
    system.store(sent)
    with monkeypatch.context() as patch:

        def fail(_: str) -> None:
            raise ObjectStoreError("no answer")

        patch.setattr(system.lake, "files", fail)
        for _ in range(4):
            looked = system.look()
        assert "no answer" in looked.lake_unread
        assert places(looked.state.lost) == {sent[2]}
    looked = system.look()
    assert looked.lake_unread == ""
    assert looked.state.missing == {}


class Story(Audited):
    """Things happen to the system, each to a share of what it may happen to."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self.random = random
        self.files: list[str] = []
        self.begin = {0: 0, 1: 0}

    def happen(self, kind: str, share: float) -> None:
        getattr(self, f"_{kind}")(share)

    def _some(self, of: Iterable[Any], share: float) -> list[Any]:
        known = sorted(of)
        return self.random.sample(known, round(share * len(known)))

    def _send(self, share: float) -> None:
        self.send(self.random.randrange(2), 1 + round(5 * share))

    def _mark(self, _: float) -> None:
        self.topics["transactions"].append_marker(self.random.randrange(2))

    def _score(self, share: float) -> None:
        self.answer(self._some(self.lost(self.begin), share))

    def _refuse(self, share: float) -> None:
        self.answer(self._some(self.lost(self.begin), share), "transactions_dlq")

    def _score_again(self, share: float) -> None:
        self.answer(self._some(self.answers, share))

    def _store(self, share: float) -> None:
        self.files.append(self.store(self._some(self.missing(self.begin), share)))

    def _store_again(self, share: float) -> None:
        self.files.append(self.store(self._some(self.rows, share)))

    def _look(self, _: float) -> None:
        self.look()

    def _merge(self, share: float) -> None:
        # compaction leaves files of the last hour alone, so the audit has seen them
        self.look()
        chosen = self._some(self.files, share)
        if chosen:
            self.files = [name for name in self.files if name not in chosen] + [self.merge(chosen)]
        if share > 0.5:
            for name in chosen:
                del self.lake.contents[name]


KINDS = ("send", "mark", "score", "refuse", "score_again", "store", "store_again", "merge", "look")


@given(
    st.lists(st.tuples(st.sampled_from(KINDS), st.floats(0, 1)), max_size=40),
    st.randoms(use_true_random=False),
)
def test_whatever_the_order_lost_and_repeated_equal_a_plain_count(
    events: list[tuple[str, float]], random: Random
) -> None:
    story = Story(random)
    for kind, share in events:
        story.happen(kind, share)
    state = story.look_once_all_is_due()
    assert places(state.lost) == story.lost(story.begin)
    assert places(state.missing) == story.missing(story.begin)
    assert state.stored_twice == story.stored_twice(story.begin)
    assert state.repeated == sum(count - 1 for count in story.answers.values() if count > 1)
    state.accept()
    assert (state.lost, state.missing, state.stored_twice) == ({}, {}, 0)


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings_file: Path
) -> Iterator[Callable[..., int]]:
    """`fraud-audit --state` on a stand-in for Kafka, and a lake behind HTTP."""
    system = AuditedSystem()
    with s3_server() as settings:
        client = s3_client(settings.s3)
        client.create_bucket(Bucket="datalake")
        named = json.loads(settings_file.read_text())
        named["s3"]["endpoint_url"] = settings.s3.endpoint_url
        settings_file.write_text(json.dumps(named))
        monkeypatch.setattr(continuous_audit, "make_consumer", lambda *_, **__: Consumer(system.topics))
        clock = SimpleNamespace(time=lambda: system.now_s, monotonic=lambda: 0.0, process_time=lambda: 0.25)
        monkeypatch.setattr(continuous_audit, "time", clock)

        def run(*options: str) -> int:
            for name, content in system.lake.contents.items():
                write_object(client, "datalake", f"raw/transactions/{name}", content)
            system.now_s += PERIOD_S
            arguments = ["--settings", str(settings_file), "--state", str(tmp_path / "state"), *options]
            return audit.main(arguments)

        run.system = system  # type: ignore[attr-defined]
        run.folder = tmp_path / "state"  # type: ignore[attr-defined]
        yield run


def test_the_command_rings_tells_and_accepts(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    system, folder = command.system, command.folder  # type: ignore[attr-defined]
    assert command() == 0
    sent = system.send(0, 4)
    system.answer(sent[1:])
    system.store(sent)
    system.store(sent[:1])
    codes = [command() for _ in range(4)]
    # it is there twice at once, and lost after the lag
    assert codes == [1, 1, 1, 1]
    told = capsys.readouterr()
    assert "4 transactions since 2026-06-15 12:01:00 UTC" in told.out
    assert "1 lost, 0 missing from the lake, 1 there twice; 0 predictions repeated" in told.out
    assert "neither prediction nor dead letter, the first (partition-offset): 0-0. Does ml_inf" in told.err
    assert "1 rows repeat a transaction that the lake has already, in dt=2026-06-15/part-2" in told.err
    assert command("--show") == 1
    shown = capsys.readouterr()
    assert shown.out == told.out.splitlines(keepends=True)[-1]
    assert command("--accept") == 0
    assert "accepted: 1 lost, 0 missing from the lake, 1 rows there twice" in capsys.readouterr().out
    assert command() == 0
    assert "0 lost, 0 missing from the lake, 0 there twice" in capsys.readouterr().out
    report = msgspec.json.decode((folder / "audit.json").read_bytes(), type=ContinuousReport)
    assert (report.lost, report.audited, report.processor_s) == (0, 4, 0.25)
    assert report.lake_requests > 0
    assert not list(folder.glob(".*")), "a file that was not finished stays"


def test_a_broken_state_is_put_aside_and_told(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = command.folder  # type: ignore[attr-defined]
    assert command() == 0
    state = folder / "state.json"
    content = state.read_bytes()
    state.write_bytes(content[: len(content) // 2])
    assert command("--accept") == 2
    assert "state.json cannot be read" in capsys.readouterr().err
    assert command() == 1
    assert "began anew" in (told := capsys.readouterr().err)
    assert "state.json cannot be read" in told
    assert (folder / "state.broken").read_bytes() == content[: len(content) // 2]
    assert command() == 0


def test_a_state_that_cannot_be_read_is_left_alone(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = command.folder  # type: ignore[attr-defined]
    (folder / "state.json").mkdir(parents=True)
    assert command() == 2
    assert "cannot read" in capsys.readouterr().err
    assert (folder / "state.json").is_dir()


def test_nothing_is_shown_or_accepted_before_the_first_run(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--show") == 2
    assert "the timer continuous-audit writes it each minute" in capsys.readouterr().err
    assert command("--accept") == 2
    assert "no run has ended yet" in capsys.readouterr().err


def test_an_old_result_is_not_taken_for_the_present(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = command.folder  # type: ignore[attr-defined]
    command()
    assert command("--show") == 0
    path = folder / "audit.json"
    old = json.loads(path.read_text()) | {"at": (datetime.now(UTC) - timedelta(minutes=6)).isoformat()}
    path.write_text(json.dumps(old))
    capsys.readouterr()
    assert command("--show") == 2
    assert "the last run ended at" in capsys.readouterr().err
    path.write_text("{}")
    assert command("--show") == 2
    assert "audit.json: " in capsys.readouterr().err


def test_it_ends_with_2_where_the_lake_cannot_be_read(
    command: Callable[..., int], settings_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command() == 0
    named = json.loads(settings_file.read_text())
    named["buckets"]["datalake"] = "none"
    settings_file.write_text(json.dumps(named))
    assert command() == 2
    assert "NoSuchBucket" in capsys.readouterr().err


def test_it_takes_the_access_of_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    given = S3("http://minio", "training", "secret")
    seen: list[S3] = []

    def client(s3: S3) -> None:
        seen.append(s3)
        raise KeyboardInterrupt

    monkeypatch.setattr(continuous_audit, "s3_client", client)
    settings = msgspec.structs.replace(SETTINGS, s3=given)
    for access in ({}, {"AWS_ACCESS_KEY_ID": "audit", "AWS_SECRET_ACCESS_KEY": "its own"}):
        for name, value in access.items():
            monkeypatch.setenv(name, value)
        with contextlib.suppress(KeyboardInterrupt):
            continuous_audit.look(settings, Path("none"), LAG_S)
    assert seen == [given, S3("http://minio", "audit", "its own")]


def test_metrics_are_what_prometheus_reads() -> None:
    report = ContinuousReport(
        at=NOON,
        began_at=NOON,
        audited_to=NOON,
        audited=70,
        lost=3,
        lake_missing=4,
        lake_repeated=5,
        repeated=6,
        deleted=0,
        first_lost=[],
        first_missing=[],
        repeated_in=[],
        begun_anew="",
        lake_unread="no answer",
        answers_read=0,
        rows_read=0,
        lake_requests=9,
        processor_s=1.5,
    )
    text = metrics(report)
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    values = dict(line.split(" ") for line in lines)
    assert all(re.fullmatch(r"fraud_audit_[a-z_]+ [0-9.]+", line) for line in lines)
    assert text.endswith("\n")
    assert (values["fraud_audit_lost"], values["fraud_audit_lake_missing"]) == ("3", "4")
    assert (values["fraud_audit_lake_repeated"], values["fraud_audit_repeated_total"]) == ("5", "6")
    assert values["fraud_audit_lake_readable"] == "0"
    assert values["fraud_audit_ended_seconds"] == str(NOON.timestamp())
    for name in values:
        assert f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}\n" in text
