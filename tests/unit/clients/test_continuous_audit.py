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
from audited_system import NOON, AuditedSystem, Consumer, LakeInMemory, Place, Topic
from hypothesis import given
from hypothesis import strategies as st
from kafka.errors import KafkaTimeoutError
from nobodys_settings import SETTINGS
from s3_server import s3_server

from clients import audit, continuous_audit, continuous_look
from clients.continuous_look import Look, Looked
from clients.continuous_report import ContinuousReport, metrics
from flink_jobs.domain.audit_state import AuditState
from flink_jobs.store import kafka_servers
from flink_jobs.store.kafka_servers import LEADER_TIMEOUT_S
from flink_jobs.store.lake import PREDICTIONS_FOLDER, TRANSACTIONS_FOLDER
from flink_jobs.store.lake_files import LakeFiles
from flink_jobs.store.object_store import ObjectStoreError, s3_client, write_object
from flink_jobs.store.settings import S3, Kafka

LAG_S, PERIOD_S = 120.0, 60.0


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
        lake = {name: LakeFiles(folder) for name, folder in self.folders.items()}
        looked = Look(self.consumer, SETTINGS, lake, self.now_s).run(state, LAG_S)
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


def test_a_broker_that_goes_away_meanwhile_ends_no_look(
    system: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_servers, "_RETRY_S", 0)
    refused: set[str] = set()
    for find in ("partitions_for_topic", "end_offsets", "beginning_offsets"):
        ask = getattr(Consumer, find)

        def asked(consumer: Consumer, what: Any, find: str = find, ask: Any = ask) -> Any:  # noqa: ANN401
            if find not in refused:
                refused.add(find)
                raise KafkaTimeoutError("in 30000 ms")
            return ask(consumer, what)

        monkeypatch.setattr(Consumer, find, asked)
    sent = system.send(0, 3)
    system.answer(sent)
    system.store(sent)
    assert system.look_once_all_is_due().audited == 3
    assert refused == {"partitions_for_topic", "end_offsets", "beginning_offsets"}


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
    assert "dt=2026-06-15/part-1" not in audited.folders[PREDICTIONS_FOLDER].opened


def test_what_comes_during_a_look_is_counted_once(system: Audited, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = system.send(0, 6)
    system.answer(sent[:2])
    files = LakeInMemory.files

    def answer_more(folder: LakeInMemory, subfolder: str) -> Any:  # noqa: ANN401 - as the folder gives it
        patch.undo()
        system.answer(sent[2:] + system.send(0, 2))
        return files(folder, subfolder)

    with monkeypatch.context() as patch:
        patch.setattr(LakeInMemory, "files", answer_more)
        state = system.look().state
    # more than the topic was known to have
    assert state.answered[0].ranges == [(0, 8)]
    assert state.behind == 0
    state = system.look().state
    assert state.answered[0].ranges == [(0, 8)]
    assert (state.repeated, state.behind) == (0, 0)


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
    assert all(days.keys() == {"2026-06-17"} for days in system.look().state.read.values())


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


def test_predictions_that_wait_for_the_lake_are_undecided_and_not_lost(system: Audited) -> None:
    sent = system.send(0, 4)
    system.lake_stands = True
    system.answer(sent[1:])
    stood_s = system.now_s
    state = system.look_once_all_is_due()
    assert state.lost == {}
    # of the first nobody can tell
    assert places(state.undecided) == set(sent)
    assert state.behind == 3
    assert state.complete_at_s == stood_s
    system.keep_answers()
    state = system.look().state
    assert places(state.lost) == {sent[0]}
    assert (state.undecided, state.behind, state.complete_at_s) == ({}, 0, system.now_s)


def test_it_rings_within_five_minutes_while_the_lake_stands_too(system: Audited) -> None:
    system.lake_stands = True
    system.answer(system.send(0, 2))
    (dropped,) = system.send(1)
    came_s = system.now_s
    while not (state := system.look().state).undecided:
        assert system.now_s - came_s <= 240
    assert dropped in places(state.undecided)


def test_a_lake_that_lags_by_less_than_a_look_decides(system: Audited) -> None:
    dropped, *others = system.send(0, 3)
    system.answer(others)
    system.lake_stands = True
    system.look()
    for _ in range(4):
        # as in a running system: what came since the last look is not in the lake yet
        system.keep_answers()
        system.answer(system.send(0, 5))
        state = system.look().state
        assert state.behind == 5
    assert places(state.lost) == {dropped}
    assert state.undecided == {}


def test_what_is_lost_stays_lost_while_the_lake_stands(system: Audited) -> None:
    (dropped,) = system.send(0)
    system.look_once_all_is_due()
    system.lake_stands = True
    later = system.send(0, 2)
    system.answer(later)
    state = system.look_once_all_is_due()
    assert places(state.lost) == {dropped}
    assert places(state.undecided) == set(later)
    # what may come is not accepted, what is lost is
    state.accept()
    assert state.lost == {}
    assert places(state.undecided) == set(later)


def test_predictions_that_their_topic_has_deleted_were_read_in_the_lake(system: Audited) -> None:
    sent = system.send(0, 6)
    system.answer(sent)
    for partition in (0, 1):
        system.topics["predictions"].delete_before(partition, 2)
    state = system.look_once_all_is_due()
    assert (state.lost, state.undecided, state.audited) == ({}, {}, 6)


def test_a_topic_of_predictions_that_was_made_anew_is_followed_from_its_beginning(system: Audited) -> None:
    system.answer(system.send(0, 6))
    system.look_once_all_is_due()
    system.topics["predictions"] = Topic()
    assert system.look_once_all_is_due().behind == 0
    system.lake_stands = True
    sent = system.send(0, 2)
    system.answer(sent)
    state = system.look_once_all_is_due()
    assert places(state.undecided) == set(sent)
    assert (state.lost, state.behind) == ({}, 2)


def test_a_prediction_of_the_next_day_is_found_in_the_folder_of_that_day(system: Audited) -> None:
    system.now_s = datetime(2026, 6, 15, 23, 58, 30, tzinfo=UTC).timestamp()
    sent = system.send(0, 3)
    system.store(sent)
    system.look()
    system.answer(sent[:1])
    system.look()
    system.answer(sent[1:2], day="2026-06-16")
    system.answer(sent[2:], "transactions_dlq", day="2026-06-16")
    state = system.look_once_all_is_due()
    assert (state.lost, state.undecided, state.missing) == ({}, {}, {})
    assert state.read[PREDICTIONS_FOLDER].keys() == {"2026-06-15", "2026-06-16"}


def test_predictions_that_wait_for_days_are_found_in_the_folder_of_their_day(system: Audited) -> None:
    sent = system.send(0, 3)
    system.store(sent)
    system.lake_stands = True
    system.answer(sent)
    system.look_once_all_is_due()
    system.now_s += timedelta(days=2).total_seconds()
    assert places(system.look().state.undecided) == set(sent)
    system.keep_answers(day="2026-06-15")
    state = system.look().state
    assert (state.lost, state.undecided) == ({}, {})


def test_predictions_from_before_the_audit_began_are_not_waited_for() -> None:
    system = AuditedSystem()
    system.answer(system.send(0, 5))
    audited = Audited.__new__(Audited)
    audited.__dict__ |= system.__dict__ | {"state": None}
    audited.look()
    # from now on nothing is scored
    (dropped,) = audited.send(0)
    state = audited.look_once_all_is_due()
    assert places(state.lost) == {dropped}
    assert (state.undecided, state.behind) == ({}, 0)


def test_a_merge_of_predictions_repeats_none(system: Audited) -> None:
    sent = system.send(0, 6)
    folder = system.folders[PREDICTIONS_FOLDER]
    (read,) = system.answer(sent[:2])
    system.look()
    (unread,) = system.answer(sent[2:5])
    merged = system.merge([read, unread], PREDICTIONS_FOLDER)
    del folder.contents[read], folder.contents[unread]
    state = system.look_once_all_is_due()
    assert state.repeated == 0
    assert places(state.lost) == {sent[5]}
    assert folder.opened == [read, merged]


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


def test_an_answer_that_names_no_transaction_is_passed_over(system: Audited) -> None:
    (sent,) = system.send(0)
    system.answer([None, sent, None])
    looked = system.look()
    assert looked.answers == 3
    assert {part: each.ranges for part, each in looked.state.answered.items() if each} == {0: [(0, 1)]}
    assert (looked.state.repeated, looked.state.behind) == (0, 0)


def test_kafka_that_gives_nothing_is_named(system: Audited, monkeypatch: pytest.MonkeyPatch) -> None:
    system.send(0, 3)
    for _ in range(2):
        system.look()
    monkeypatch.setattr(continuous_look, "_READ_TIMEOUT_S", 0.0)
    monkeypatch.setattr(Consumer, "poll", lambda *_, **__: {})
    with pytest.raises(continuous_look.ClientError, match="Kafka gave nothing of transactions-0 for 0 s"):
        system.look()


@pytest.mark.parametrize("folder", [TRANSACTIONS_FOLDER, PREDICTIONS_FOLDER])
def test_nothing_is_judged_while_the_lake_cannot_be_read(
    system: Audited, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    sent = system.send(0, 3)
    system.answer(sent[:2])
    system.store(sent)
    with monkeypatch.context() as patch:

        def fail(_: str) -> None:
            raise ObjectStoreError("no answer")

        patch.setattr(system.folders[folder], "files", fail)
        for _ in range(4):
            looked = system.look()
        assert f"s3://datalake/{folder}: no answer" in looked.lake_unread
        state = looked.state
        assert (state.lost, state.undecided, state.missing, state.audited) == ({}, {}, {}, 0)
        assert state.due.at_s == state.began_at_s
    looked = system.look()
    assert looked.lake_unread == ""
    assert looked.state.missing == {}
    assert places(looked.state.lost) == {sent[2]}


class Story(Audited):
    """Things happen to the system, each to a share of what it may happen to."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self.random = random
        self.files: dict[str, list[str]] = {TRANSACTIONS_FOLDER: [], PREDICTIONS_FOLDER: []}
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

    def _stand(self, _: float) -> None:
        self.lake_stands = True

    def _go_on(self, _: float) -> None:
        self.lake_stands = False
        self.keep_answers()

    def _score(self, share: float) -> None:
        self.files[PREDICTIONS_FOLDER] += self.answer(self._some(self.lost(self.begin), share))

    def _refuse(self, share: float) -> None:
        self.answer(self._some(self.lost(self.begin), share), "transactions_dlq")

    def _score_again(self, share: float) -> None:
        self.files[PREDICTIONS_FOLDER] += self.answer(self._some(self.answers, share))

    def _store(self, share: float) -> None:
        self.files[TRANSACTIONS_FOLDER].append(self.store(self._some(self.missing(self.begin), share)))

    def _store_again(self, share: float) -> None:
        self.files[TRANSACTIONS_FOLDER].append(self.store(self._some(self.rows, share)))

    def _look(self, _: float) -> None:
        self.look()

    def _merge(self, share: float) -> None:
        # compaction leaves files of the last hour alone, so the audit has seen them
        self.look()
        for folder, files in self.files.items():
            chosen = self._some(files, share)
            if chosen:
                self.files[folder] = [name for name in files if name not in chosen]
                self.files[folder].append(self.merge(chosen, folder))
            if share > 0.5:
                for name in chosen:
                    del self.folders[folder].contents[name]


KINDS = (
    "send",
    "mark",
    "score",
    "refuse",
    "score_again",
    "store",
    "store_again",
    "merge",
    "look",
    "stand",
    "go_on",
)


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
    story.happen("go_on", 1)
    state = story.look_once_all_is_due()
    assert places(state.lost) == story.lost(story.begin)
    assert (state.undecided, state.behind) == ({}, 0)
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

        def consumer(_kafka: Kafka, wait_s: float, **_properties: object) -> Consumer:
            # as long as a fault may cut off its host
            assert wait_s >= LEADER_TIMEOUT_S
            return Consumer(system.topics)

        monkeypatch.setattr(continuous_audit, "make_consumer", consumer)
        clock = SimpleNamespace(time=lambda: system.now_s, monotonic=lambda: 0.0, process_time=lambda: 0.25)
        for module in (continuous_audit, continuous_look):
            monkeypatch.setattr(module, "time", clock)

        def run(*options: str) -> int:
            for folder, files in system.folders.items():
                for name, content in files.contents.items():
                    write_object(client, "datalake", f"{folder}/{name}", content)
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
    assert "1 lost, 0 undecided, 0 missing from the lake, 1 there twice; 0 predictions repeated" in told.out
    assert (
        "1 transactions have neither prediction nor dead letter, the first (partition-offset): 0-0; "
        in told.err
    )
    assert "dead letters up to 2026-06-15 12:05:00 UTC. Does ml_inference_job run?" in told.err
    assert "1 rows repeat a transaction that the lake has already, in dt=2026-06-15/part-2" in told.err
    assert command("--show") == 1
    shown = capsys.readouterr()
    assert shown.out == told.out.splitlines(keepends=True)[-1]
    assert command("--accept") == 0
    assert "accepted: 1 lost, 0 missing from the lake, 1 rows there twice" in capsys.readouterr().out
    assert command() == 0
    assert "0 lost, 0 undecided, 0 missing from the lake, 0 there twice" in capsys.readouterr().out
    report = msgspec.json.decode((folder / "audit.json").read_bytes(), type=ContinuousReport)
    assert (report.lost, report.audited, report.processor_s) == (0, 4, 0.25)
    assert report.lake_requests > 0
    assert not list(folder.glob(".*")), "a file that was not finished stays"


def test_the_command_says_that_the_lake_lags(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    system, folder = command.system, command.folder  # type: ignore[attr-defined]
    command()
    system.lake_stands = True
    system.answer(system.send(0, 4))
    assert [command() for _ in range(4)][-1] == 1
    told = capsys.readouterr()
    assert "0 lost, 4 undecided, 4 missing" in told.out
    assert (
        "neither prediction nor dead letter in the lake yet, the first (partition-offset): 0-0; " in told.err
    )
    assert "up to 2026-06-15 12:01:00 UTC, and lacks 4 that came since. Does kafka_to_minio_job" in told.err
    assert "ml_inference_job" not in told.err
    lines = (folder / "audit.prom").read_text().splitlines()
    assert {"fraud_audit_lost 0", "fraud_audit_undecided 4", "fraud_audit_lake_behind 4"} <= set(lines)


@pytest.mark.parametrize(("version", "told"), [(None, "version 1"), (3, "version 3")])
def test_a_state_of_another_version_is_begun_anew_and_told(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str], version: int | None, told: str
) -> None:
    folder = command.folder  # type: ignore[attr-defined]
    assert command() == 0
    state = json.loads((folder / "state.json").read_text())
    assert state.pop("version") == 2
    # what an older one lacks, and a newer one may lack
    del state["reached"]
    (folder / "state.json").write_text(json.dumps(state | ({"version": version} if version else {})))
    before = (folder / "state.json").read_bytes()
    assert command("--accept") == 2
    assert f"has {told} of its format, and this release reads 2" in capsys.readouterr().err
    assert command() == 1
    assert f"has {told} of its format, and this release reads 2" in capsys.readouterr().err
    assert (folder / "state.broken").read_bytes() == before
    assert command() == 0


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
        undecided=2,
        lake_behind=8,
        lake_complete_to=NOON,
        lake_missing=4,
        lake_repeated=5,
        repeated=6,
        deleted=0,
        first_lost=[],
        first_undecided=[],
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
