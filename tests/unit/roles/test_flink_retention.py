"""Which snapshots are deleted: those of ended jobs that neither a job nor one of the newest needs."""

from pathlib import Path
from typing import Any

import pytest
from ansible_modules import load

FILE = Path(__file__).parents[3] / "ansible/roles/flink_job/module_utils/flink_retention.py"
flink_retention = load("flink_retention", FILE)

JOBS = [f"{number:032x}" for number in range(1, 9)]
CHECKPOINTS, SAVEPOINTS = "s3://flink/checkpoints/score", "s3://flink/savepoints/score"
LATER = 1_000_000


class Store:
    """Files by folder and path: content, and when it was written."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], tuple[bytes, float]] = {}

    def add(self, folder: str, path: str, written_s: float, content: bytes = b"") -> None:
        self.files[folder, path] = content, written_s

    def list_files(self, folder: str) -> list[tuple[str, float]]:
        return [(path, written_s) for (place, path), (_, written_s) in self.files.items() if place == folder]

    def read(self, folder: str, path: str) -> bytes:
        return self.files[folder, path][0]

    def checkpoint(self, job: str, written_s: float, names: str = "") -> None:
        self.add(CHECKPOINTS, f"{job}/shared/4711", written_s - 1)
        self.add(CHECKPOINTS, f"{job}/chk-7/_metadata", written_s, b"\0\x2a" + names.encode() + b"\0")

    def savepoint(self, name: str, written_s: float, names: str = "") -> None:
        self.add(SAVEPOINTS, f"{name}/_metadata", written_s, names.encode())


def deleted(store: Store, in_use: list[str], **options: Any) -> list[str]:  # noqa: ANN401
    units = flink_retention.list_units(store, [CHECKPOINTS, SAVEPOINTS])
    arguments = {"keep": 0, "settled_before_s": LATER} | options
    unneeded = flink_retention.find_unneeded(
        units, in_use, read=lambda unit, path: store.read(unit.folder, path), **arguments
    )
    return [unit.name for unit in unneeded]


def test_snapshots_of_ended_jobs_are_deleted_and_those_in_use_stay() -> None:
    store = Store()
    for number, job in enumerate(JOBS[:3]):
        store.checkpoint(job, number)
    store.savepoint("savepoint-00000a-0123456789ab", 5)
    assert deleted(store, [JOBS[2], ""]) == [*JOBS[:2], "savepoint-00000a-0123456789ab"]
    # a job that has no checkpoint yet has only what it began with
    began = f"{SAVEPOINTS}/savepoint-00000a-0123456789ab"
    assert deleted(store, [JOBS[7], began]) == JOBS[:3]


def test_what_a_needed_snapshot_names_stays_and_so_on() -> None:
    store = Store()
    store.checkpoint(JOBS[0], 1)
    store.checkpoint(JOBS[1], 2, names=f"{CHECKPOINTS}/{JOBS[0]}/shared/4711")
    store.checkpoint(JOBS[2], 3, names=f"\0{CHECKPOINTS}/{JOBS[1]}/shared/4711")
    store.checkpoint(JOBS[3], 4)
    assert deleted(store, [JOBS[2]]) == [JOBS[3]]


def test_the_newest_snapshots_stay_to_go_back_to() -> None:
    store = Store()
    for number, job in enumerate(JOBS, start=1):
        store.checkpoint(job, number)
    # written to last, but never complete
    store.add(CHECKPOINTS, f"{'f' * 32}/chk-1/part", 90)
    assert deleted(store, [], keep=3) == [*JOBS[:5], "f" * 32]
    assert deleted(store, [], keep=100) == ["f" * 32]


def test_what_is_being_written_stays_and_what_is_no_snapshot_is_not_looked_at() -> None:
    store = Store()
    store.checkpoint(JOBS[0], 50)
    store.checkpoint(JOBS[1], 99)
    store.add(CHECKPOINTS, "notes.txt", 1)
    store.add(CHECKPOINTS, f"backup-{JOBS[4]}/chk-1/_metadata", 1)
    assert deleted(store, [], settled_before_s=99) == [JOBS[0]]


def test_a_checkpoint_that_vanished_is_not_taken_for_one_that_names_nothing() -> None:
    store = Store()
    store.checkpoint(JOBS[0], 1)
    store.checkpoint(JOBS[1], 2, names=f"{CHECKPOINTS}/{JOBS[0]}/shared/4711")
    units = flink_retention.list_units(store, [CHECKPOINTS])
    del store.files[CHECKPOINTS, f"{JOBS[1]}/chk-7/_metadata"]
    with pytest.raises(KeyError):
        flink_retention.find_unneeded(
            units, [JOBS[1]], 0, LATER, lambda unit, path: store.read(unit.folder, path)
        )
