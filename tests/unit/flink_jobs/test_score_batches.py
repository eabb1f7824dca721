"""Metrics of drift and alerts are written now and then, once enough transactions were counted."""

from types import SimpleNamespace

import numpy as np

from flink_jobs.domain.breaker import Breaker
from flink_jobs.domain.drift import SCORE, DriftCounts, distribution
from flink_jobs.domain.expected_alerts import ExpectedAlerts
from flink_jobs.score_batches import AlertRateMetrics, DriftMetrics, RiskAgeMetric


class Group:
    """Flink's metrics, and how often they were written."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.updates = 0

    def add_group(self, name: str) -> "Group":
        assert name == "psi_thousandths"
        return self

    def distribution(self, name: str) -> "Group.Metric":
        self.values[name] = 0
        return Group.Metric(self, name)

    class Metric:
        def __init__(self, group: "Group", name: str) -> None:
            self._group = group
            self._name = name

        def update(self, value: int) -> None:
            assert isinstance(value, int)
            self._group.values[self._name] = value
            self._group.updates += 1


def counts_of(name: str, values: np.ndarray) -> DriftCounts:
    then = distribution(np.arange(100, dtype=np.float32))
    counts = DriftCounts({name: then, SCORE: then}, sampled_share=1)
    counts.add(values[:, np.newaxis], np.arange(len(values), dtype=np.float32) % 100)
    return counts


def test_psi_is_shown_in_thousandths() -> None:
    group = Group()
    metrics = DriftMetrics(group)
    metrics.show(None, 0)
    metrics.show(counts_of("amount", np.full(499, 3, dtype=np.float32)), 0)
    assert not group.values, "too few transactions"
    metrics.show(counts_of("amount", np.full(600, 3, dtype=np.float32)), 5)
    assert not group.values, "not yet time"
    metrics.show(counts_of("amount", np.full(600, 3, dtype=np.float32)), 10)
    assert group.values[SCORE] == 0
    assert group.values["amount"] > 1000
    assert group.updates == 2


def test_a_feature_of_the_former_model_alone_falls_to_0() -> None:
    group = Group()
    metrics = DriftMetrics(group)
    metrics.show(counts_of("amount", np.full(600, 3, dtype=np.float32)), 0)
    assert group.values["amount"] > 1000
    metrics.show(counts_of("V1", np.full(600, 3, dtype=np.float32)), 10)
    assert group.values["amount"] == 0
    assert group.values["V1"] > 1000


def test_the_age_of_what_is_known_of_terminals_is_shown_now_and_then() -> None:
    group = Group()
    metric = RiskAgeMetric(group)
    for age, now_s in ((3, 0.0), (4, 9.0), (5, 10.0)):
        metric.show(SimpleNamespace(risk_age_days=age), now_s)  # type: ignore[arg-type]
    assert group.values == {"risk_age_days": 5}
    assert group.updates == 2


def test_alerts_are_shown_in_hundredths_of_those_expected_and_what_comes_of_them() -> None:
    group = Group()
    metrics = AlertRateMetrics(group)
    metrics.show(Breaker(None, 3.0), 0.0, went_back=False)
    assert group.values == {"alerts_to_expected_percent": 0, "breaker": 0}
    breaker = Breaker(ExpectedAlerts(60_000, 600), 3.0)
    breaker.add(10_000, 124)
    metrics.show(breaker, 9.0, went_back=False)
    assert group.values["alerts_to_expected_percent"] == 0, "not yet time"
    metrics.show(breaker, 10.0, went_back=False)
    assert group.values == {"alerts_to_expected_percent": 124, "breaker": 0}
    breaker.add(10_000, 9_876)
    metrics.show(breaker, 20.0, went_back=False)
    assert group.values == {"alerts_to_expected_percent": 5_000, "breaker": 1}
    metrics.show(breaker, 30.0, went_back=True)
    assert group.values["breaker"] == 2
