"""Small files become large ones, and no row is lost, changed or doubled."""

import io
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from memory_store import Killed, MemoryStore, MortalStore
from nobodys_settings import SETTINGS

from clients.reconciliation import OffsetCounts
from flink_jobs import compact_lake
from flink_jobs.store.compaction import Compacted, LakeFolder
from flink_jobs.store.compaction_lock import (
    EXPIRES_AFTER,
    LOCK_KEY,
    CompactionLock,
    CompactionLockedError,
    LastRun,
)
from flink_jobs.store.folders import BucketFolder
from flink_jobs.store.lake import Lake, LakeError
from flink_jobs.store.merged_file import check_merged, merge

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
TARGET = 10_000


def parquet(first_offset: int, rows: int = 20, **columns: list[Any]) -> bytes:
    """A file as Flink writes it; columns are added, or take the place of others."""
    buffer = io.BytesIO()
    offsets = range(first_offset, first_offset + rows)
    pq.write_table(
        pa.table(
            {
                "kafka_partition": [0] * rows,
                "kafka_offset": list(offsets),
                "kafka_time": [START + timedelta(milliseconds=offset) for offset in offsets],
                "payload": [b"\x00\xff%d" % offset for offset in offsets],
            }
            | columns
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


FOLDER = "raw/transactions"


def rows(store: MemoryStore) -> pa.Table:
    """All rows of all files, whether they count or not."""
    files = [
        content
        for key, content in store.objects["datalake"].items()
        if "/." not in key and key.startswith(f"{FOLDER}/dt=")
    ]
    tables = [pq.read_table(io.BytesIO(content)) for content in files]
    return pa.concat_tables(tables).sort_by("kafka_offset")


def lake(store: MemoryStore) -> Lake:
    return Lake(BucketFolder(store, "datalake", FOLDER))


def read(store: MemoryStore) -> list[tuple[int, bytes]]:
    return sorted((record.offset, record.payload) for record in lake(store).records())


def audited(lake: Lake, counts: OffsetCounts) -> tuple[int, int]:
    """How many records an audit finds by now, and how many rows beyond the first of each."""
    lake.count_new(counts, START, START + timedelta(days=2))
    return counts.distinct, counts.repeated


def compacted(store: MemoryStore, settled: timedelta = HOUR) -> Compacted:
    return LakeFolder(store, "datalake", FOLDER).compact(TARGET, settled, store.now)


def parts(store: MemoryStore) -> set[str]:
    """Names of files of which none is a merged one."""
    return {
        key for key in store.objects["datalake"] if key.startswith(f"{FOLDER}/dt=") and "/merged-" not in key
    }


def test_small_files_are_merged_and_their_rows_kept(store: MemoryStore) -> None:
    before, known, small = rows(store), read(store), parts(store)
    large = store.objects["datalake"][f"{FOLDER}/dt=2026-01-01/part-98"]
    store.now = START + timedelta(days=3)
    merged = compacted(store)
    # the last file is not settled
    assert merged == Compacted(files=23, into=merged.into)
    assert merged.into <= 4
    files = [
        content for key, content in store.objects["datalake"].items() if "/merged-" in key and key[-1] == "t"
    ]
    assert len(files) == merged.into
    # as Flink writes them
    schema = pq.ParquetFile(io.BytesIO(files[0])).schema
    assert "INT96" in {schema.column(number).physical_type for number in range(len(schema))}
    # somebody may still be reading what was merged
    store.now += HOUR - timedelta(seconds=1)
    compacted(store)
    assert parts(store) == small
    assert read(store) == known
    store.now += timedelta(seconds=1)
    assert compacted(store).deleted == 23
    assert parts(store) == {
        f"{FOLDER}/dt=2026-01-0{name}" for name in ("1/.part-99", "1/part-98", "2/part-23")
    }
    assert store.objects["datalake"][f"{FOLDER}/dt=2026-01-01/part-98"] == large
    store.now += 2 * HOUR
    compacted(store)
    assert rows(store).equals(before)
    # of merged files that were merged once more nothing is left, and of the others one record
    merged_files = {key for key in store.objects["datalake"] if "/merged-" in key}
    assert len({key for key in merged_files if key[-1] == "t"}) * 2 == len(merged_files)


def test_what_is_merged_stays_in_its_folder(store: MemoryStore) -> None:
    compacted(store)
    offsets: dict[str, set[int]] = {}
    for key, content in store.objects["datalake"].items():
        if "/merged-" in key and "_merges" not in key:
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
    store.now += HOUR
    compacted(store)
    store.now += HOUR
    compacted(store)
    assert compacted(store) == Compacted()
    assert f"{FOLDER}/dt=2026-01-02/part-23" in store.objects["datalake"]
    assert rows(store).equals(before)


def small_lake() -> MortalStore:
    """Two days of four files."""
    store = MortalStore()
    for number in range(8):
        store.now = START + number * 4 * HOUR
        key = f"{FOLDER}/dt=2026-01-0{1 + number // 4}/part-{number:02}"
        store.put_object(Bucket="datalake", Key=key, Body=parquet(20 * number))
    store.now = START + timedelta(days=2)
    return store


def run(store: MortalStore, dies_at: int = -1) -> bool:
    """Run as the command does; tells whether it came to its end."""
    store.left = dies_at
    try:
        lock = CompactionLock(store, "datalake", lambda: store.now)
        LakeFolder(store, "datalake", FOLDER, lock.renew).compact(TARGET, HOUR, store.now)
        lock.release([])
    except Killed:
        return False
    finally:
        store.left = -1
    return True


# one run merges, the next deletes
@pytest.mark.parametrize("earlier_runs", [0, 1])
def test_killed_at_any_step_it_leaves_each_row_once_and_the_next_runs_end_it(earlier_runs: int) -> None:
    """For a reader and an audit that begin then, and for an audit that goes on all the time."""
    each_once = (160, 0)
    ended = False
    for step in range(1, 1000):
        store = small_lake()
        known, going_on, counted = read(store), lake(store), OffsetCounts({0: (0, 160)})
        for _ in range(earlier_runs):
            run(store)
            store.now += HOUR
        assert audited(going_on, counted) == each_once
        ended = run(store, dies_at=step)
        for _ in range(4):
            assert read(store) == known, step
            assert audited(lake(store), OffsetCounts({0: (0, 160)})) == each_once, step
            assert audited(going_on, counted) == each_once, step
            store.now += HOUR
            assert run(store)
        assert rows(store)["kafka_offset"].to_pylist() == list(range(160)), step
        # a merged file and its record a day, the last file, which is not settled, and the lock
        assert len(store.objects["datalake"]) == 6, sorted(store.objects["datalake"])
        if ended:
            break
    assert ended
    assert step > 20


def test_what_an_older_compaction_left_there_twice_is_merged_once(store: MemoryStore) -> None:
    """It had no records, and a killed one left what it had merged."""
    before = rows(store)
    contents = [store.objects["datalake"][f"{FOLDER}/dt=2026-01-01/part-{n:02}"] for n in range(3)]
    store.put_object(Bucket="datalake", Key=f"{FOLDER}/dt=2026-01-01/merged-0.parquet", Body=merge(contents))
    assert len(rows(store)) == len(before) + 60
    store.now = START + timedelta(days=3)
    assert compacted(store).repeats == 60
    for _ in range(3):
        store.now += HOUR
        compacted(store)
    assert rows(store).equals(before)


def test_files_that_a_restored_backup_brings_back_count_once_and_go_again(store: MemoryStore) -> None:
    """Also those that were merged files, and are merged once more."""
    known, before, backup = read(store), rows(store), dict(store.objects["datalake"])
    store.now = START + timedelta(days=3)
    for _ in range(4):
        compacted(store)
        backup |= store.objects["datalake"]
        store.now += HOUR
    for key, content in backup.items():
        if key not in store.objects["datalake"]:
            store.put_object(Bucket="datalake", Key=key, Body=content)
    assert len(rows(store)) > len(before)
    assert read(store) == known
    assert audited(lake(store), OffsetCounts({0: (0, 480), 1: (0, 1)}))[1] == 0
    for _ in range(3):
        compacted(store)
        store.now += HOUR
    assert rows(store).equals(before)


def test_records_of_a_topic_that_was_created_again_are_no_repeats() -> None:
    """Its offsets begin at 0 again, on the same day."""
    store = MemoryStore()
    later = {"kafka_time": [START + timedelta(hours=5, milliseconds=offset) for offset in range(20)]}
    for number, content in enumerate((parquet(0), parquet(0, **later), parquet(0), parquet(100))):
        store.now = START + number * 2 * HOUR
        store.put_object(Bucket="datalake", Key=f"{FOLDER}/dt=2026-01-01/part-{number}", Body=content)
    merged = compacted(store, settled=timedelta(seconds=1))
    assert merged == Compacted(files=3, into=1, repeats=20)
    (name,) = (key for key in store.objects["datalake"] if "dt=2026-01-01/merged-" in key and key[-1] == "t")
    table = pq.read_table(io.BytesIO(store.objects["datalake"][name]))
    assert table["kafka_offset"].to_pylist() == [*range(20), *range(20)]
    assert len(set(table["kafka_time"].to_pylist())) == 40


def test_what_a_merged_file_lacks_is_not_deleted(store: MemoryStore) -> None:
    store.now = START + timedelta(days=3)
    compacted(store)
    small = parts(store)
    merged = sorted(key for key in store.objects["datalake"] if "/merged-" in key and key[-1] == "t")
    store.put_object(Bucket="datalake", Key=merged[0], Body=parquet(0, rows=3))
    store.now += HOUR
    outcome = compacted(store)
    (problem,) = outcome.problems
    assert re.search(r"merged-\w+.parquet lacks rows of dt=2026-01-01/part-\d\d", problem)
    kept = small - parts(store)
    assert outcome.deleted == len(kept) > 0
    assert not any(name.removeprefix(f"{FOLDER}/") in sources_of(store, merged[0]) for name in kept)


def test_a_merged_file_with_the_same_places_of_a_former_topic_lacks_them(store: MemoryStore) -> None:
    store.now = START + timedelta(days=3)
    compacted(store)
    merged = sorted(key for key in store.objects["datalake"] if "/merged-" in key and key[-1] == "t")
    former = {"kafka_time": [START - timedelta(hours=5)] * 240}
    store.put_object(Bucket="datalake", Key=merged[0], Body=parquet(0, rows=240, **former))
    kept = [name.removeprefix(f"{FOLDER}/") for name in parts(store)]
    assert set(sources_of(store, merged[0])) <= set(kept)
    store.now += HOUR
    (problem,) = compacted(store).problems
    assert " lacks rows of dt=2026-01-01/part-" in problem
    assert set(sources_of(store, merged[0])) <= {name.removeprefix(f"{FOLDER}/") for name in parts(store)}


def test_two_at_once_exclude_each_other() -> None:
    store = MemoryStore()

    def lock() -> CompactionLock:
        return CompactionLock(store, "datalake", lambda: store.now)

    def last() -> LastRun:
        return msgspec.json.decode(store.objects["datalake"][LOCK_KEY], type=LastRun)

    first = lock()
    store.now += EXPIRES_AFTER - timedelta(seconds=1)
    with pytest.raises(
        CompactionLockedError, match=r"a compaction runs already: one that began on .* 00:00:00 UTC"
    ):
        lock()
    first.renew()
    store.now += EXPIRES_AFTER - timedelta(seconds=1)
    with pytest.raises(CompactionLockedError):
        lock()
    # it was killed, or so it seems
    store.now += timedelta(seconds=1)
    second = lock()
    for late in (first.renew, lambda: first.release([])):
        with pytest.raises(CompactionLockedError):
            late()
    second.release(["raw/transactions: nothing to merge"])
    assert last().ended_at == store.now
    assert last().outcome == ["raw/transactions: nothing to merge"]
    lock().release([])


@pytest.mark.parametrize("expired", [False, True])
def test_of_two_that_see_the_lock_free_one_gets_it(expired: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 - pytest's
    store = MemoryStore()
    if expired:
        CompactionLock(store, "datalake", lambda: store.now)
        store.now += EXPIRES_AFTER
    get = store.get_object
    rivals: list[CompactionLock] = []

    def found_by_both(**request: str) -> dict[str, Any]:
        monkeypatch.setattr(store, "get_object", get)
        try:
            return get(**request)
        finally:
            rivals.append(CompactionLock(store, "datalake", lambda: store.now))

    monkeypatch.setattr(store, "get_object", found_by_both)
    with pytest.raises(CompactionLockedError):
        CompactionLock(store, "datalake", lambda: store.now)
    rivals[0].renew()


def test_a_lock_that_was_written_by_a_repeated_request_is_had(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    put = store.put_object

    def put_twice(**request: Any) -> None:  # noqa: ANN401 - boto3's
        put(**request)
        put(**request)

    monkeypatch.setattr(store, "put_object", put_twice)
    lock = CompactionLock(store, "datalake", lambda: store.now)
    lock.renew()
    lock.release([])


def test_files_that_a_job_may_look_for_stay(store: MemoryStore) -> None:
    assert compacted(store, settled=timedelta(days=2)) == Compacted()


def test_files_of_a_release_with_another_column_are_merged_with_the_others(store: MemoryStore) -> None:
    key = "raw/transactions/dt=2026-01-01/part-03"
    store.put_object(Bucket="datalake", Key=key, Body=parquet(60, more=[1] * 20))
    known = read(store)
    outcome = compacted(store)
    assert (outcome.problems, outcome.repeats) == ((), 0)
    store.now += 2 * HOUR
    compacted(store)
    assert parts(store).isdisjoint({key})
    assert read(store) == known
    more = [
        (offset.as_py(), value.as_py())
        for content in store.objects["datalake"].values()
        if content[:4] == b"PAR1" and "more" in (table := pq.read_table(io.BytesIO(content))).column_names
        for offset, value in zip(table["kafka_offset"], table["more"], strict=True)
    ]
    assert {offset for offset, value in more if value == 1} == set(range(60, 80))
    assert {value for offset, value in more if not 60 <= offset < 80} == {None}


def test_files_with_a_column_of_another_type_are_left_and_named(store: MemoryStore) -> None:
    for number, more in ((2, [1] * 20), (3, ["one"] * 20)):
        key = f"raw/transactions/dt=2026-01-01/part-{number:02}"
        store.put_object(Bucket="datalake", Key=key, Body=parquet(20 * number, more=more))
    before, known = dict(store.objects["datalake"]), read(store)
    outcome = compacted(store)
    (problem,) = outcome.problems
    assert re.search(r"dt=2026-01-01/part-\d\d and \d+ more are left as they are: ", problem)
    assert before.items() <= store.objects["datalake"].items()
    # they keep back no others
    assert outcome.files > 12
    assert read(store) == known


def damaged(content: bytes) -> bytes:
    """Its footer is whole, its pages are not."""
    return content[:60] + b"\xff" * 60 + content[120:]


@pytest.mark.parametrize("damage", [lambda content: content[:-10], damaged, lambda _: b"", lambda _: b"text"])
def test_a_file_that_cannot_be_read_is_named_and_keeps_back_no_others(
    store: MemoryStore, damage: Callable[[bytes], bytes]
) -> None:
    key = f"{FOLDER}/dt=2026-01-01/part-03"
    content = store.objects["datalake"][key]
    store.objects["datalake"][key] = damage(content)
    store.now = START + timedelta(days=3)
    outcome = compacted(store)
    (problem,) = outcome.problems
    assert re.match(rf"s3://datalake/{key} and \d+ more are left as they are: .", problem)
    assert outcome.files > 12
    with pytest.raises(
        LakeError, match=r"dt=2026-01-01/part-03 is no Parquet that can be read: .*$"
    ) as error:
        read(store)
    assert "\n" not in f"{error.value}{problem}"
    # put back from a backup
    store.objects["datalake"][key] = content
    assert [offset for offset, _ in read(store) if offset < 480] == list(range(480))
    store.now += HOUR
    assert compacted(store).problems == ()


def test_a_merged_file_that_cannot_be_read_keeps_its_sources(store: MemoryStore) -> None:
    known = read(store)
    store.now = START + timedelta(days=3)
    compacted(store)
    merged = min(key for key in store.objects["datalake"] if "/merged-" in key and key[-1] == "t")
    sources = sources_of(store, merged)
    store.objects["datalake"][merged] = damaged(store.objects["datalake"][merged])
    store.now += HOUR
    outcome = compacted(store)
    assert outcome.deleted == 23 - len(sources)
    assert re.match(
        rf"s3://datalake/{merged} cannot be read, so what was merged into it stays: .* "
        rf"Delete the former and s3://datalake/\S+{merged.rpartition('/')[2]}\.json to merge anew$",
        outcome.problems[0],
    )
    assert {f"{FOLDER}/{name}" for name in sources} <= parts(store)
    # as it says
    for key in (merged, f"{FOLDER}/_merges/{merged.removeprefix(FOLDER + '/')}.json"):
        del store.objects["datalake"][key]
    assert read(store) == known
    assert compacted(store).problems == ()
    assert read(store) == known


def sources_of(store: MemoryStore, merged: str) -> list[str]:
    record = store.objects["datalake"][f"{FOLDER}/_merges/{merged.removeprefix(FOLDER + '/')}.json"]
    found: list[str] = msgspec.json.decode(record)["sources"]
    return found


def test_what_is_no_file_of_a_job_is_neither_merged_nor_does_it_tell_when_the_job_wrote_last() -> None:
    store = MemoryStore()
    for number in range(4):
        store.now = START + number * timedelta(minutes=10)
        store.put_object(
            Bucket="datalake", Key=f"{FOLDER}/dt=2026-01-01/part-{number}", Body=parquet(20 * number)
        )
    store.now = START + timedelta(days=3)
    others = {f"{FOLDER}/dt=2026-01-01/notes.txt": b"x", f"{FOLDER}/dt=2026-01-01/copy.parquet": parquet(0)}
    others |= {
        f"{FOLDER}/{at}": parquet(0) for at in ("mine/part-0", "mine/part-1", "old/dt=2026-01-01/part-0")
    }
    for key, content in others.items():
        store.put_object(Bucket="datalake", Key=key, Body=content)
    # all that the job wrote, it wrote within the hour before it stopped
    assert compacted(store) == Compacted()
    assert compacted(store, settled=timedelta(minutes=1)).files == 3
    store.now += HOUR
    compacted(store)
    assert others.items() <= store.objects["datalake"].items()


def test_times_past_2262_are_merged_as_they_are() -> None:
    far = {"event_time": pa.array([datetime(2600, 6, 13)] * 20, pa.timestamp("us"))}  # noqa: DTZ001 - UTC
    contents = [parquet(first, **far) for first in (0, 20)]
    merged = pq.ParquetFile(io.BytesIO(merge(contents)), coerce_int96_timestamp_unit="us").read()
    assert set(merged["event_time"].to_pylist()) == {datetime(2600, 6, 13)}  # noqa: DTZ001 - UTC


def test_the_command_goes_on_after_a_problem_and_tells_it_at_the_end(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compact_lake, "load_settings", lambda: SETTINGS)
    monkeypatch.setattr(compact_lake, "s3_client", lambda _: store)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    store.objects["datalake"][f"{FOLDER}/_merges/dt=2026-01-01/merged-0.parquet.json"] = b"{"
    for number in range(3):
        store.now = START + number * 2 * HOUR
        content = b"text" if number == 1 else parquet(0)
        for folder in ("labels", "alerts"):
            body = content if folder == "labels" else parquet(20 * number)
            store.put_object(Bucket="datalake", Key=f"{folder}/dt=2026-01-01/part-{number}", Body=body)
    assert compact_lake.main([]) == 1
    shown = capsys.readouterr()
    assert "s3://datalake/alerts: 2 files became 1\n" in shown.out
    first, second = shown.err.splitlines()
    merges = f"s3://datalake/{FOLDER}/_merges/dt=2026-01-01"
    assert first.startswith(f"compact_lake: {merges}/merged-0.parquet.json: ")
    assert second.startswith("compact_lake: s3://datalake/labels/dt=2026-01-01/part-1 and 1 more are left ")
    last = msgspec.json.decode(store.objects["datalake"][LOCK_KEY], type=LastRun)
    assert last.ended_at is not None
    assert [f"compact_lake: {line}" for line in last.outcome[-2:]] == [first, second]


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
