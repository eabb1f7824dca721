"""Weeks after a promotion, in short: what is renewed is served as fresh, and a bad model is replaced."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from memory_store import MemoryStore

from flink_jobs.store.settings import Settings
from training import lifecycle
from training.dataset import Dataset
from training.draws import Ranked
from training.forest import Forest
from training.lifecycle import Lived, Ranks, Week, gained, live
from training.lifecycle_lake import FillingLake
from training.lifecycle_page import lifecycle_page
from training.retraining import Retraining, train_in
from training.simulate import simulated_dataset
from training.tables import DatasetError, TooLittleDataError

GOOD = Forest(trees=10, max_depth=10)
BAD = Forest(trees=1, max_depth=1, min_samples_leaf=2_000)
FIRST = date(2024, 3, 1)


def day(number: int) -> datetime:
    return datetime.combine(FIRST, datetime.min.time()) + timedelta(days=number)


@pytest.fixture(scope="module")
def town() -> Dataset:
    """Nine weeks of few people, and many terminals, of which some are compromised at any time."""
    return simulated_dataset(customers=400, terminals=3_000, days=63, start=FIRST, seed=2)


@pytest.fixture
def lake(town: Dataset, settings: Settings, store: MemoryStore) -> FillingLake:
    del store
    return FillingLake(town, settings, day(0))


def test_what_the_system_renews_is_served_as_fresh(
    settings: Settings, store: MemoryStore, town: Dataset
) -> None:
    """Two weeks, of which the second is past the table that was published with the model."""
    del store
    lived = live(town.between(None, day(49)), settings, forest=GOOD)
    first, second = lived.weeks
    assert (first.week, first.first_day, second.first_day) == (1, date(2024, 4, 5), date(2024, 4, 12))
    assert lived.renewals == 14
    assert lived.shortcomings() == []
    for week in lived.weeks:
        assert week.served >= 0.99 * week.fresh
    assert second.not_renewed < 0.7 * second.fresh
    assert len(lived.retraining) == 1
    page = lifecycle_page(lived, "a town")
    assert "2024-04-12" in page
    assert f"{second.not_renewed:.3f}" in page


def test_the_lake_reaches_back_as_far_as_a_renewal_looks(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a long delay of labels, what is served was told of too few payments, so fresh seemed better."""
    small = simulated_dataset(customers=10, terminals=20, days=90, start=FIRST, seed=2)
    begun: list[datetime] = []

    def lake(_data: Dataset, _settings: Settings, since: datetime) -> None:
        begun.append(since)
        raise TooLittleDataError("far enough")

    monkeypatch.setattr(lifecycle, "FillingLake", lake)
    with pytest.raises(TooLittleDataError, match="far enough"):
        live(small, msgspec.structs.replace(settings, label_delay_days=30), weeks=1)
    # windows of the first day of the week, and of the day before it
    assert begun[0] <= day(90 - 7 - 1 - 30 - 30)


def test_a_bad_model_is_replaced_after_its_successors_time_in_the_shadow(
    lake: FillingLake, tmp_path: Path
) -> None:
    bad, _ = train_in(tmp_path, lake.known_at(day(35)), BAD)
    retraining = Retraining(bad, GOOD)
    serving = []
    for week in (6, 7, 8, 9):
        retraining.run(lake.known_at(day(7 * week)), day(7 * week).date())
        serving.append(retraining.promoted is not bad)
    assert serving == [False, False, True, True]
    said = [each.partition(": ")[2].partition(";")[0].partition(":")[0] for each in retraining.told]
    assert said == [
        "a new model challenges",
        "the challenger is in the shadow",
        "the challenger is promoted",
        "a new model challenges",
    ]


def week(number: int, served: float, retrained: float) -> Week:
    return Week(number, FIRST, 100, 5, served, 0.8, 0.1, retrained)


def test_what_is_worse_than_it_has_to_be_is_said() -> None:
    assert Lived([week(1, 0.8, 0.79), week(2, 0.793, 0.81)], [], 2, None).shortcomings() == []
    told = Lived([week(1, 0.8, 0.8), week(2, 0.791, 0.79)], [], 2, (-0.01, 0.0001)).shortcomings()
    assert told == [
        "week 2: 0.791 was served, less than 0.99 of 0.800",
        "with weekly retraining 0.7950 in the mean, 0.7955 without",
    ]


def test_what_retraining_gains_is_told_from_chance() -> None:
    random = np.random.default_rng(3)
    labels = np.tile(np.array([1, 0, 0, 0, 0], np.int8), 200)
    customers = np.repeat(np.arange(250).astype(object), 4)
    noise = random.random(len(labels))

    def ranks(served: float, retrained: float) -> Ranks:
        return Ranks(
            customers,
            *(Ranked.of(labels, (1 - blur) * labels + blur * noise) for blur in (served, retrained)),
        )

    assert gained([ranks(0.7, 0.7), ranks(0.6, 0.6)]) == (0.0, 0.0)
    better, worse = gained([ranks(0.7, 0.6)] * 2), gained([ranks(0.6, 0.7)] * 2)
    assert better
    assert worse
    assert better[0] > 0 > worse[1]
    # cards are drawn for all weeks at once, and the mean counts
    assert gained([ranks(0.7, 0.6), ranks(0.6, 0.7)]) == pytest.approx((0, 0))


def test_labels_come_when_the_delay_is_over(lake: FillingLake, town: Dataset) -> None:
    frauds = town.frame[town.frame["is_fraud"] == 1]
    some = frauds[frauds["event_time"] >= day(20)].iloc[0]
    given = some["event_time"].to_pydatetime() + timedelta(days=7)
    known = [lake.known_at(given + timedelta(seconds=later)) for later in (0, 1)]
    told = [
        (each.history.frame["transaction_id"] == some["transaction_id"]).any()
        for each in known
        if each.history
    ]
    assert told == [False, True]


def test_data_that_is_too_short_or_tells_no_frauds_is_refused(
    settings: Settings, store: MemoryStore, town: Dataset
) -> None:
    del store
    with pytest.raises(TooLittleDataError, match="it takes 35 days for a model"):
        live(town.between(None, day(41)), settings)
    with pytest.raises(DatasetError, match="with labels"):
        live(replace(town, label=None), settings)
