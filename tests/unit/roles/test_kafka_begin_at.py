"""Empty partitions of a stopped broker begin elsewhere; those with records stay as they are."""

from pathlib import Path

import pytest
from ansible_modules import load

ROLE = Path(__file__).parents[3] / "ansible/roles/kafka"
kafka_begin_at = load("kafka_begin_at", ROLE / "library/kafka_begin_at.py")


def partition(data_dir: Path, name: str, base: int = 0, content: bytes = b"") -> Path:
    folder = data_dir / name
    folder.mkdir()
    for suffix in ("index", "timeindex", "log"):
        (folder / f"{base:020}.{suffix}").write_bytes(content if suffix == "log" else b"")
    (folder / f"{base:020}.snapshot").write_bytes(b"")
    (folder / "leader-epoch-checkpoint").write_text("0\n1\n0 0\n")
    (folder / "partition.metadata").write_text("version: 0\n")
    return folder


def begun(data_dir: Path, offsets: dict[str, dict[str, int]]) -> list[str]:
    found = kafka_begin_at.find_beginnings(data_dir, offsets)
    for each in found:
        kafka_begin_at.begin(each)
    return [each.folder.name for each in found]


def test_an_empty_partition_begins_elsewhere_and_once(tmp_path: Path) -> None:
    first, other = (partition(tmp_path, f"payments-{number}") for number in (0, 1))
    offsets = {"payments": {"0": 5_000_000_000}}
    assert begun(tmp_path, offsets) == ["payments-0"]
    assert sorted(file.name for file in first.iterdir()) == [
        "00000000005000000000.index",
        "00000000005000000000.log",
        "00000000005000000000.timeindex",
        "partition.metadata",
    ]
    assert (other / f"{0:020}.log").exists()
    assert begun(tmp_path, offsets) == []


def test_a_run_that_was_cut_off_is_made_up_for(tmp_path: Path) -> None:
    folder = partition(tmp_path, "payments-0")
    (folder / f"{0:020}.index").rename(folder / f"{7:020}.index")
    assert begun(tmp_path, {"payments": {"0": 7}}) == ["payments-0"]
    assert not list(folder.glob(f"{0:020}.*"))


@pytest.mark.parametrize(
    ("base", "content", "why"),
    [(0, b"record", "has records"), (3, b"", "begins at offset 3 already"), (7, b"record", "has records")],
)
def test_what_has_or_had_records_is_refused(tmp_path: Path, base: int, content: bytes, why: str) -> None:
    partition(tmp_path, "payments-0")
    partition(tmp_path, "payments-1", base, content)
    with pytest.raises(ValueError, match=why):
        begun(tmp_path, {"payments": {"0": 7, "1": 7}})
    assert (tmp_path / "payments-0" / f"{0:020}.log").exists()


def test_several_segments_are_refused(tmp_path: Path) -> None:
    folder = partition(tmp_path, "payments-0")
    (folder / f"{9:020}.log").touch()
    with pytest.raises(ValueError, match="has records"):
        begun(tmp_path, {"payments": {"0": 7}})


def test_a_replica_that_is_not_there_yet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has this broker made its replica yet"):
        begun(tmp_path, {"payments": {"0": 7}})


def test_a_broker_that_runs_or_was_killed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="runs, or was killed"):
        kafka_begin_at.check_stopped(tmp_path)
    (tmp_path / ".kafka_cleanshutdown").touch()
    kafka_begin_at.check_stopped(tmp_path)
