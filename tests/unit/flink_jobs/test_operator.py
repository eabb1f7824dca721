"""The operator as Flink drives it: opened, given batches by shard, called when a timer is due."""

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from map_state import MapState

from flink_jobs import score_batches
from flink_jobs.domain.batch import RECORD_SEPARATOR
from flink_jobs.domain.features import FEATURE_NAMES
from flink_jobs.domain.manifest import Manifest
from flink_jobs.domain.scoring import Scorer
from flink_jobs.domain.terminal_risk import TerminalRisk
from flink_jobs.score_batches import ScoreBatches
from flink_jobs.store.settings import Topics

TOPICS = Topics("transactions", "predictions", "fraud_alerts", "transactions_dlq")
NOON = 1_800_014_400.0


class Model:
    """A model whose score is how many transactions the customer has made on the day."""

    manifest = Manifest(
        version="v",
        created_at="2024-03-01T00:00:00Z",
        kind="history",
        features=list(FEATURE_NAMES),
        threshold=1e9,
        metrics={},
        data={},
        libraries={},
        files={},
        fingerprint="",
    )

    def score(self, matrix: np.ndarray) -> np.ndarray:
        return matrix[:, FEATURE_NAMES.index("customer_count_1d")]


class Flink:
    """Flink's runtime, states and timers of the current key, as far as the operator uses them."""

    def __init__(self) -> None:
        self.key = 0
        self.states: dict[int, dict[str, MapState]] = defaultdict(lambda: defaultdict(MapState))
        self.timers: list[tuple[int, int]] = []

    def get_map_state(self, descriptor: Any) -> "State":  # noqa: ANN401 - pyflink ships no types
        return State(self, descriptor.name)

    def get_metrics_group(self) -> Any:  # noqa: ANN401 - as above
        metric = SimpleNamespace(update=lambda _value: None)
        group = SimpleNamespace(distribution=lambda _name: metric)
        group.add_group = lambda _name: group
        return group

    def get_current_key(self) -> int:
        return self.key

    def timer_service(self) -> "Flink":
        return self

    def register_processing_time_timer(self, at_ms: int) -> None:
        self.timers.append((self.key, at_ms))


class State:
    """One state of the current key."""

    def __init__(self, flink: Flink, name: str) -> None:
        self._flink, self._name = flink, name

    def _current(self) -> MapState:
        return self._flink.states[self._flink.key][self._name]

    def get(self, key: str) -> bytes | None:
        return self._current().get(key)

    def put_all(self, values: Mapping[str, bytes]) -> None:
        self._current().put_all(values)

    def remove(self, key: str) -> None:
        self._current().remove(key)

    def items(self) -> Iterator[tuple[str, bytes]]:
        return self._current().items()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=NOON)
    monkeypatch.setattr(time, "time", lambda: clock.now)
    return clock


@pytest.fixture
def flink() -> Flink:
    return Flink()


@pytest.fixture
def operator(flink: Flink, monkeypatch: pytest.MonkeyPatch) -> ScoreBatches:
    scorer = Scorer(Model(), TerminalRisk.empty())  # type: ignore[arg-type]
    monkeypatch.setattr(score_batches, "load_settings", lambda: SimpleNamespace(currency="USD"))
    monkeypatch.setattr(score_batches, "ModelRegistry", lambda _settings: None)
    monkeypatch.setattr(score_batches, "ServedScorer", lambda _registry: SimpleNamespace(current=scorer))
    # the operator must not freeze the tests' objects, or change how their threads take turns
    monkeypatch.setattr(score_batches, "gc", SimpleNamespace(unfreeze=int, collect=int, freeze=int))
    monkeypatch.setattr(score_batches, "sys", SimpleNamespace(setswitchinterval=lambda _s: None))
    operator = ScoreBatches(TOPICS)
    operator.open(flink)
    return operator


def scores(operator: ScoreBatches, flink: Flink, shard: int, *payments: tuple[str, str]) -> list[float]:
    """Score a batch of (customer, day) for a shard."""
    flink.key = shard
    batch = RECORD_SEPARATOR.join(
        f"0 {offset} 1700000000000 0 "
        + json.dumps(
            {
                "transaction_id": f"{customer}-{offset}",
                "event_time": f"{day}T12:00:00Z",
                "customer_id": customer,
                "terminal_id": "t",
                "amount": 10,
            }
        )
        for offset, (customer, day) in enumerate(payments)
    )
    rows: Iterable[Any] = operator.process_element(batch.encode(), flink)
    return [
        json.loads(message)["score"]
        for topic, packed in rows
        if topic == "predictions"
        for message in packed.decode().split("\n")
    ]


def test_amounts_are_in_the_currency_of_the_settings(operator: ScoreBatches, flink: Flink) -> None:
    flink.key = 0
    record = '{"transaction_id":"t","event_time":"2018-07-01T00:00:00Z","amount":1,"currency":"%s"'
    record += ',"customer_id":"c","terminal_id":"t"}'
    packed = (f"0 {n} 1700000000000 0 {record % name}" for n, name in enumerate(("USD", "EUR")))
    rows = operator.process_element(RECORD_SEPARATOR.join(packed).encode(), flink)
    offsets = {topic: json.loads(message)["offset"] for topic, message in rows if topic != "fraud_alerts"}
    assert offsets == {"predictions": 0, "transactions_dlq": 1}


def customers(flink: Flink, shard: int) -> set[str]:
    return {name for state in flink.states[shard].values() for name in state.kept}


@pytest.mark.usefixtures("clock")
def test_shards_have_histories_of_their_own(operator: ScoreBatches, flink: Flink) -> None:
    assert scores(operator, flink, 1, ("c", "2026-01-01"), ("d", "2026-01-01")) == [1, 1]
    assert scores(operator, flink, 2, ("c", "2026-01-01")) == [1]
    assert customers(flink, 1) == {"c", "d"}
    assert customers(flink, 2) == {"c"}


def test_a_shard_is_swept_at_each_full_hour(
    operator: ScoreBatches, flink: Flink, clock: SimpleNamespace
) -> None:
    hour_ms = 3_600_000
    noon_ms = round(NOON * 1000)
    assert noon_ms % hour_ms == 0
    for minute in (1, 2, 59):
        clock.now = NOON + minute * 60
        scores(operator, flink, 1, ("c", "2026-01-01"))
    scores(operator, flink, 2, ("c", "2026-01-01"))
    assert flink.timers == [(1, noon_ms + hour_ms), (2, noon_ms + hour_ms)]
    clock.now = NOON + 3600
    scores(operator, flink, 1, ("c", "2026-01-01"))
    assert flink.timers[2:] == [(1, noon_ms + 2 * hour_ms)]


@pytest.mark.usefixtures("clock")
def test_a_sweep_forgets_customers_not_seen_for_longer_than_a_history_reaches(
    operator: ScoreBatches, flink: Flink
) -> None:
    for shard in (1, 2):
        scores(operator, flink, shard, ("gone", "2026-01-01"), ("late", "2026-01-15"), ("new", "2026-02-10"))
    flink.key = 1
    assert list(operator.on_timer(0, flink)) == []
    assert customers(flink, 1) == {"late", "new"}
    assert customers(flink, 2) == {"gone", "late", "new"}
    # Python has no copy of it either
    assert scores(operator, flink, 1, ("new", "2026-02-10"), ("gone", "2026-01-01")) == [2, 1]
