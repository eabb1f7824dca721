"""Where a job without state begins, and the histories that the lake gives back."""

import io
import json
import random
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from buckets_in_memory import HistoriesInMemory
from kafka.errors import NotLeaderForPartitionError
from kafka.structs import OffsetAndTimestamp
from manifests import manifest_with
from memory_store import MemoryStore
from nobodys_settings import SETTINGS

from flink_jobs import lost_state
from flink_jobs.domain import feature_batch
from flink_jobs.domain.buckets import BUCKETS, bucket_of
from flink_jobs.domain.feature_batch import fold_only
from flink_jobs.domain.scoring import Prediction, Record, Scorer
from flink_jobs.domain.stored_histories import StoredHistories
from flink_jobs.domain.terminal_risk import TerminalRisk
from flink_jobs.lake_histories import fold_lake
from flink_jobs.lost_state import Beginning, LostStateError, TopicOffsets, begin, read_offsets
from flink_jobs.score_batches import ScoreBatches
from flink_jobs.store import kafka_servers
from flink_jobs.store.folders import BucketFolder
from flink_jobs.store.lake import Lake, LakeEnd
from flink_jobs.store.lake_files import LakeFiles

START = datetime(2026, 3, 1, tzinfo=UTC)
EVERY_BUCKET = range(BUCKETS)
FOUND_MS = int(datetime(2026, 8, 1, tzinfo=UTC).timestamp() * 1000)
# the topic has no record, so all of the lake is folded
EVERYTHING = Beginning({}, {}, {}, FOUND_MS)


class Sent(NamedTuple):
    """A record of the topic; `after` START it came, and its card was used."""

    partition: int
    offset: int
    after: timedelta
    payload: bytes

    @property
    def came(self) -> datetime:
        return START + self.after

    @property
    def came_ms(self) -> int:
        return int(self.came.timestamp() * 1000)


def sent(days: int, a_day: int = 40) -> list[Sent]:
    """Records of two partitions, some of them refused."""
    chosen = random.Random(5)  # noqa: S311 - the same records each time
    records, offsets = [], [0, 0]
    for number in range(days * a_day):
        partition = chosen.randrange(2)
        after = timedelta(days=number / a_day)
        record = {
            "transaction_id": f"t{number}",
            "event_time": (START + after).isoformat(),
            "customer_id": f"c{chosen.randrange(30)}",
            "terminal_id": "t",
            "amount": -1 if number % 17 == 0 else number / 100,
        }
        payload = b"no JSON" if number % 19 == 0 else json.dumps(record).encode()
        records.append(Sent(partition, offsets[partition], after, payload))
        offsets[partition] += 1
    return records


def stored(records: Iterable[Sent]) -> Lake:
    """A lake that has the records, a file for each quarter of a day, the latest first."""
    store, files = MemoryStore(), dict[str, list[Sent]]()
    for record in records:
        files.setdefault(f"dt={record.came:%Y-%m-%d}/part-{9 - record.came.hour // 6}", []).append(record)
    for name, rows in files.items():
        customers = [
            json.loads(row.payload)["customer_id"] if row.payload[:1] == b"{" else None for row in rows
        ]
        table = pa.table(
            {
                "customer_id": pa.array(customers, pa.string()),
                "kafka_partition": pa.array([row.partition for row in rows], pa.int32()),
                "kafka_offset": pa.array([row.offset for row in rows], pa.int64()),
                "kafka_time": pa.array([row.came for row in rows], pa.timestamp("us", "UTC")),
                "payload": [row.payload for row in rows],
            }
        )
        buffer = io.BytesIO()
        pq.write_table(table, buffer, use_deprecated_int96_timestamps=True)
        store.put_object(Bucket="datalake", Key=f"raw/transactions/{name}", Body=buffer.getvalue())
    return Lake(BucketFolder(store, "datalake", "raw/transactions"))


def never_lost(records: Iterable[Sent]) -> dict[str, bytes]:
    """The histories of a job that read all of these from the topic."""
    histories = HistoriesInMemory()
    for record in records:
        fold_only([(record.payload, record.came.timestamp())], histories, "EUR")
    return histories.by_customer()


def test_histories_from_the_lake_are_those_that_were_lost() -> None:
    records = sent(days=20)
    histories = HistoriesInMemory()
    folded = fold_lake(stored(records), EVERYTHING, histories, EVERY_BUCKET)
    expected = never_lost(records)
    assert histories.by_customer() == expected
    assert len(expected) == 30
    assert folded == sum(len(history) // 20 - 1 for history in expected.values())


def test_records_from_an_offset_on_are_left_to_the_topic() -> None:
    records = sent(days=5)
    histories = HistoriesInMemory()
    first_ms = int(START.timestamp() * 1000)
    beginning = Beginning({0: 40, 1: 0}, {0: first_ms, 1: first_ms}, {}, FOUND_MS)
    fold_lake(stored(records), beginning, histories, EVERY_BUCKET)
    assert histories.by_customer() == never_lost(
        record for record in records if (record.partition, record.offset) < (0, 40)
    )


def test_what_a_topic_that_was_lost_had_is_folded_whatever_its_offset(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The topic was made anew with one partition: its offsets went on from 0, and lie in the lake too."""
    lost = sent(days=5)
    anew = [
        Sent(0, number, timedelta(days=6, minutes=number), each.payload)
        for number, each in enumerate(sent(days=3))
    ]
    histories = HistoriesInMemory()
    monkeypatch.setattr(lost_state, "REPEATED", 15)
    topic = TopicOffsets({0: 0}, {0: len(anew)}, {0: 85}, {0: anew[0].came_ms})
    lake = stored([*lost, *anew[:100]])
    beginning = begin(lake.ends({0}, anew[0].came_ms), topic, FOUND_MS)
    assert beginning.start == {0: 70}
    fold_lake(lake, beginning, histories, EVERY_BUCKET)
    assert histories.by_customer() == never_lost([*lost, *anew[:70]])


def test_each_subtask_folds_its_own_customers() -> None:
    records = sent(days=5)
    lake = stored(records)
    halves = [range(64), range(64, BUCKETS)]
    found = []
    for half in halves:
        histories = HistoriesInMemory()
        fold_lake(lake, EVERYTHING, histories, half)
        found.append(histories.by_customer())
        assert {bucket_of(customer) in half for customer in found[-1]} == {True}
    assert found[0] | found[1] == never_lost(records)


def test_histories_that_are_folded_into_take_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    records = sent(days=20)
    expected = never_lost(records)
    monkeypatch.setattr(feature_batch, "MOST_FOLDED_BYTES", 2000)
    histories = HistoriesInMemory()
    put: list[int] = []
    put_all = histories.put_all

    def counted(folded: Mapping[str, bytes], /) -> None:
        put.append(sum(map(len, folded.values())))
        put_all(folded)

    monkeypatch.setattr(histories, "put_all", counted)
    fold_lake(stored(records), EVERYTHING, histories, EVERY_BUCKET)
    assert histories.by_customer() == expected
    assert 1000 < max(put) <= 2000 + max(map(len, expected.values()))


def test_what_came_before_a_history_reaches_is_not_read() -> None:
    records = sent(days=60, a_day=4)
    histories = HistoriesInMemory()
    folded = fold_lake(stored(records), EVERYTHING, histories, EVERY_BUCKET)
    reached = [record for record in records if record.after >= timedelta(days=59 - 38)]
    assert histories.by_customer() == never_lost(reached)
    assert folded < len(reached) < len(records)


def test_a_record_that_came_by_a_wrong_clock_does_not_move_what_is_read() -> None:
    records = sent(days=5)
    *_, latest = records
    ahead = latest._replace(offset=latest.offset + 1, after=timedelta(days=65), payload=b"no JSON")
    found = Beginning({}, {}, {}, latest.came_ms + 60_000)
    histories = HistoriesInMemory()
    fold_lake(stored([*records, ahead]), found, histories, EVERY_BUCKET)
    assert histories.by_customer() == never_lost(records)


def test_an_empty_lake_gives_nothing() -> None:
    histories = HistoriesInMemory()
    assert fold_lake(stored([]), EVERYTHING, histories, EVERY_BUCKET) == 0
    assert histories.by_customer() == {}


def ends_of(records: Iterable[Sent]) -> dict[int, LakeEnd]:
    return {record.partition: LakeEnd(record.offset + 1, record.came_ms) for record in records}


def test_the_lake_ends_after_each_partitions_last_record() -> None:
    records = sent(days=5)
    ends = ends_of(records)
    assert stored(records).ends({0, 1}) == stored(records).ends({0, 1, 7}) == ends
    # one whose last record came days ago
    quiet = [record for record in records if record.partition == 1 or record.after < timedelta(days=2)]
    assert stored(quiet).ends({0, 1}) == ends_of(quiet)
    assert stored([]).ends({0}) == {}


def test_days_long_before_the_topics_first_record_are_not_read_for_the_lakes_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records = [record for record in sent(days=10) if record.partition == 1]
    read: list[str] = []
    of_day = LakeFiles.of_day
    monkeypatch.setattr(LakeFiles, "of_day", lambda self, day: read.append(day) or of_day(self, day))
    # of partition 0, which it has, nothing lies in the lake
    assert stored(records).ends({0, 1}, records[-1].came_ms) == ends_of(records)
    assert min(filter(None, read)) == "dt=2026-03-08"


@pytest.mark.parametrize(
    ("lake", "committed", "start", "scored"),
    [
        pytest.param(None, None, 10, 0, id="the very first start"),
        pytest.param(40, 80, 40, 65, id="scored further than the lake has"),
        pytest.param(70, 80, 65, 65, id="scored a little further than the lake has"),
        pytest.param(80, 60, 45, 45, id="the lake has more than was scored"),
        pytest.param(80, None, 10, 0, id="nobody knows what was scored"),
        pytest.param(None, 80, 10, 65, id="the lake is empty"),
        pytest.param(80, 12, 10, 0, id="little was scored"),
        pytest.param(-5, 5, 10, 0, id="the topic lost records that nobody has"),
        pytest.param(90, 90, 75, 75, id="all was scored and is in the lake"),
        pytest.param(-500, 700, 10, 0, id="the topic was made anew"),
        pytest.param(-500, 70, 10, 55, id="the topic was made anew and scored since"),
        pytest.param(-50, 70, 10, 55, id="the topic was made anew and has more records than before"),
    ],
)
def test_a_job_begins_a_little_before_lake_and_scores_end(
    lake: int | None, committed: int | None, start: int, scored: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A negative end of the lake came before the topic's first record."""
    monkeypatch.setattr(lost_state, "REPEATED", 15)
    ends = {} if lake is None else {3: LakeEnd(abs(lake), 999 if lake < 0 else 2000)}
    done = {} if committed is None else {3: committed}
    first_ms = {3: 1000}
    found = begin(ends, TopicOffsets({3: 10}, {3: 90}, done, first_ms), FOUND_MS)
    assert found == Beginning({3: start}, first_ms, {3: scored}, FOUND_MS)


class Model:
    """A model whose score hangs on all features."""

    manifest = manifest_with(threshold=1e9)

    def score(self, matrix: np.ndarray) -> np.ndarray:
        return matrix.sum(axis=1)


@pytest.mark.parametrize("in_lake", [200, 190, 150])
def test_what_was_being_gathered_in_a_lost_savepoint_is_scored_with_its_own_features(
    in_lake: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 200 records that were read and committed, the last ten lay in windows; their customers pay again."""
    monkeypatch.setattr(lost_state, "REPEATED", 15)
    records = [
        each._replace(offset=number, partition=0) for number, each in enumerate(sent(days=5, a_day=42))
    ]
    scorer = Scorer(Model(), TerminalRisk.empty())  # type: ignore[arg-type]

    def scored(some: Iterable[Sent], histories: StoredHistories, beginning: Beginning) -> list[Prediction]:
        batch = [
            Record(each.partition, each.offset, each.came_ms, len(each.payload), each.payload)
            for each in some
        ]
        operator = ScoreBatches(SETTINGS.topics, 1, beginning)
        operator._histories, operator._currency = histories, "EUR"  # noqa: SLF001 - as `open` sets them
        left = operator._pass_over_scored(batch, beginning)  # noqa: SLF001 - without Flink
        return scorer.score(left, histories, 0.0, control_share=1.0).predictions

    expected = scored(records, HistoriesInMemory(), EVERYTHING)
    topic = TopicOffsets({0: 0}, {0: len(records)}, {0: 200}, {0: records[0].came_ms})
    lake = stored(records[:in_lake])
    beginning = begin(lake.ends({0}), topic, FOUND_MS)
    histories = HistoriesInMemory()
    fold_lake(lake, beginning, histories, EVERY_BUCKET)
    found = scored(records[beginning.start[0] :], histories, beginning)
    assert found == [each for each in expected if each.offset >= 185]
    assert {each.offset for each in expected if each.offset >= 190} <= {each.offset for each in found}
    assert histories.by_customer() == never_lost(records)


def test_records_that_nobody_has_are_told(caplog: pytest.LogCaptureFixture) -> None:
    def told(lake: dict[int, LakeEnd], committed: dict[int, int]) -> list[str]:
        caplog.clear()
        begin(lake, TopicOffsets({3: 10}, {3: 90}, committed, {3: 1000}), FOUND_MS)
        return caplog.messages

    assert told({}, {}) == told({3: LakeEnd(10, 999)}, {3: 10}) == told({3: LakeEnd(70, 2000)}, {3: 50}) == []
    (lacking,) = told({3: LakeEnd(5, 999)}, {3: 20})
    assert lacking.startswith("partition 3: the topic begins at offset 10 only, and the lake does not have")
    (unscored,) = told({3: LakeEnd(70, 2000)}, {3: 4})
    assert unscored.endswith(
        "scored up to offset 4, and the topic begins at 10 only: what lay between has no prediction"
    )


class Consumer:
    """Kafka's consumer, as far as offsets go."""

    closed = False

    def __init__(self, **properties: object) -> None:
        assert properties["group_id"] == "ml_inference_job"
        assert properties["enable_auto_commit"] is False

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return {0, 1} if topic == "transactions" else None

    def committed(self, partition: Any) -> int | None:  # noqa: ANN401 - kafka-python ships no types
        return 7 if partition.partition else None

    def beginning_offsets(self, partitions: list[Any]) -> dict[Any, int]:
        return {each: 3 + each.partition for each in partitions}

    def end_offsets(self, partitions: list[Any]) -> dict[Any, int]:
        return {each: 9 + each.partition for each in partitions}

    def offsets_for_times(self, since_ms: dict[Any, int]) -> dict[Any, Any]:
        assert set(since_ms.values()) == {0}
        return {each: OffsetAndTimestamp(4, 123, 0) if each.partition else None for each in since_ms}

    def close(self) -> None:
        Consumer.closed = True


def test_offsets_are_read_by_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost_state, "KafkaConsumer", Consumer)
    assert read_offsets(SETTINGS, "ml_inference_job") == TopicOffsets(
        {0: 3, 1: 4}, {0: 9, 1: 10}, {1: 7}, {1: 123}
    )
    assert Consumer.closed


def test_offsets_are_asked_again_while_a_partition_has_no_leader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost_state, "KafkaConsumer", Consumer)
    monkeypatch.setattr(kafka_servers, "_RETRY_S", 0)
    left = [NotLeaderForPartitionError()]
    ends = Consumer.end_offsets

    def end_offsets(consumer: Consumer, partitions: list[Any]) -> dict[Any, int]:
        if left:
            raise left.pop()
        return ends(consumer, partitions)

    monkeypatch.setattr(Consumer, "end_offsets", end_offsets)
    assert read_offsets(SETTINGS, "ml_inference_job").end == {0: 9, 1: 10}
    assert not left


def test_a_topic_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost_state, "KafkaConsumer", Consumer)
    monkeypatch.setattr(Consumer, "partitions_for_topic", lambda _self, _topic: None)
    with pytest.raises(LostStateError, match=r"no topic transactions; ansible-playbook playbooks/kafka\.yml"):
        read_offsets(SETTINGS, "ml_inference_job")


def test_a_kafka_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_servers, "BOOTSTRAP_TIMEOUT_MS", 200)
    with pytest.raises(LostStateError, match=r"Kafka at 127\.0\.0\.1:1 does not say where transactions ends"):
        read_offsets(SETTINGS, "ml_inference_job")
