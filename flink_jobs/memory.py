"""How much memory of a TaskManager's Python one subtask may fill with copies."""

import os

# Libraries, a model and terminal risk have the rest; while they are renewed, twice.
_COPIES_PART = 4
# What role flink gives by default: for tests, which run without its unit.
_DEFAULT_PYTHON_MB, _DEFAULT_SLOTS = 500, 2


def copies_bytes() -> int:
    """Give the bytes that a subtask's copies of histories may take: its slot's share of Python's memory.

    The TaskManager's unit says in its environment how much memory Python has, and how many slots share it.
    """
    python_mb = int(os.environ.get("TASKMANAGER_PYTHON_MB", _DEFAULT_PYTHON_MB))
    slots = int(os.environ.get("TASKMANAGER_SLOTS", _DEFAULT_SLOTS))
    return python_mb * 1024 * 1024 // _COPIES_PART // slots
