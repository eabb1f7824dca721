"""A renewal of terminal risk takes no merged file of the lake for new records."""

import copy
import io
import random
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
from memory_store import MemoryStore
from test_risk_renewal import NOW, Lake, label, payment, release_something

from flink_jobs.store.compaction import LakeFolder
from flink_jobs.store.merges import MERGED, Merge, record_name
from flink_jobs.store.settings import Settings
from training.kept_days import STATE_KEY, State
from training.promotions import Promotions
from training.risk_renewal import Renewal, Renewed

FOLDERS = ("raw/transactions", "labels")
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class System:
    """A lake with a job, a compaction and renewals, each at the time that `now` gives.

    Attributes:
        read: files of the lake that were read since `renew` was called last, records of merges left out.
        met: files that lay there during any renewal.

    """

    def __init__(self, settings: Settings, store: MemoryStore) -> None:
        self.store, self._settings = store, settings
        self.now = NOW - timedelta(hours=8)
        self.lake = Lake(store)
        self.read: list[str] = []
        self.met: set[str] = set()
        get = store.get_object

        def counting(**request: str) -> dict[str, Any]:
            if request["Bucket"] == "datalake" and "/_merges/" not in request["Key"]:
                self.read.append(request["Key"])
            return get(**request)

        store.get_object = counting  # type: ignore[assignment, method-assign]

    @property
    def files(self) -> dict[str, bytes]:
        return self.store.objects["datalake"]

    def merged(self) -> list[str]:
        return sorted(key for key in self.parquet() if f"/{MERGED}" in key)

    def parquet(self) -> set[str]:
        return {key for key in self.files if "/dt=" in key and "/_merges/" not in key}

    def write(self, folder: str, *messages: dict[str, Any], came: datetime | None = None) -> str:
        """Write a file; gives its name."""
        before = self.parquet()
        self.lake.write(folder, list(messages), came or self.now)
        (key,) = self.parquet() - before
        self.store.modified["datalake", key] = came or self.now
        return key

    def compact(self, target_bytes: int = 1_000_000) -> None:
        """Merge all but the last file, and delete what was merged an hour ago."""
        self.store.now = self.now
        for folder in FOLDERS:
            LakeFolder(self.store, "datalake", folder).compact(target_bytes, timedelta(0), self.now)

    def renew(self) -> Renewed:
        self.store.now = self.now
        self.read.clear()
        self.met |= self.parquet()
        return Renewal(self._settings, self.now).run()

    def table(self) -> bytes:
        """Give the table that is released."""
        released = Promotions(self._settings).releases.released()
        assert released is not None
        assert released.risk is not None
        return self.store.objects["features"][released.risk.key]

    def is_that_of_a_full_count(self) -> bool:
        """Tell whether the table is that of a renewal that has kept nothing."""
        told, kept = self.table(), copy.deepcopy(self.store.objects)
        del self.store.objects["features"][STATE_KEY]
        self.renew()
        counted = self.table()
        self.store.objects.clear()
        self.store.objects.update(kept)
        return counted == told


@pytest.fixture
def system(settings: Settings, store: MemoryStore) -> System:
    """Six files of yesterday and today, which were read, and a label of a fraud."""
    release_something(settings, store, ("t", 1))
    system = System(settings, store)
    for number in range(6):
        came = system.now - 6 * HOUR + number * HOUR
        system.write(
            "raw/transactions", payment(str(number), 8 + number), payment(f"{number}+", 9), came=came
        )
    system.write("labels", label("0", 1))
    system.renew()
    assert len(system.read) == 7
    return system


def test_what_was_read_is_not_read_again_when_it_was_merged(system: System) -> None:
    """Nor when merged files are merged once more, and those that they were made of are gone."""
    table = system.table()
    for _ in range(4):
        system.compact()
        assert system.merged()
        renewed = system.renew()
        assert (system.read, renewed.records, renewed.labels, renewed.days) == ([], 0, 0, [])
        system.now += HOUR + timedelta(minutes=1)
    assert len(system.parquet()) == 4, "one merged file, one alone on its day, and those that came last"
    for number in range(6, 9):
        key = system.write("raw/transactions", payment(str(number), 8 + number))
        assert (system.renew().records, system.read) == (1, [key])
        # a merged file with what came since; the former and its record are deleted in the next hours
        for _ in range(3):
            system.now += HOUR + timedelta(minutes=1)
            system.compact()
            assert (system.renew().records, system.read) == (0, [])
    assert system.table() != table
    assert system.is_that_of_a_full_count()


def test_what_was_merged_is_known_though_no_renewal_ran_since(system: System) -> None:
    """Of files that were read, no one is there any more."""
    for _ in range(3):
        system.compact()
        system.now += DAY
    assert (system.renew().records, system.read) == (0, [])


@pytest.mark.parametrize("gone", [False, True])
def test_what_was_not_read_before_it_was_merged_is_read(system: System, *, gone: bool) -> None:
    """By itself while it is there, or else with what it was merged with."""
    new = [system.write("raw/transactions", payment(f"{name}", 9)) for name in ("new", "newer")]
    last = system.write("raw/transactions", payment("last", 0), came=system.now + timedelta(minutes=1))
    system.write("labels", label("new"))
    system.now += HOUR
    before = set(system.merged())
    system.compact()
    (merged,) = (key for key in set(system.merged()) - before if new[0] in sources(system, key))
    if gone:
        system.now += 2 * HOUR
        system.compact()
        assert new[0] not in system.files
    renewed = system.renew()
    assert len(system.read) == len(set(system.read))
    assert {key for key in system.read if key.startswith("raw/")} == (
        {merged, last} if gone else {*new, last}
    )
    assert renewed.labels == 1
    assert system.is_that_of_a_full_count()
    for _ in range(3):
        system.renew()
        assert not system.read
        system.now += 2 * HOUR
        system.compact()


def test_of_a_lake_that_was_never_read_merged_files_are_read_instead_of_their_sources(
    system: System,
) -> None:
    system.compact()
    del system.store.objects["features"][STATE_KEY]
    renewed = system.renew()
    assert (renewed.records, renewed.labels) == (12, 1)
    assert len(system.read) == len(set(system.read)) == 4
    assert set(system.merged()) < set(system.read)
    system.now += 2 * HOUR
    system.compact()
    assert (system.renew().records, system.read) == (0, [])


@pytest.mark.parametrize("kept", ["all that lay there", "what was merged", "merged files"])
def test_a_state_of_a_former_version_is_gone_on_with(system: System, kept: str) -> None:
    """It names what lay there and was read: sources, merged files, or both."""
    system.compact()
    content = system.store.objects["features"][STATE_KEY]
    state = msgspec.json.decode(content, type=State)
    merged, there = set(system.merged()), system.parquet()
    of_these = {
        "all that lay there": there,
        "what was merged": there - merged,
        "merged files": there - {source for key in merged for source in sources(system, key)},
    }
    state.files = sorted(of_these[kept], reverse=True)
    system.store.objects["features"][STATE_KEY] = msgspec.json.encode(state)
    for _ in range(3):
        assert (system.renew().records, system.read) == (0, [])
        system.now += 2 * HOUR
        system.compact()
    key = system.write("raw/transactions", payment("new", 8))
    assert (system.renew().records, system.read) == (1, [key])
    assert system.is_that_of_a_full_count()


@pytest.mark.parametrize("at", range(4))
def test_what_is_merged_and_deleted_while_it_is_read_is_listed_anew(system: System, at: int) -> None:
    """Whichever of the files it is that the renewal finds no more."""
    new = [system.write("raw/transactions", payment(f"new-{n}", 8 + n, str(n))) for n in range(4)]
    system.write("raw/transactions", payment("last", 0), came=system.now + timedelta(minutes=1))
    get = system.store.get_object

    def compacted_meanwhile(**request: str) -> dict[str, Any]:
        if request["Key"] == new[at]:
            system.store.get_object = get  # type: ignore[method-assign]
            system.compact()
            for key in new:
                del system.files[key]
        return get(**request)

    system.store.get_object = compacted_meanwhile  # type: ignore[assignment, method-assign]
    system.renew()
    assert not any(key in system.files for key in new)
    assert system.is_that_of_a_full_count()
    assert (system.renew().records, system.read) == (0, [])


def test_names_of_what_was_merged_long_ago_are_not_kept(system: System) -> None:
    for _ in range(6):
        system.compact()
        system.now += DAY
        system.renew()
    state = msgspec.json.decode(system.store.objects["features"][STATE_KEY], type=State)
    assert set(state.files) == system.parquet()
    # a merged file of a larger size is known by the record of what it was made of, while that is there
    day = "raw/transactions/dt=2026-06-14"
    (one,) = (key for key in system.merged() if key.startswith(day))
    made = Merge(
        f"dt=2026-06-14/{MERGED}larger.parquet",
        [one.removeprefix("raw/transactions/"), *sources_named(system, one)],
    )
    system.files[f"{day}/{MERGED}larger.parquet"] = system.files[one]
    system.files[f"raw/transactions/{record_name(made.target)}"] = msgspec.json.encode(made)
    assert (system.renew().records, system.read) == (0, [])


@pytest.mark.parametrize("seed", range(4))
def test_in_whatever_order_things_happen_nothing_is_lost_and_no_file_read_in_vain(
    system: System, seed: int
) -> None:
    """Files come, are merged, deleted and brought back by a restore; renewals run, or do not for a while."""
    rows, backup = set[tuple[str, int]](), dict[str, bytes]()
    chance = random.Random(seed)  # noqa: S311 - a test's
    system.store.objects["features"].pop(STATE_KEY)
    system.met.clear()
    for step in range(40):
        for _ in range(chance.randrange(3)):
            name = str(chance.randrange(40))
            came = system.now - chance.randrange(2) * DAY
            system.write("raw/transactions", payment(name, chance.randrange(30), name[0]), came=came)
            if chance.random() < 0.3:
                system.write(
                    "labels", label(str(chance.randrange(40)), fraud=chance.random() < 0.8), came=came
                )
        system.now += HOUR * chance.choice([0.2, 1.1, 2.1])
        happens = chance.random()
        if happens < 0.5:
            # a small size, so that there is one merged file a day or several
            system.compact(chance.choice([8_000, 1_000_000]))
        elif happens < 0.6:
            backup = dict(system.files)
        elif happens < 0.7:
            system.files.update({key: content for key, content in backup.items() if key not in system.files})
        if chance.random() < 0.6 or step == 39:
            met = set(system.met)
            system.renew()
            for key in system.read:
                there = {(key.partition("/dt=")[0], offset) for offset in offsets(system.files[key])}
                assert there - rows or not sources(system, key) <= met, key
                assert key not in met
            for key in system.read:
                rows |= {(key.partition("/dt=")[0], offset) for offset in offsets(system.files[key])}
    assert system.merged()
    assert system.is_that_of_a_full_count()


def offsets(content: bytes) -> list[int]:
    read: list[int] = pq.read_table(io.BytesIO(content))["kafka_offset"].to_pylist()
    return read


def sources_named(system: System, key: str) -> list[str]:
    """Give what was merged into a file, by the names in its record."""
    folder, _, name = key.partition("/dt=")
    content = system.files.get(f"{folder}/{record_name(f'dt={name}')}")
    return [] if content is None else msgspec.json.decode(content, type=Merge).sources


def sources(system: System, key: str) -> set[str]:
    folder = key.partition("/dt=")[0]
    return {f"{folder}/{name}" for name in sources_named(system, key)}
