"""The work of scoring a record does not grow unseen: it is counted, not timed, as machines are noisy."""

import json
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest
from map_state import MapState
from numpy.typing import NDArray

from flink_jobs.domain.batch import RECORD_SEPARATOR, unpack_batch
from flink_jobs.domain.features import FEATURE_NAMES
from flink_jobs.domain.manifest import Manifest
from flink_jobs.domain.scoring import Scorer
from flink_jobs.domain.stored_histories import StoredHistories
from flink_jobs.domain.terminal_risk import TerminalRisk

RECORDS_A_BATCH = 50
CUSTOMERS = 25
# For one record: instructions of Python's bytecode, and calls of functions written in C.
# Who changes them by more than a tenth writes the new figure here, and the reason into CHANGELOG.md.
INSTRUCTIONS = 423
C_CALLS = 32.8
TOLERANCE = 0.1


class StandInModel:
    """A model whose own work is not counted."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest

    def score(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.zeros(len(matrix), dtype=np.float32)


def batch(number: int) -> bytes:
    """Two records of each customer, an hour after those of the batch before."""
    first = number * RECORDS_A_BATCH
    packed = []
    for offset in range(first, first + RECORDS_A_BATCH):
        payload = json.dumps(
            {
                "transaction_id": str(offset),
                "event_time": f"2018-07-{1 + number // 24:02d}T{number % 24:02d}:00:{offset % 50:02d}Z",
                "customer_id": f"c{offset % CUSTOMERS}",
                "terminal_id": f"t{offset % 7}",
                "amount": 10.0 + offset % 90,
            }
        )
        packed.append(f"{offset % 8} {offset} 1700000000000 0 {payload}")
    return RECORD_SEPARATOR.join(packed).encode()


def count_instructions(work: Callable[[], object]) -> int:
    counted = 0

    def local(_frame: FrameType, event: str, _argument: object) -> Any:  # noqa: ANN401 - a trace function
        nonlocal counted
        counted += event == "opcode"
        return local

    def called(frame: FrameType, _event: str, _argument: object) -> Any:  # noqa: ANN401 - a trace function
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return local

    before = sys.gettrace()
    sys.settrace(called)
    try:
        work()
    finally:
        sys.settrace(before)
    return counted


def count_c_calls(work: Callable[[], object]) -> int:
    counted = 0

    def profile(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal counted
        counted += event == "c_call"

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(before)
    return counted


@pytest.fixture
def work() -> Callable[[], object]:
    """Score one batch for customers with a month behind them."""
    manifest = Manifest(
        version="v",
        created_at="2018-07-01T00:00:00Z",
        kind="history",
        features=list(FEATURE_NAMES),
        threshold=0.5,
        metrics={},
        data={},
        libraries={},
        files={},
        fingerprint="",
    )
    scorer = Scorer(StandInModel(manifest), TerminalRisk.empty())  # type: ignore[arg-type]
    store = StoredHistories(MapState(), MapState(), 1_000_000)
    for number in range(60):
        scorer.score(unpack_batch(batch(number)), store, 1_800_000_000.0)
    packed = batch(60)
    return lambda: scorer.score(unpack_batch(packed), store, 1_800_000_000.0)


@pytest.mark.parametrize(
    ("count", "recorded"), [(count_instructions, INSTRUCTIONS), (count_c_calls, C_CALLS)]
)
def test_a_record_takes_no_more_work_than_is_written_down(
    work: Callable[[], object], count: Callable[[Callable[[], object]], int], recorded: float
) -> None:
    found = count(work) / RECORDS_A_BATCH
    assert recorded * (1 - TOLERANCE) <= found <= recorded * (1 + TOLERANCE), (
        f"{count.__name__}: {found:.1f} a record, {recorded} written down"
    )
