"""Topics of a cluster that was made anew go on where the lake ends."""

import io
import json
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from memory_store import MemoryStore

from clients import lake_ends
from flink_jobs.store import lake
from flink_jobs.store.settings import Settings

SETTINGS = msgspec.convert(
    {
        "kafka": {"bootstrap_servers": "127.0.0.1:9"},
        "topics": {"transactions": "t", "predictions": "p", "fraud_alerts": "a", "transactions_dlq": "d"},
        "buckets": {"datalake": "datalake", "models": "models", "features": "features", "flink": "flink"},
        "s3": {"endpoint_url": "http://127.0.0.1:9", "access_key": "k", "secret_key": "s"},
    },
    Settings,
)
PARTITIONS = {"t": {0, 1}, "p": {0}, "a": {0}, "d": {0}, "fraud_labels": {0}}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    memory = MemoryStore()
    monkeypatch.setattr(lake, "s3_client", lambda _: memory)
    return memory


def put(
    store: MemoryStore,
    folder: str,
    places: Iterable[tuple[int, int]],
    answered: Iterable[tuple[int, int | None]] | None = None,
) -> None:
    """Write a file of a folder: partitions and offsets, and those of the transactions that are answered."""
    rows = list(places)
    columns = {
        "kafka_partition": pa.array([row[0] for row in rows], pa.int32()),
        "kafka_offset": pa.array([row[1] for row in rows], pa.int64()),
        "kafka_time": pa.array(
            [datetime(2026, 6, 20, 12, tzinfo=UTC)] * len(rows), pa.timestamp("us", "UTC")
        ),
    }
    if answered is not None:
        of = list(answered)
        columns["transaction_partition"] = pa.array([row[0] for row in of], pa.int32())
        columns["transaction_offset"] = pa.array([row[1] for row in of], pa.int64())
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    key = f"{folder}/dt=2026-06-20/part-{len(store.written)}"
    store.put_object(Bucket="datalake", Key=key, Body=file.getvalue())


def offsets(settings: Settings = SETTINGS) -> dict[str, dict[int, int]]:
    found = lake_ends.find_ends(settings, PARTITIONS)
    return {topic: {number: end.offset for number, end in ends.items()} for topic, ends in found.items()}


def test_each_topic_goes_on_where_its_folder_ends(store: MemoryStore) -> None:
    put(store, "raw/transactions", [(0, 3), (1, 8), (0, 4)])
    put(store, "predictions", [(0, 6)], [(0, 4)])
    put(store, "labels", [(0, 1)])
    assert offsets() == {"t": {0: 5, 1: 9}, "p": {0: 7}, "a": {}, "d": {}, "fraud_labels": {0: 2}}


def test_no_transaction_gets_the_answer_of_one_that_the_copy_lacks(store: MemoryStore) -> None:
    put(store, "raw/transactions", [(0, 3)])
    put(store, "predictions", [(0, 6), (0, 7)], [(0, 11), (1, 2)])
    put(store, "dead_letters", [(0, 0), (0, 1)], [(1, 20), (1, None)])
    assert offsets()["t"] == {0: 12, 1: 21}


def test_an_empty_lake_ends_nowhere(store: MemoryStore) -> None:
    assert set(map(len, offsets().values())) == {0}
    assert store.written == []


def test_they_are_told_with_the_time_of_the_last_record(store: MemoryStore) -> None:
    put(store, "labels", [(0, 1)])
    told = json.loads(lake_ends.as_json(lake_ends.find_ends(SETTINGS, PARTITIONS)))
    assert told["fraud_labels"] == {"0": {"offset": 2, "came": "2026-06-20T12:00:00+00:00"}}
