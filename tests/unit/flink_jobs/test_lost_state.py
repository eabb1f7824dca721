"""Where a job without state begins, and the histories that the lake gives back."""

import io
import json
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from buckets_in_memory import HistoriesInMemory
from memory_store import MemoryStore

from flink_jobs import lost_state
from flink_jobs.domain.buckets import BUCKETS, bucket_of
from flink_jobs.domain.feature_batch import fold_only
from flink_jobs.lake_histories import fold_lake
from flink_jobs.lost_state import Beginning, LostStateError, TopicOffsets, begin, read_offsets
from flink_jobs.store.folders import BucketFolder
from flink_jobs.store.lake import Lake
from flink_jobs.store.settings import S3, Buckets, Kafka, Settings, Topics

START = datetime(2026, 3, 1, tzinfo=UTC)
EVERY_BUCKET = range(BUCKETS)


class Sent(NamedTuple):
    """A record of the topic; `after` START it came, and its card was used."""

    partition: int
    offset: int
    after: timedelta
    payload: bytes

    @property
    def came(self) -> datetime:
        return START + self.after


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
    folded = fold_lake(stored(records), {0: 10**9, 1: 10**9}, histories, EVERY_BUCKET)
    expected = never_lost(records)
    assert histories.by_customer() == expected
    assert len(expected) == 30
    assert folded == sum(len(history) // 20 - 1 for history in expected.values())


def test_records_from_an_offset_on_are_left_to_the_topic() -> None:
    records = sent(days=5)
    histories = HistoriesInMemory()
    fold_lake(stored(records), {0: 40}, histories, EVERY_BUCKET)
    assert histories.by_customer() == never_lost(
        record for record in records if (record.partition, record.offset) < (0, 40)
    )


def test_each_subtask_folds_its_own_customers() -> None:
    records = sent(days=5)
    lake = stored(records)
    halves = [range(64), range(64, BUCKETS)]
    found = []
    for half in halves:
        histories = HistoriesInMemory()
        fold_lake(lake, {0: 10**9, 1: 10**9}, histories, half)
        found.append(histories.by_customer())
        assert {bucket_of(customer) in half for customer in found[-1]} == {True}
    assert found[0] | found[1] == never_lost(records)


def test_what_came_before_a_history_reaches_is_not_read() -> None:
    records = sent(days=60, a_day=4)
    histories = HistoriesInMemory()
    folded = fold_lake(stored(records), {0: 10**9, 1: 10**9}, histories, EVERY_BUCKET)
    reached = [record for record in records if record.after >= timedelta(days=59 - 38)]
    assert histories.by_customer() == never_lost(reached)
    assert folded < len(reached) < len(records)


def test_an_empty_lake_gives_nothing() -> None:
    histories = HistoriesInMemory()
    assert fold_lake(stored([]), {0: 1}, histories, EVERY_BUCKET) == 0
    assert histories.by_customer() == {}


def test_the_lake_ends_after_each_partitions_last_record() -> None:
    records = sent(days=5)
    ends = {
        partition: 1 + max(record.offset for record in records if record.partition == partition)
        for partition in (0, 1)
    }
    assert stored(records).ends({0, 1}) == stored(records).ends({0, 1, 7}) == ends
    # one whose last record came days ago
    quiet = [record for record in records if record.partition == 1 or record.after < timedelta(days=2)]
    ends[0] = 1 + max(record.offset for record in quiet if record.partition == 0)
    assert stored(quiet).ends({0, 1}) == ends
    assert stored([]).ends({0}) == {}


@pytest.mark.parametrize(
    ("lake", "committed", "start", "folded", "scored"),
    [
        pytest.param(None, None, 10, 10, 0, id="the very first start"),
        pytest.param(60, 80, 60, 60, 80, id="scored further than the lake has"),
        pytest.param(80, 60, 60, 60, 60, id="the lake has more than was scored"),
        pytest.param(80, None, 10, 10, 0, id="nobody knows what was scored"),
        pytest.param(None, 80, 10, 10, 80, id="the lake is empty"),
        pytest.param(5, 5, 10, 10, 5, id="the topic lost records that nobody has"),
        pytest.param(90, 90, 90, 90, 90, id="all was scored and is in the lake"),
        pytest.param(500, 700, 10, 500, 0, id="the topic was made anew"),
    ],
)
def test_a_job_begins_where_lake_and_scores_end(
    lake: int | None, committed: int | None, start: int, folded: int, scored: int
) -> None:
    def known(offset: int | None) -> dict[int, int]:
        return {} if offset is None else {3: offset}

    found = begin(known(lake), TopicOffsets({3: 10}, {3: 90}, known(committed)))
    assert found == Beginning({3: start}, {3: folded}, {3: scored})


def test_records_that_nobody_has_are_told(caplog: pytest.LogCaptureFixture) -> None:
    begin({}, TopicOffsets({3: 10}, {3: 90}, {}))
    assert not caplog.messages
    begin({3: 5}, TopicOffsets({3: 10}, {3: 90}, {3: 5}))
    (told,) = caplog.messages
    assert told.startswith("partition 3: the lake ends at offset 5, and the topic begins at 10 only")


SETTINGS = Settings(
    Kafka("127.0.0.1:1"),
    Topics("transactions", "predictions", "fraud_alerts", "transactions_dlq"),
    S3("http://127.0.0.1:9", "user", "password"),
    Buckets("datalake", "models", "features", "flink"),
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

    def close(self) -> None:
        Consumer.closed = True


def test_offsets_are_read_by_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost_state, "KafkaConsumer", Consumer)
    assert read_offsets(SETTINGS, "ml_inference_job") == TopicOffsets({0: 3, 1: 4}, {0: 9, 1: 10}, {1: 7})
    assert Consumer.closed


def test_a_topic_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost_state, "KafkaConsumer", Consumer)
    monkeypatch.setattr(Consumer, "partitions_for_topic", lambda _self, _topic: None)
    with pytest.raises(LostStateError, match=r"no topic transactions; ansible-playbook playbooks/kafka\.yml"):
        read_offsets(SETTINGS, "ml_inference_job")


def test_a_kafka_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost_state, "_BOOTSTRAP_TIMEOUT_MS", 200)
    with pytest.raises(LostStateError, match=r"Kafka at 127\.0\.0\.1:1 does not say where transactions ends"):
        read_offsets(SETTINGS, "ml_inference_job")
