"""Serving folds record by record, packs and unpacks; training replays: the same numbers, to the last bit."""

import json
from dataclasses import dataclass
from datetime import date

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_jobs.domain.features import FEATURE_NAMES, NO_RISK, compute_features
from flink_jobs.domain.history import DAY_S, History
from flink_jobs.domain.terminal_risk import TerminalRisk
from flink_jobs.domain.transaction import parse_transaction
from training.dataset import from_frame, iter_transactions
from training.examples import prepare
from training.replay import replay, replay_dataset
from training.simulate import simulate
from training.terminal_risk import TerminalLabels, to_parquet

START_S = 19_800 * int(DAY_S)
NOW_S = 4e9


@dataclass(frozen=True)
class Payment:
    customer_id: str
    time_s: float
    amount: float
    transaction_id: str
    risk: tuple[float, ...]


def served(payments: list[Payment], batches: list[int]) -> np.ndarray:
    """Fold as a job does: batches, each opening and closing the histories that it touches."""
    state: dict[str, bytes] = {}
    rows: list[list[float]] = []
    rest = list(payments)
    sizes = iter([*batches, len(payments) + 1])
    while rest:
        size = next(sizes)
        batch, rest = rest[:size], rest[size:]
        opened: dict[str, History] = {}
        for each in batch:
            packed = state.get(each.customer_id)
            history = opened.setdefault(
                each.customer_id, History() if packed is None else History.from_bytes(packed)
            )
            rows.append(compute_features(history, each.risk, each.time_s, each.amount, each.transaction_id))
        state.update((customer_id, history.to_bytes()) for customer_id, history in opened.items())
    return np.array(rows, dtype=np.float32).reshape(-1, len(FEATURE_NAMES))


def replayed(payments: list[Payment]) -> np.ndarray:
    return replay(
        [each.customer_id for each in payments],
        [each.time_s for each in payments],
        [each.amount for each in payments],
        [each.transaction_id for each in payments],
        np.array([each.risk for each in payments], dtype=np.float32).reshape(-1, len(NO_RISK)),
    )


float32 = st.floats(0, 1, width=32)
payments_in_any_order = st.lists(
    st.builds(
        Payment,
        customer_id=st.sampled_from(["a", "b", "c"]),
        # few distinct instants over fifty days: ties, late records, and pruned ones
        time_s=st.integers(0, 200).map(lambda n: START_S + n * 21_600.0)
        | st.floats(START_S, START_S + 50 * DAY_S),
        amount=st.floats(0, 1e6) | st.sampled_from([0.0, 0.1, 9.99]),
        transaction_id=st.integers(0, 30).map(str),
        risk=st.tuples(*[float32] * len(NO_RISK)),
    ),
    max_size=80,
)


@settings(deadline=None)  # other work may hold the machine up
@given(payments_in_any_order, st.lists(st.integers(1, 9), max_size=80), st.data())
def test_batches_and_packing_change_no_bit(
    payments: list[Payment], batches: list[int], data: st.DataObject
) -> None:
    if payments:
        repeats = data.draw(st.lists(st.sampled_from(payments), max_size=10))
        payments = payments + repeats
    assert served(payments, batches).tobytes() == replayed(payments).tobytes()


@settings(deadline=None)  # other work may hold the machine up
@given(payments_in_any_order)
def test_a_repeat_has_the_features_of_the_first(payments: list[Payment]) -> None:
    ordered = sorted(payments, key=lambda each: each.time_s)
    for number, each in enumerate(ordered):
        rows = replayed([*ordered[: number + 1], each])
        assert rows[-1].tobytes() == rows[-2].tobytes()


def test_records_off_the_wire_have_the_features_that_were_trained_on() -> None:
    """From a table, through JSON, the parser and the served snapshot, as the job goes."""
    frame = simulate(100, 100, 50, date(2024, 3, 1), 0)
    dataset = from_frame(frame, "simulated", "")
    labels = TerminalLabels(
        dataset.frame["terminal_id"].tolist(), dataset.days(), dataset.frame["is_fraud"].to_numpy()
    )
    days = dataset.days()
    snapshot = labels.snapshot(int(days[0]), int(days[-1] - days[0]) + 1)
    risk = TerminalRisk.from_parquet(to_parquet(snapshot))
    payments = []
    for message, _ in iter_transactions(dataset):
        transaction = parse_transaction(json.dumps(message).encode(), NOW_S)
        assert transaction == parse_transaction(msgspec.json.encode(message), NOW_S)
        assert transaction.customer_id is not None
        assert transaction.terminal_id is not None
        time_s = transaction.time_s
        payments.append(
            Payment(
                transaction.customer_id,
                time_s,
                transaction.amount,
                transaction.transaction_id,
                risk.lookup(transaction.terminal_id, int(time_s // DAY_S)),
            )
        )
    trained = replay_dataset(dataset, labels)
    assert trained.any(axis=0).all(), "each feature has to take part"
    assert served(payments, [17] * len(payments)).tobytes() == trained.tobytes()


def test_what_lies_before_the_windows_is_left_out_without_a_trace() -> None:
    frame = simulate(100, 100, 100, date(2024, 1, 1), 0)
    dataset = from_frame(frame, "simulated", "")
    examples = prepare(dataset, train_days=14, test_days=7, validate=False)
    labels = TerminalLabels(
        dataset.frame["terminal_id"].tolist(), dataset.days(), dataset.frame["is_fraud"].to_numpy()
    )
    whole = replay_dataset(dataset, labels)
    assert len(examples.matrix) < len(whole)
    kept = len(examples.matrix) - examples.split.train.start
    assert examples.matrix[-kept:].tobytes() == whole[-kept:].tobytes()
