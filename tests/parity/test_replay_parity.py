"""Serving folds batch by batch, training replays: both get the same features, to the last bit."""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import msgspec
import numpy as np
import pytest
from buckets_in_memory import HistoriesInMemory
from hypothesis import given
from hypothesis import strategies as st
from manifests import manifest_with

from flink_jobs.domain import history
from flink_jobs.domain.features import FEATURE_NAMES, NO_RISK
from flink_jobs.domain.history import DAY_S, MOST_ENTRIES
from flink_jobs.domain.scoring import Record, Scorer
from flink_jobs.domain.stored_histories import StoredHistories
from flink_jobs.domain.terminal_risk import TerminalRisk
from flink_jobs.domain.transaction import DEFAULT_CURRENCY, parse_transaction
from flink_jobs.store.lake_files import LakeRecord
from training.dataset import from_frame
from training.examples import prepare
from training.labelled_data import LabelledData
from training.lake_transactions import read_lake_transactions
from training.messages import iter_transactions
from training.replay import replay, replay_dataset
from training.simulate import simulate
from training.terminal_labels import TerminalLabels, to_parquet

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START_S = 19_800 * int(DAY_S)
NOW_S = 4e9


@dataclass(frozen=True)
class Payment:
    customer_id: str
    time_s: float
    amount: float
    transaction_id: str
    risk: tuple[float, ...]


class Model:
    """A model that keeps the features that it is given to score."""

    def __init__(self) -> None:
        self.manifest = manifest_with(threshold=2.0)
        self.seen: list[np.ndarray] = []

    def score(self, matrix: np.ndarray) -> np.ndarray:
        self.seen.append(matrix)
        return np.zeros(len(matrix), dtype=np.float32)


class Risks:
    """A table of risk that has what each payment itself says; a payment's terminal is its number."""

    def __init__(self, payments: list[Payment]) -> None:
        self._payments = payments

    def as_of(self, terminal_ids: list[str], _days: np.ndarray) -> np.ndarray:
        return np.array([self._payments[int(name)].risk for name in terminal_ids], dtype=np.float32)


def few_copies() -> StoredHistories:
    """Make histories with room for few copies: most are read back from both parts of the state."""
    return HistoriesInMemory(3000)


def served(
    records: list[Record],
    risk: TerminalRisk | Risks,
    batches: list[int],
    histories: StoredHistories | None = None,
) -> np.ndarray:
    """Score as a job does, batch by batch, from the bytes on the wire."""
    model = Model()
    scorer = Scorer(model, risk)  # type: ignore[arg-type]
    if histories is None:
        histories = few_copies()
    rest = list(records)
    sizes = iter([*batches, len(records) + 1])
    while rest:
        size = next(sizes)
        batch, rest = rest[:size], rest[size:]
        assert len(scorer.score(batch, histories, NOW_S).predictions) == len(batch)
    return np.concatenate([*model.seen, np.empty((0, len(FEATURE_NAMES)), dtype=np.float32)])


def record(message: dict[str, object]) -> Record:
    payload = msgspec.json.encode(message)
    return Record(0, 0, int(NOW_S * 1000), len(payload), payload)


def records_of(payments: list[Payment]) -> list[Record]:
    return [record(message(each, str(number))) for number, each in enumerate(payments)]


def message(payment: Payment, terminal_id: str = "t") -> dict[str, object]:
    return {
        "transaction_id": payment.transaction_id,
        "event_time": EPOCH + timedelta(microseconds=round(payment.time_s * 1e6)),
        "amount": payment.amount,
        "customer_id": payment.customer_id,
        "terminal_id": terminal_id,
    }


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
        | st.integers(0, 50 * int(DAY_S) * 10**6).map(lambda us: (START_S * 10**6 + us) / 1e6),
        amount=st.floats(0, 1e6) | st.sampled_from([0.0, 0.1, 9.99]),
        transaction_id=st.integers(0, 30).map(str),
        risk=st.tuples(*[float32] * len(NO_RISK)),
    ),
    max_size=80,
)


@pytest.mark.parametrize("most_entries", [6, MOST_ENTRIES])
@given(payments_in_any_order, st.lists(st.integers(1, 9), max_size=80), st.data())
def test_batches_have_the_features_of_a_replay_to_the_last_bit(
    most_entries: int, payments: list[Payment], batches: list[int], data: st.DataObject
) -> None:
    if payments:
        repeats = data.draw(st.lists(st.sampled_from(payments), max_size=10))
        payments = payments + repeats
    with pytest.MonkeyPatch.context() as patch:
        # with few, histories of more payments are summed
        patch.setattr(history, "MOST_ENTRIES", most_entries)
        found = served(records_of(payments), Risks(payments), batches)
        assert found.tobytes() == replayed(payments).tobytes()


@given(payments_in_any_order)
def test_a_repeat_has_the_features_of_the_first(payments: list[Payment]) -> None:
    ordered = sorted(payments, key=lambda each: each.time_s)
    for number, each in enumerate(ordered):
        rows = replayed([*ordered[: number + 1], each])
        assert rows[-1].tobytes() == rows[-2].tobytes()


class Came:
    """A lake that is no files."""

    name, currency = "lake", DEFAULT_CURRENCY

    def __init__(self, records: list[Record]) -> None:
        self._records = records

    def records(self, _since_s: float | None) -> list[LakeRecord]:
        return [LakeRecord(each.payload, int(NOW_S * 1e6), 0, at) for at, each in enumerate(self._records)]


@given(payments_in_any_order, st.data())
def test_the_lake_is_folded_as_the_job_folds(payments: list[Payment], data: st.DataObject) -> None:
    """Repeats change nothing, and several transactions of one id are all in their customers' histories."""
    payments = sorted(payments, key=lambda each: each.time_s)
    again = data.draw(st.lists(st.sampled_from(payments), max_size=10)) if payments else []
    records = [record(message(each)) for each in payments + again]
    firsts = sorted({each.payload: at for at, each in reversed([*enumerate(records)])}.values())
    lake = read_lake_transactions(Came(records))  # type: ignore[arg-type]
    frame = lake.frame
    rows = replay(
        frame["customer_id"].tolist(),
        (frame["event_time"].to_numpy().astype("datetime64[us]").astype(np.int64) / 1e6).tolist(),
        frame["amount"].tolist(),
        frame["transaction_id"].tolist(),
        np.tile(np.array(NO_RISK, dtype=np.float32), (len(frame), 1)),
    )
    assert lake.left_out == len(records) - len(firsts)
    assert rows.tobytes() == served(records, TerminalRisk.empty(), [])[firsts].tobytes()


def test_records_off_the_wire_have_the_features_that_were_trained_on() -> None:
    """Through JSON and the parser; terminals' risk comes from snapshots, each published before its days."""
    dataset = from_frame(simulate(100, 100, 50, date(2024, 3, 1), 0), "simulated", "")
    labels = TerminalLabels(
        dataset.frame["terminal_id"].tolist(), dataset.days(), dataset.frame["is_fraud"].to_numpy()
    )
    trained = replay_dataset(dataset, labels)
    records = []
    for message, _ in iter_transactions(dataset):
        transaction = parse_transaction(json.dumps(message).encode(), NOW_S)
        assert transaction == parse_transaction(msgspec.json.encode(message), NOW_S)
        records.append(record(message))

    def row(day: int) -> int:
        return int(np.searchsorted(dataset.days(), dataset.days()[0] + day))

    histories = few_copies()
    served(records[: row(26)], TerminalRisk.empty(), [17] * len(records), histories)
    for day in (26, 34, 42):
        first, end = row(day), row(day + 8)
        # as `fraud-train` publishes it beside a model of the days before
        past = dataset.between(None, f"{date(2024, 3, 1) + timedelta(days=day)}")
        assert len(past.frame) == first
        snapshot = prepare(LabelledData(past), train_days=7, test_days=5, validate=False).final.terminal_risk
        risk = TerminalRisk.from_parquet(to_parquet(snapshot))
        expected = trained[first:end]
        assert expected.any(axis=0).all(), "each feature has to take part"
        found = served(records[first:end], risk, [17] * len(records), histories)
        assert found.tobytes() == expected.tobytes()


def test_days_that_a_table_does_not_have_are_replayed_as_they_are_served() -> None:
    """Before the table's first day and past its last, each terminal counts as unknown."""
    dataset = from_frame(simulate(100, 100, 50, date(2024, 3, 1), 0), "simulated", "")
    labels = TerminalLabels(
        dataset.frame["terminal_id"].tolist(), dataset.days(), dataset.frame["is_fraud"].to_numpy()
    )
    days = dataset.days()
    first = int(days[0]) + 30
    risk = TerminalRisk.from_parquet(to_parquet(labels.snapshot(first, 8)))
    risks = labels.as_of(dataset.frame["terminal_id"].tolist(), days)
    outside = (days < first) | (days >= first + 8)
    assert (risks[outside] != np.array(NO_RISK)).any(), (
        "the days outside must have risk that the table leaves out"
    )
    risks[outside] = NO_RISK
    columns = (dataset.frame[name].tolist() for name in ("amount", "transaction_id"))
    trained = replay(dataset.frame["customer_id"].tolist(), dataset.times_s().tolist(), *columns, risks)
    records = [record(message) for message, _ in iter_transactions(dataset)]
    assert served(records, risk, [17] * len(records)).tobytes() == trained.tobytes()


def test_leaving_out_what_lies_before_the_windows_changes_no_example() -> None:
    frame = simulate(100, 100, 100, date(2024, 1, 1), 0)
    dataset = from_frame(frame, "simulated", "")
    examples = prepare(LabelledData(dataset), train_days=14, test_days=7, validate=False).twin
    labels = TerminalLabels(
        dataset.frame["terminal_id"].tolist(), dataset.days(), dataset.frame["is_fraud"].to_numpy()
    )
    whole = replay_dataset(dataset, labels)
    assert len(examples.matrix) < len(whole)
    kept = len(examples.matrix) - examples.split.train.start
    assert examples.matrix[-kept:].tobytes() == whole[-kept:].tobytes()
