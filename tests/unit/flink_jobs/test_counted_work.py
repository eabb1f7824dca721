"""The work of scoring a record does not grow unseen: it is counted, not timed, as machines are noisy."""

import json
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from buckets_in_memory import HistoriesInMemory
from counted import count_c_calls, count_instructions
from manifests import manifest_with
from numpy.typing import NDArray

from flink_jobs.domain.batch import RECORD_SEPARATOR, unpack_batch
from flink_jobs.domain.manifest import Manifest
from flink_jobs.domain.scoring import Scorer
from flink_jobs.domain.terminal_risk import SCHEMA, TerminalRisk
from flink_jobs.store.settings import CONTROL_SHARE

RECORDS_A_BATCH = 50
CUSTOMERS = 25
# For one record: instructions of Python's bytecode, and calls of functions written in C.
# Who changes them by more than a tenth writes the new figure here, and the reason into CHANGELOG.md.
INSTRUCTIONS = 521
C_CALLS = 37.6
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


@pytest.fixture
def work() -> Callable[[], object]:
    """Score the next batch for customers with a month behind them."""
    manifest = manifest_with()
    known = [
        {"terminal_id": f"t{terminal}", "day": 17_713 + day} | dict.fromkeys(SCHEMA.names[2:], 0.25)
        for terminal in range(5)
        for day in range(4)
    ]
    risk = TerminalRisk(pa.Table.from_pylist(known, SCHEMA))
    scorer = Scorer(StandInModel(manifest), risk, "r")  # type: ignore[arg-type]
    store = HistoriesInMemory()
    for number in range(60):
        scorer.score(unpack_batch(batch(number)), store, 1_800_000_000.0)
    # each one is new: a repeat takes another way
    following = iter([batch(number) for number in range(60, 70)])
    return lambda: scorer.score(
        unpack_batch(next(following)), store, 1_800_000_000.0, control_share=CONTROL_SHARE
    )


@pytest.mark.parametrize(
    ("counted", "recorded"), [(count_instructions, INSTRUCTIONS), (count_c_calls, C_CALLS)]
)
def test_a_record_takes_no_more_work_than_is_written_down(
    work: Callable[[], object], counted: Callable[[Callable[[], object]], int], recorded: float
) -> None:
    found = counted(work) / RECORDS_A_BATCH
    assert recorded * (1 - TOLERANCE) <= found <= recorded * (1 + TOLERANCE), (
        f"{counted.__name__}: {found:.1f} a record, {recorded} written down"
    )
