"""The operator as Flink drives it: opened, given batches by shard, with its state in buckets."""

import itertools
import json
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from keyed_backend import KeyedBackend
from manifests import manifest_with

from flink_jobs import score_batches
from flink_jobs.bucketed_state import open_state
from flink_jobs.domain.batch import RECORD_SEPARATOR
from flink_jobs.domain.breaker import Breaker
from flink_jobs.domain.buckets import bucket_of
from flink_jobs.domain.features import FEATURE_NAMES
from flink_jobs.domain.scoring import Scorer
from flink_jobs.domain.stored_histories import StoredHistories
from flink_jobs.domain.terminal_risk import TerminalRisk
from flink_jobs.lost_state import Beginning
from flink_jobs.score_batches import ScoreBatches, take_from_lake
from flink_jobs.shards import ShardsError, bucket_keys, key_group
from flink_jobs.store.settings import Topics

TOPICS = Topics("transactions", "predictions", "fraud_alerts", "transactions_dlq")
NOON = 1_800_014_400.0
# of each record
CAME_MS = 1_790_000_000_000
NUMBERS = itertools.count()


class Model:
    """A model whose score is how many transactions the customer has made on the day."""

    manifest = manifest_with(threshold=1e9)

    def score(self, matrix: np.ndarray) -> np.ndarray:
        return matrix[:, FEATURE_NAMES.index("customer_count_1d")]


class Runtime:
    """What the operator asks of Flink's runtime beside the state."""

    def get_metrics_group(self) -> Any:  # noqa: ANN401 - pyflink ships no types
        metric = SimpleNamespace(update=lambda _value: None)
        group = SimpleNamespace(distribution=lambda _name: metric)
        group.add_group = lambda _name: group
        return group


@pytest.fixture
def backend() -> KeyedBackend:
    """The first of two subtasks: it has half of the buckets."""
    return KeyedBackend(subtasks=2)


@pytest.fixture
def operator(backend: KeyedBackend, monkeypatch: pytest.MonkeyPatch) -> ScoreBatches:
    scorer = Scorer(Model(), TerminalRisk.empty())  # type: ignore[arg-type]
    monkeypatch.setattr(
        score_batches, "load_settings", lambda: SimpleNamespace(currency="USD", control_share=0.0)
    )
    monkeypatch.setattr(score_batches, "ModelRegistry", lambda _settings: None)
    served = SimpleNamespace(current=scorer, breaker=Breaker(None, 3.0), went_back=False)
    monkeypatch.setattr(score_batches, "ServedScorer", lambda _registry: served)
    watched: list[object] = []
    monkeypatch.setattr(score_batches, "_MODEL_WATCH", SimpleNamespace(add=watched.append))
    # the operator must not freeze the tests' objects, or change how their threads take turns
    monkeypatch.setattr(score_batches, "gc", SimpleNamespace(unfreeze=int, collect=int, freeze=int))
    monkeypatch.setattr(score_batches, "sys", SimpleNamespace(setswitchinterval=lambda _s: None))
    monkeypatch.setattr(score_batches, "StateBackend", lambda _runtime: backend)
    monkeypatch.setattr(time, "time", lambda: NOON)
    operator = ScoreBatches(TOPICS, shards=4)
    operator.open(Runtime())
    assert watched == [served], "nobody looks for releases"
    return operator


def scores(operator: ScoreBatches, backend: KeyedBackend, *payments: tuple[str, str]) -> list[float]:
    """Score a batch of (customer, day)."""
    # Flink has set it, to that of a shard
    backend.key = -1
    batch = RECORD_SEPARATOR.join(
        f"0 {offset} {CAME_MS} 0 "
        + json.dumps(
            {
                "transaction_id": f"t-{next(NUMBERS)}",
                "event_time": f"{day}T12:00:00Z",
                "customer_id": customer,
                "terminal_id": "t",
                "amount": 10,
            }
        )
        for offset, (customer, day) in enumerate(payments)
    )
    rows = operator.process_element(batch.encode(), None)
    return [
        json.loads(message)["score"]
        for topic, packed in rows
        if topic == "predictions"
        for message in packed.decode().split("\n")
    ]


def own_customers(backend: KeyedBackend, count: int) -> list[str]:
    """Customers of the subtask, in as many buckets."""
    named = (f"customer-{number}" for number in range(10_000))
    own = {bucket_of(name): name for name in named if key_group(bucket_of(name)) in backend.key_groups}
    return [own[bucket] for bucket in sorted(own)[:count]]


def test_amounts_are_in_the_currency_of_the_settings(operator: ScoreBatches, backend: KeyedBackend) -> None:
    (customer,) = own_customers(backend, 1)
    record = '{"transaction_id":"t","event_time":"2018-07-01T00:00:00Z","amount":1,"currency":"%s"'
    record += f',"customer_id":"{customer}","terminal_id":"t"}}'
    packed = (f"0 {n} 1700000000000 0 {record % name}" for n, name in enumerate(("USD", "EUR")))
    rows = operator.process_element(RECORD_SEPARATOR.join(packed).encode(), None)
    offsets = {topic: json.loads(message)["offset"] for topic, message in rows if topic != "fraud_alerts"}
    assert offsets == {"predictions": 0, "transactions_dlq": 1}


def test_the_settings_say_how_many_are_control_transactions(
    operator: ScoreBatches, backend: KeyedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    (customer,) = own_customers(backend, 1)
    found = []
    for share in (1.0, 0.0):
        settings = SimpleNamespace(currency="EUR", control_share=share)
        monkeypatch.setattr(score_batches, "load_settings", lambda settings=settings: settings)
        operator.open(Runtime())
        payload = json.dumps(
            {
                "transaction_id": "t",
                "event_time": "2018-07-01T00:00:00Z",
                "customer_id": customer,
                "terminal_id": "t",
                "amount": 1,
            }
        )
        ((_, message),) = operator.process_element(f"0 7 1700000000000 0 {payload}".encode(), None)
        prediction = json.loads(message)
        found.append((prediction.get("control_probability"), "features" in prediction))
    assert found == [(1.0, True), (None, False)]


def test_what_is_scored_is_counted_for_the_breaker(operator: ScoreBatches, backend: KeyedBackend) -> None:
    (customer,) = own_customers(backend, 1)
    breaker = operator._served.breaker  # noqa: SLF001 - shown by metrics only
    for batch in (1, 2):
        scores(operator, backend, *[(customer, "2026-01-01")] * 2)
        assert breaker.transactions == 2 * batch


def test_customers_lie_in_their_buckets_whatever_the_shard_of_a_batch(
    operator: ScoreBatches, backend: KeyedBackend
) -> None:
    one, other = own_customers(backend, 2)
    assert scores(operator, backend, (one, "2026-01-01"), (other, "2026-01-01")) == [1, 1]
    assert scores(operator, backend, (other, "2026-01-01")) == [2]
    keys = bucket_keys()
    assert {name: set(backend.kept[keys[bucket_of(name)]]["histories"]) for name in (one, other)} == {
        one: {one},
        other: {other},
    }
    # what was kept is read again by a task that comes after this one
    operator.open(Runtime())
    assert scores(operator, backend, (one, "2026-01-01"), (other, "2026-01-01")) == [2, 3]


def test_a_customer_of_another_subtask_is_refused(operator: ScoreBatches, backend: KeyedBackend) -> None:
    foreign = next(
        name for name in map(str, range(1000)) if key_group(bucket_of(name)) not in backend.key_groups
    )
    own = own_customers(backend, 1)[0]
    assert scores(operator, backend, (foreign, "2026-01-01"), (own, "2026-01-01")) == [1]
    assert set(backend.customers()) == {own}


def test_a_large_batch_switches_keys_a_few_times_for_each_bucket(
    operator: ScoreBatches, backend: KeyedBackend
) -> None:
    customers = own_customers(backend, 32)
    payments = [(name, "2026-01-01") for name in customers * 10]
    scores(operator, backend, *payments)
    before = backend.switches
    scores(operator, backend, *payments)
    # all are known in Python by now: writing is left, once for each bucket and state
    assert 0 < backend.switches - before <= 2 * len(customers)


def test_shards_that_do_not_fit_the_subtasks_are_refused(operator: ScoreBatches) -> None:
    del operator
    with pytest.raises(ShardsError, match="3 shards cannot be shared by 2 subtasks"):
        ScoreBatches(TOPICS, shards=3).open(Runtime())


def test_state_of_shards_that_the_subtasks_left_cannot_share_is_refused() -> None:
    """Four subtasks went on from four shards; before their first checkpoint, one of them is gone."""
    kept = KeyedBackend().kept

    def restore(subtasks: int, shards: int) -> None:
        for subtask in range(subtasks):
            backend = KeyedBackend(subtasks, subtask)
            backend.kept = kept
            open_state(backend, shards)  # type: ignore[arg-type]

    # without a note, as a former release wrote it
    restore(subtasks=2, shards=4)
    with pytest.raises(ShardsError, match="a job with 4 shards, which 3 subtasks cannot share"):
        restore(subtasks=3, shards=12)
    restore(subtasks=4, shards=12)
    # what all four have written, three can share
    restore(subtasks=3, shards=12)
    # any number can share as many as there are buckets
    restore(subtasks=3, shards=128)
    restore(subtasks=5, shards=128)
    restore(subtasks=7, shards=14)


def test_buckets_take_their_histories_from_the_lake_once(
    backend: KeyedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[frozenset[int]] = []

    beginning = Beginning({0: 7}, {0: 1}, {0: 9}, 1)

    def fold(_lake: object, found: Beginning, _histories: object, buckets: frozenset[int]) -> int:
        assert found is beginning
        taken.append(buckets)
        return 0

    monkeypatch.setattr(score_batches, "fold_lake", fold)
    state = open_state(backend, shards=4)  # type: ignore[arg-type]
    histories = StoredHistories(state.histories, state.added, state.buckets, 0)
    take_from_lake(None, beginning, state, histories)  # type: ignore[arg-type]
    take_from_lake(None, beginning, state, histories)  # type: ignore[arg-type]
    assert taken == [state.buckets]
    # one that came from a subtask which had not noted it
    some = min(state.buckets)
    state.notes.remove(some, "done")
    take_from_lake(None, beginning, state, histories)  # type: ignore[arg-type]
    assert taken == [state.buckets, {some}]


def test_a_record_of_a_topic_that_was_made_anew_later_is_scored_whatever_its_offset(
    operator: ScoreBatches, backend: KeyedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    (customer,) = own_customers(backend, 1)
    # scores() has records that came at this time, from offset 0 on
    for found_ms, expected in ((CAME_MS + 1, []), (CAME_MS, [2.0])):
        monkeypatch.setattr(operator, "_beginning", Beginning({0: 0}, {0: 0}, {0: 9}, found_ms))
        assert scores(operator, backend, (customer, "2023-11-14")) == expected
