"""Predictions computed anew are those that were served, to the last bit."""

from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest
from checks import differing
from manifests import manifest_with
from recomputed import NotReleasedError, Replay

from flink_jobs.domain.scoring import Prediction, Record, Scorer
from flink_jobs.domain.terminal_risk import TerminalRisk
from flink_jobs.store.release import ModelReference, Release, StoredRelease


class FewFeatures:
    """A model whose score tells its first feature, the amount, and how often the customer has paid."""

    def __init__(self, version: str) -> None:
        self.manifest = manifest_with(version=version)

    def score(self, matrix: np.ndarray) -> np.ndarray:
        return (matrix.sum(axis=1) % 1000 / 1000).astype(np.float32)

    def explain(self, matrix: np.ndarray) -> np.ndarray:
        return np.zeros_like(matrix)


class Releases:
    """A registry with models of two releases; counts what is loaded."""

    def __init__(self) -> None:
        self.log = self
        self.loaded: list[str] = []
        self._releases = [
            Release(number=number, writer="", action="promote", model=ModelReference(version, ""))
            for number, version in ((2, "v2"), (1, "v1"))
        ]

    def newest(self) -> StoredRelease:
        return StoredRelease(2, "", self._releases[0])

    def backwards(self, number: int) -> Iterator[StoredRelease]:
        assert number == 2
        return iter([StoredRelease(each.number, "", each) for each in self._releases])

    def load(self, release: Release) -> Scorer:
        self.loaded.append(release.model.version)
        return Scorer(FewFeatures(release.model.version), TerminalRisk.empty())  # type: ignore[arg-type]


def records(count: int) -> list[Record]:
    made = []
    for offset in range(count):
        message = {
            "transaction_id": f"m-{offset}",
            "event_time": datetime.fromtimestamp(1_900_000_000 + offset, UTC),
            "customer_id": f"c{offset % 7}",
            "terminal_id": "t",
            "amount": float(offset),
        }
        payload = msgspec.json.encode(message)
        made.append(Record(offset % 7 % 2, offset, (1_900_000_000 + offset) * 1000, len(payload), payload))
    return made


def replay(registry: Releases) -> Replay:
    return Replay(registry, "EUR", 0.1)  # type: ignore[arg-type]


def test_a_clean_replay_gives_what_a_job_gave_in_other_batches() -> None:
    came = records(1200)
    histories: Any = type("Histories", (dict,), {"put_all": dict.update})()
    scorer = Scorer(FewFeatures("v1"), TerminalRisk.empty())  # type: ignore[arg-type]
    served: list[Prediction] = []
    chance = Random(1)  # noqa: S311 - to be repeated
    rest_of = list(came)
    while rest_of:
        size = chance.randrange(1, 90)
        batch, rest_of = sorted(rest_of[:size]), rest_of[size:]
        served += scorer.score(batch, histories, 1.9e9 + 5000, "EUR", 0.1).predictions
    registry = Releases()
    chance.shuffle(came)
    recomputed = replay(registry).predictions(came, {("v1", None)})
    assert len(served) == 1200
    assert differing(served, recomputed) == []
    assert registry.loaded == ["v1"]
    # a feature that is changed in one of them is seen, and so is a record of the customer that is not there
    alerting = next(each for each in served if each.features)
    assert alerting.features is not None
    changed = {**alerting.features, "amount": alerting.features["amount"] + 1e-9}
    broken = [
        msgspec.structs.replace(each, features=changed) if each is alerting else each for each in served
    ]
    assert differing(broken, recomputed) == [(alerting.partition, alerting.offset)]
    without_first = replay(registry).predictions(
        sorted(came, key=lambda each: each.offset)[1:], {("v1", None)}
    )
    assert differing(served, without_first) != []


def test_a_prediction_that_names_what_was_never_released_is_told() -> None:
    registry = Releases()
    with pytest.raises(NotReleasedError, match="v3 with terminal risk None"):
        replay(registry).predictions(records(3), {("v3", None)})
    with pytest.raises(NotReleasedError, match="v1 with terminal risk r9"):
        replay(registry).predictions(records(3), {("v1", "r9")})
