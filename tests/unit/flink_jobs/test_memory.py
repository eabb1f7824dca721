"""A subtask's copies fit the memory that its TaskManager's unit says Python has."""

import pytest

from flink_jobs.memory import copies_bytes

MB = 1024 * 1024


@pytest.mark.parametrize(("python_mb", "slots", "copies_mb"), [(500, 2, 62.5), (500, 1, 125), (2000, 4, 125)])
def test_slots_share_a_quarter_of_pythons_memory(
    monkeypatch: pytest.MonkeyPatch, python_mb: int, slots: int, copies_mb: float
) -> None:
    monkeypatch.setenv("TASKMANAGER_PYTHON_MB", str(python_mb))
    monkeypatch.setenv("TASKMANAGER_SLOTS", str(slots))
    assert copies_bytes() == copies_mb * MB
