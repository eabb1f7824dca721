"""A stand-in for Kafka and the lake as the continuous audit sees them, and a plain count beside it."""

import io
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from kafka import TopicPartition
from kafka_fakes import Message

from flink_jobs.store.lake import DEAD_LETTERS_FOLDER, PREDICTIONS_FOLDER, TRANSACTIONS_FOLDER
from flink_jobs.store.merged_file import merge
from flink_jobs.store.merges import MERGED, Merge, record_name
from flink_jobs.store.object_store import ObjectMissingError, StoredObject

Place = tuple[int, int]
TODAY = "2026-06-15"
ANSWERS_IN = {"predictions": PREDICTIONS_FOLDER, "transactions_dlq": DEAD_LETTERS_FOLDER}
NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)


class Topic:
    """Partitions with records at offsets; some offsets have none."""

    def __init__(self, partitions: int = 2) -> None:
        self.records: list[dict[int, bytes]] = [{} for _ in range(partitions)]
        self.begins = [0] * partitions
        self.ends = [0] * partitions

    def append(self, partition: int, value: bytes) -> int:
        offset = self.ends[partition]
        self.records[partition][offset] = value
        self.ends[partition] += 1
        return offset

    def append_marker(self, partition: int) -> None:
        """As a producer's transaction leaves one."""
        self.ends[partition] += 1

    def delete_before(self, partition: int, offset: int) -> None:
        """As retention does."""
        self.begins[partition] = offset
        kept = self.records[partition]
        self.records[partition] = {at: value for at, value in kept.items() if at >= offset}


class Consumer:
    """kafka-python's consumer, as far as the audit uses it; gives a few records at a time."""

    def __init__(self, topics: dict[str, Topic]) -> None:
        self.topics = topics
        self.positions: dict[TopicPartition, int] = {}
        self.read: Counter[str] = Counter()

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(range(len(self.topics[topic].ends))) if topic in self.topics else None

    def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {each: self.topics[each.topic].begins[each.partition] for each in partitions}

    def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {each: self.topics[each.topic].ends[each.partition] for each in partitions}

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.positions = dict.fromkeys(partitions, 0)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.positions[partition] = offset

    def position(self, partition: TopicPartition) -> int:
        return self.positions[partition]

    def poll(self, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Message]]:
        assert timeout_ms
        assert max_records
        batches = {}
        for each, position in self.positions.items():
            topic = self.topics[each.topic]
            end = min(position + 3, topic.ends[each.partition])
            self.positions[each] = end
            found = [
                Message(each.topic, topic.records[each.partition][at], each.partition, at)
                for at in range(position, end)
                if at in topic.records[each.partition]
            ]
            self.read[each.topic] += len(found)
            if found:
                batches[each] = found
        return batches

    def close(self) -> None:
        pass


class LakeInMemory:
    """A folder of the lake; some files go between listing and reading."""

    def __init__(self, folder: str) -> None:
        self.name = f"s3://datalake/{folder}"
        self.contents: dict[str, bytes] = {}
        self.opened: list[str] = []

    def subfolders(self) -> list[str]:
        return sorted({name.partition("/")[0] for name in self.contents})

    def files(self, subfolder: str) -> list[StoredObject]:
        return [
            StoredObject(name, len(content), NOON)
            for name, content in sorted(self.contents.items())
            if name.rpartition("/")[0] == subfolder
        ]

    def read(self, name: str) -> bytes:
        if name not in self.contents:
            raise ObjectMissingError(name)
        return self.contents[name]

    def open(self, file: StoredObject) -> io.BytesIO:
        self.opened.append(file.key)
        return io.BytesIO(self.read(file.key))


class AuditedSystem:
    """Transactions, what answers them and what stores them; counts plainly what the audit has to find.

    Attributes:
        now_s: the time.
        folders: of the lake, by name.
        lake_stands: answers go to their topics, and into the lake only with `keep_answers`.
        sent: places of all transactions.
        answers: how often each was answered.
        rows: how often each was written into the lake.

    """

    def __init__(self) -> None:
        self.topics = {
            "transactions": Topic(),
            "predictions": Topic(),
            "fraud_alerts": Topic(),
            "transactions_dlq": Topic(1),
        }
        self.folders = {
            each: LakeInMemory(each)
            for each in (TRANSACTIONS_FOLDER, PREDICTIONS_FOLDER, DEAD_LETTERS_FOLDER)
        }
        self.lake = self.folders[TRANSACTIONS_FOLDER]
        self.lake_stands = False
        self.now_s = NOON.timestamp()
        self.sent: list[Place] = []
        self.answers: Counter[Place] = Counter()
        self.rows: Counter[Place] = Counter()
        self._names = Counter[str]()
        self._waiting = defaultdict[str, list[tuple[Place | None, Place]]](list)

    def send(self, partition: int, count: int = 1) -> list[Place]:
        new = [(partition, self.topics["transactions"].append(partition, b"{}")) for _ in range(count)]
        self.sent += new
        return new

    def answer(
        self, places: Sequence[Place | None], topic: str = "predictions", day: str = TODAY
    ) -> list[str]:
        """Write an answer to each, None for one that names no transaction; give the lake's files."""
        for number, place in enumerate(places):
            at = (sum(place or (number,))) % len(self.topics[topic].ends)
            self._waiting[topic].append((place, (at, self.topics[topic].append(at, b"{}"))))
        self.answers.update(place for place in places if place)
        return [] if self.lake_stands else self.keep_answers(day)

    def keep_answers(self, day: str = TODAY) -> list[str]:
        """Write what waits into the lake, a file for each topic."""
        names = []
        for topic, waiting in self._waiting.items():
            if waiting:
                transactions = [place or (None, None) for place, _ in waiting]
                columns = {
                    "transaction_partition": pa.array([each[0] for each in transactions], pa.int32()),
                    "transaction_offset": pa.array([each[1] for each in transactions], pa.int64()),
                }
                names.append(self._write(ANSWERS_IN[topic], [own for _, own in waiting], day, columns))
                waiting.clear()
        return names

    def store(self, places: list[Place], day: str = TODAY) -> str:
        self.rows.update(places)
        return self._write(TRANSACTIONS_FOLDER, places, day, {})

    def _write(self, folder: str, places: list[Place], day: str, columns: dict[str, Any]) -> str:
        self._names[f"{folder}/{day}"] += 1
        name = f"dt={day}/part-{self._names[f'{folder}/{day}']}"
        table: dict[str, Any] = columns | {
            "kafka_partition": pa.array([partition for partition, _ in places], pa.int32()),
            "kafka_offset": pa.array([offset for _, offset in places], pa.int64()),
            "kafka_time": pa.array([NOON] * len(places), pa.timestamp("ms", "UTC")),
        }
        buffer = io.BytesIO()
        pq.write_table(pa.table(table), buffer)
        self.folders[folder].contents[name] = buffer.getvalue()
        return name

    def merge(self, names: list[str], folder: str = TRANSACTIONS_FOLDER) -> str:
        """Merge files of a day as compaction does; they stay until somebody deletes them."""
        contents = self.folders[folder].contents
        self._names["merged"] += 1
        target = f"{names[0].rpartition('/')[0]}/{MERGED}{self._names['merged']}.parquet"
        earlier = {
            source
            for name in names
            if record_name(name) in contents
            for source in msgspec.json.decode(contents[record_name(name)], type=Merge).sources
        }
        record = Merge(target, sorted({*names, *earlier}))
        contents[record_name(target)] = msgspec.json.encode(record)
        contents[target] = merge([contents[name] for name in names])
        return target

    def lost(self, begin: dict[int, int]) -> set[Place]:
        return {each for each in self.sent if each[1] >= begin[each[0]] and not self.answers[each]}

    def missing(self, begin: dict[int, int]) -> set[Place]:
        return {each for each in self.sent if each[1] >= begin[each[0]] and not self.rows[each]}

    def stored_twice(self, begin: dict[int, int]) -> int:
        return sum(count - 1 for (part, at), count in self.rows.items() if at >= begin[part] and count > 1)
