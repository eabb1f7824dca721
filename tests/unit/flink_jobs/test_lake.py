"""The lake's reader: each record once, whatever compaction does meanwhile, and no more than is needed."""

import io
import json
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_store import MemoryStore

from clients.reconciliation import OffsetCounts
from flink_jobs.store import lake_period
from flink_jobs.store.compaction import LakeFolder
from flink_jobs.store.folders import BucketFolder
from flink_jobs.store.lake import Lake, LakeError
from flink_jobs.store.lake_files import Places

START = datetime(2026, 1, 1, tzinfo=UTC)
START_S = START.timestamp()
HOUR_S, DAY_S = 3600.0, 86_400.0
FOLDER = "raw/transactions"

# when a record happened, when it came, both in seconds after START, and its bytes
Records = list[tuple[float, float, bytes]]


def parquet(records: Records, first_offset: int, *, unread: bool = False) -> bytes:
    def times(seconds: list[float]) -> pa.Array:
        return pa.array([START + timedelta(seconds=each) for each in seconds], pa.timestamp("us", "UTC"))

    rows = len(records)
    happened = times([each[0] for each in records])
    table = pa.table(
        {
            "event_time": pa.nulls(rows, happened.type) if unread else happened,
            "kafka_partition": pa.array([offset % 2 for offset in range(rows)], pa.int32()),
            "kafka_offset": pa.array(range(first_offset, first_offset + rows), pa.int64()),
            "kafka_time": times([each[1] for each in records]),
            "payload": [each[2] for each in records],
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, use_deprecated_int96_timestamps=True)
    return buffer.getvalue()


def filled(files: list[Records]) -> MemoryStore:
    """A lake of one file after the other, each in the folder of its first record's day."""
    store, offset = MemoryStore(), 0
    for number, records in enumerate(files):
        store.now = START + timedelta(hours=number)
        day = START + timedelta(seconds=records[0][1])
        key = f"{FOLDER}/dt={day:%Y-%m-%d}/part-{number:03}"
        store.put_object(Bucket="datalake", Key=key, Body=parquet(records, offset))
        offset += len(records)
    return store


def lake(store: MemoryStore) -> Lake:
    return Lake(BucketFolder(store, "datalake", FOLDER))


def two_days() -> list[Records]:
    """Each four hours a file of four; one of each happened the day before."""
    return [
        [
            (hour * HOUR_S + n - (DAY_S if n == 0 else 0), hour * HOUR_S + n, b"%d-%d" % (hour, n))
            for n in range(4)
        ]
        for hour in range(0, 48, 4)
    ]


class BusyStore(MemoryStore):
    """A lake that is compacted, files deleted at once, just before the nth request of a reader."""

    left = -1

    def _bucket(self, operation: str, name: str) -> dict[str, bytes]:
        self.left -= 1
        if self.left == 0:
            for _ in range(2):
                LakeFolder(self, "datalake", FOLDER).compact(10**6, timedelta(0), self.now, timedelta(0))
        return super()._bucket(operation, name)


def _all_records(lake: Lake) -> object:
    return sorted(lake.records())


def _period(lake: Lake) -> object:
    return [each for some in lake.payloads(START_S, START_S + 2 * DAY_S) for each in some]


def _counts(lake: Lake) -> object:
    counts = OffsetCounts({0: (0, 48), 1: (0, 48)})
    lake.count_new(counts, START, START + timedelta(days=2))
    return counts.met, counts.repeated


def _last_event(lake: Lake) -> object:
    return lake.last_event_s(4e9)


@pytest.mark.parametrize("read", [_all_records, _period, _counts, _last_event])
def test_a_compaction_at_any_moment_changes_nothing_that_is_read(
    read: Callable[[Lake], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake_period, "_ROWS_IN_ORDER", 50)
    before = filled(two_days())
    wanted = read(lake(before))
    requests = 0
    while True:
        requests += 1
        store = BusyStore()
        store.objects = {name: dict(objects) for name, objects in before.objects.items()}
        store.modified, store.now = dict(before.modified), before.now
        store.left = requests
        assert read(lake(store)) == wanted, requests
        if store.left > 0:
            break
    assert requests > 10
    # in truth, files were deleted
    store.left = 1
    lake(store).is_empty()
    assert len(store.objects["datalake"]) == 5  # two, their records, and the newest


def test_a_file_that_cannot_be_had_is_named_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(two_days())
    missing = f"{FOLDER}/dt=2026-01-02/part-007"
    listed = store.list_objects_v2

    def list_what_is_gone(**request: str) -> dict[str, Any]:
        store.objects["datalake"][missing] = b""
        try:
            return listed(**request)
        finally:
            del store.objects["datalake"][missing]

    monkeypatch.setattr(store, "list_objects_v2", list_what_is_gone)
    with pytest.raises(LakeError, match=f"cannot read s3://datalake/{missing}"):
        list(lake(store).records())
    with pytest.raises(LakeError, match=f"cannot read s3://datalake/{missing}"):
        list(lake(store).payloads(START_S, START_S + DAY_S))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 49)), min_size=1, max_size=60), st.data())
def test_a_period_comes_in_event_time_order(came: list[tuple[int, int]], data: st.DataObject) -> None:
    """However late records are, and whatever is read at once."""
    records = [
        (hour * HOUR_S + late * 7 * HOUR_S, hour * HOUR_S, b"%d" % n) for n, (late, hour) in enumerate(came)
    ]
    records.sort(key=lambda each: each[1] // DAY_S)
    cuts = sorted({0, len(records), *data.draw(st.lists(st.integers(0, len(records)), max_size=3))})
    files = [
        [each for each in records[first:end] if each[1] // DAY_S == day]
        for first, end in pairwise(cuts)
        for day in range(3)
    ]
    store = filled([each for each in files if each])
    since_s, until_s = START_S + data.draw(st.integers(-24, 24)) * HOUR_S, START_S + 40 * HOUR_S
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lake_period, "_ROWS_IN_ORDER", data.draw(st.integers(1, 70)))
        found = [each for some in lake(store).payloads(since_s, until_s) for each in some]
    times = [each[0] for each in found]
    assert times == sorted(times)
    inside = [(START_S + each[0], each[2]) for each in records if since_s <= START_S + each[0] < until_s]
    assert sorted(found) == sorted(inside)


def test_times_that_sql_did_not_read_are_read_as_the_job_does() -> None:
    store = filled(two_days())
    payloads = [
        json.dumps(
            {"transaction_id": "1", "event_time": f"2026-01-02T0{n}:00:00+02:00", "amount": 1.0}
        ).encode()
        for n in range(4)
    ]
    content = parquet([(0.0, 2 * DAY_S, each) for each in [*payloads, b"garbage"]], 1000, unread=True)
    store.put_object(Bucket="datalake", Key=f"{FOLDER}/dt=2026-01-03/part-late", Body=content)
    found = [each for some in lake(store).payloads(START_S, START_S + 3 * DAY_S) for each in some]
    assert [each for each in found if each[1] in payloads] == [
        (START_S + DAY_S + (n - 2) * HOUR_S, payloads[n]) for n in range(4)
    ]
    assert b"garbage" not in [each[1] for each in found]


def test_what_came_before_a_period_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record happens a day after it came at most, by the rules of scoring; clocks may differ."""
    store = filled([[(day * DAY_S, day * DAY_S, b"%d" % day)] for day in range(20)])
    read: list[str] = []
    get = store.get_object
    monkeypatch.setattr(store, "get_object", lambda **request: read.append(request["Key"]) or get(**request))
    since_s = START_S + 18 * DAY_S
    (found,) = lake(store).payloads(since_s, 4e9)
    assert [each[1] for each in found] == [b"18", b"19"]
    assert {key.split("/")[2] for key in read} == {f"dt=2026-01-{day}" for day in (17, 18, 19, 20)}
    read.clear()
    assert [each.payload for each in lake(store).records(since_s)] == [b"16", b"17", b"18", b"19"]
    assert len(read) == 4
    read.clear()
    # the newest days tell it
    assert lake(store).last_event_s(4e9) == START_S + 19 * DAY_S
    assert len(read) < 5


def test_of_a_large_file_only_the_columns_that_are_asked_for_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(0)
    records: Records = [(n * 0.01, n * 0.01, random.bytes(400)) for n in range(20_000)]
    store = filled([records])
    (size,) = (len(content) for content in store.objects["datalake"].values())
    read = 0
    get = store.get_object

    def counted(**request: str) -> dict[str, Any]:
        nonlocal read
        found = get(**request)
        read += len(found["Body"].getvalue())
        return found

    monkeypatch.setattr(store, "get_object", counted)
    assert sum(map(len, lake(store).batches(["event_time"]))) == 20_000
    assert 0 < read < size / 10
    read = 0
    assert [each.payload for each in lake(store).records()] == [each[2] for each in records]
    assert size * 0.9 < read < size * 1.1


@given(st.lists(st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0, 1, 65_535, 65_536, 1 << 40])))))
def test_a_place_is_met_for_the_first_time_once(calls: list[list[tuple[int, int]]]) -> None:
    places, met = Places(), set[tuple[int, int]]()
    for call in calls:
        first = places.first_met(
            np.array([each[0] for each in call], dtype=np.int32),
            np.array([each[1] for each in call], dtype=np.int64),
        )
        assert len(first) == len(call)
        for each, is_first in zip(call, first.tolist(), strict=True):
            assert is_first == (each not in met)
            met.add(each)


def test_records_of_a_topic_that_was_made_anew_on_the_same_day_are_given_too() -> None:
    """It begins at offset 0 again; a row that lies there twice came at the same time."""
    came: list[Records] = [
        [(second, second, b"%d" % second) for second in range(first, first + rows)]
        for first, rows in ((8 * 3600, 40), (14 * 3600, 30))
    ]
    store = filled([came[0]])
    for number, records in enumerate([came[1], came[0]]):
        key = f"{FOLDER}/dt=2026-01-01/part-again-{number}"
        store.put_object(Bucket="datalake", Key=key, Body=parquet(records, 0))
    expected = sorted(each[2] for records in came for each in records)
    assert sorted(each.payload for each in lake(store).records()) == expected


def test_a_day_of_places_that_come_in_order_takes_little_memory() -> None:
    """A TaskManager reads days of the lake in the memory that it has for Python."""
    places = Places()
    many = 1 << 20
    tracemalloc.start()
    try:
        for first in range(0, many, 1 << 12):
            offsets = np.arange(first, first + (1 << 12))
            assert places.first_met(np.zeros_like(offsets), offsets).all()
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken < many / 16
    assert not places.first_met(np.array([0]), np.array([many - 1])).any()
