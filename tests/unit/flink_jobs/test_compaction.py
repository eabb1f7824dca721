"""Small files become large ones, and no row is lost, changed or doubled."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from memory_store import MemoryStore

from flink_jobs.store.compaction import Compacted, CompactionError, check_merged, compact, merge

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
TARGET = 10_000


def parquet(first_offset: int, rows: int = 20, **columns: list[Any]) -> bytes:
    buffer = io.BytesIO()
    offsets = range(first_offset, first_offset + rows)
    pq.write_table(
        pa.table(
            {
                "kafka_partition": [0] * rows,
                "kafka_offset": list(offsets),
                "kafka_time": [START + timedelta(milliseconds=offset) for offset in offsets],
                "payload": [b"\x00\xff%d" % offset for offset in offsets],
                **columns,
            }
        ),
        buffer,
        use_deprecated_int96_timestamps=True,
    )
    return buffer.getvalue()


@pytest.fixture
def store() -> MemoryStore:
    """Twelve files a day for two days, one each two hours; a file in progress, and a large one."""
    store = MemoryStore()
    for number in range(24):
        store.now = START + number * 2 * HOUR
        key = f"raw/transactions/dt=2026-01-0{1 + number // 12}/part-{number:02}"
        store.put_object(Bucket="datalake", Key=key, Body=parquet(20 * number))
    store.now = START
    store.put_object(Bucket="datalake", Key="raw/transactions/dt=2026-01-01/.part-99", Body=b"half")
    large = parquet(1000, rows=5000)
    store.put_object(Bucket="datalake", Key="raw/transactions/dt=2026-01-01/part-98", Body=large)
    return store


def rows(store: MemoryStore) -> pa.Table:
    files = [content for key, content in store.objects["datalake"].items() if "/." not in key]
    tables = [pq.read_table(io.BytesIO(content)) for content in files]
    return pa.concat_tables(tables).sort_by("kafka_offset")


def compacted(store: MemoryStore, settled: timedelta = HOUR) -> Compacted:
    return compact(store, "datalake", "raw/transactions", TARGET, settled)


def test_small_files_are_merged_and_their_rows_kept(store: MemoryStore) -> None:
    before, large = rows(store), store.objects["datalake"]["raw/transactions/dt=2026-01-01/part-98"]
    merged = compacted(store)
    # the last file is not settled
    assert merged.files == 23
    left = {key: content for key, content in store.objects["datalake"].items() if "/merged-" not in key}
    assert set(left) == {
        f"raw/transactions/dt=2026-01-0{name}" for name in ("1/.part-99", "1/part-98", "2/part-23")
    }
    assert left["raw/transactions/dt=2026-01-01/part-98"] == large
    assert rows(store).equals(before)
    files = [content for key, content in store.objects["datalake"].items() if "/merged-" in key]
    assert len(files) == merged.into
    # as Flink writes them
    schema = pq.ParquetFile(io.BytesIO(files[0])).schema
    assert "INT96" in {schema.column(number).physical_type for number in range(len(schema))}
    assert merged.into <= 4


def test_what_is_merged_stays_in_its_folder(store: MemoryStore) -> None:
    compacted(store)
    offsets: dict[str, set[int]] = {}
    for key, content in store.objects["datalake"].items():
        if "/merged-" in key:
            found = pq.read_table(io.BytesIO(content))["kafka_offset"].to_pylist()
            offsets.setdefault(key.split("/")[2], set()).update(found)
    # all but the last file's
    assert offsets == {"dt=2026-01-01": set(range(240)), "dt=2026-01-02": set(range(240, 460))}


def test_a_lake_that_was_compacted_stays_as_it_is(store: MemoryStore) -> None:
    before = rows(store)
    # merged files are the newest; compared with them, the last file must not count as settled
    store.now = START + timedelta(days=9)
    compacted(store)
    # what came out small is merged once more
    compacted(store)
    assert compacted(store) == Compacted()
    assert "raw/transactions/dt=2026-01-02/part-23" in store.objects["datalake"]
    assert rows(store).equals(before)


def test_files_that_a_job_may_look_for_stay(store: MemoryStore) -> None:
    assert compacted(store, settled=timedelta(days=2)) == Compacted()


def test_files_with_other_columns_are_left_and_named(store: MemoryStore) -> None:
    key = "raw/transactions/dt=2026-01-01/part-03"
    store.put_object(Bucket="datalake", Key=key, Body=parquet(60, more=[1] * 20))
    before = dict(store.objects["datalake"])
    with pytest.raises(CompactionError, match=r"dt=2026-01-01/part-\d\d and \d+ more: "):
        compacted(store)
    assert before.items() <= store.objects["datalake"].items()


def test_a_merged_file_that_lacks_something_is_not_trusted() -> None:
    contents = [parquet(0), parquet(20)]
    check_merged(merge(contents), contents)
    for wrong in ([parquet(0)], [parquet(0), parquet(21)], [*contents, parquet(40)]):
        with pytest.raises(ValueError, match="the merged file has"):
            check_merged(merge(wrong), contents)
    with pytest.raises(ValueError, match="row groups"):
        check_merged(merge(contents), [])


def test_an_empty_folder_is_fine() -> None:
    assert compacted(MemoryStore()) == Compacted()
