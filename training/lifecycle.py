"""Weeks after a promotion, lived through in a store: what a model is worth whose terminal risk is renewed.

Transactions come into the lake as they happen, labels of frauds when the delay is over, and terminal risk is
renewed meanwhile by the code that renews it on the training host. Each transaction is scored with what the
newest release told of its terminal then.
"""

import tempfile
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flink_jobs.domain.features import FEATURE_NAMES, TERMINAL_FEATURES
from flink_jobs.domain.manifest import Manifest
from flink_jobs.domain.model import ServedModel
from flink_jobs.domain.terminal_risk import TerminalRisk
from flink_jobs.store.model_registry import ModelRegistry
from flink_jobs.store.settings import Settings
from training.dataset import Dataset
from training.draws import Ranked, interval
from training.examples import Rows, rows_from
from training.forest import Forest
from training.labelled_data import LabelledData
from training.lifecycle_lake import FillingLake
from training.metrics import average_precision
from training.procedure import TEST_DAYS
from training.publish import promote
from training.retraining import Retraining, train_in
from training.risk_renewal import Renewal, kept_days
from training.steps import step
from training.tables import DatasetError, TooLittleDataError

WEEKS = 8
# The system renews hourly. What it tells of a day changes with the first renewal after midnight only, when
# all labels of the day before have come. Before, a day is told of by the renewal a day ago.
_RENEWED_AT = timedelta(hours=1)
# What is served may be worse than what is known by so much.
LEAST_OF_FRESH = 0.99

_STANDARD = Forest()
_WEEK_DAYS = 7
_DRAWS = 200
_DAY = timedelta(days=1)
_BEGIN = datetime(1970, 1, 1)  # noqa: DTZ001 - event times of tables are UTC and have no zone
_TERMINAL_COLUMNS = [FEATURE_NAMES.index(each.name) for each in TERMINAL_FEATURES]


class Week(NamedTuple):
    """A week after the promotion, and average precision on all its transactions.

    Attributes:
        week: 1 for the first.
        first_day: of it.
        transactions: their number, as is frauds.
        served: of the promoted model, with terminal risk as the system served it.
        fresh: of the same model, with all that was known of terminals when each day began.
        not_renewed: of the same model, with the terminal risk that was published with it.
        retrained: with terminal risk as served, of the model that weekly retraining had promoted by then.

    """

    week: int
    first_day: date
    transactions: int
    frauds: int
    served: float
    fresh: float
    not_renewed: float
    retrained: float


class Lived(NamedTuple):
    """What came of the weeks.

    Attributes:
        weeks: in their order.
        retraining: what each weekly run did, in words.
        renewals: how many tables of terminal risk were released.
        gained: by retraining, in the mean of the weeks: ends of an interval of 90 %; None where chance cannot
            be told, as too few cards have frauds.

    """

    weeks: list[Week]
    retraining: list[str]
    renewals: int
    gained: tuple[float, float] | None

    def mean(self, name: str) -> float:
        """Give the mean of an average precision over the weeks."""
        return float(np.mean([getattr(each, name) for each in self.weeks]))

    def shortcomings(self) -> list[str]:
        """Say what is worse than it has to be."""
        found = [
            f"week {each.week}: {each.served:.3f} was served, less than {LEAST_OF_FRESH} of {each.fresh:.3f}"
            for each in self.weeks
            if each.served < LEAST_OF_FRESH * each.fresh
        ]
        served, retrained = self.mean("served"), self.mean("retrained")
        if retrained < served:
            found.append(f"with weekly retraining {retrained:.4f} in the mean, {served:.4f} without")
        return found


class _Told(NamedTuple):
    """What transactions were told of their terminals: [transactions, TERMINAL_FEATURES] each.

    Attributes:
        served: by the newest release.
        published: by the table that was published with the model.
        renewals: how many tables were released meanwhile.

    """

    served: NDArray[np.float32]
    published: NDArray[np.float32]
    renewals: int


class Ranks(NamedTuple):
    """A week's transactions as two models rank them; served and retrained are as in `Week`.

    Attributes:
        customers: whose card.

    """

    customers: NDArray[np.object_]
    served: Ranked
    retrained: Ranked


def live(
    dataset: Dataset,
    settings: Settings,
    *,
    weeks: int = WEEKS,
    forest: Forest = _STANDARD,
) -> Lived:
    """Promote a model some weeks before the data ends, and live through these weeks.

    Args:
        dataset: of kind `history`, with labels in its file.
        settings: name an empty store, and say how late labels come.
        weeks: at most; fewer where the data begins too late for a model before them.
        forest: parameters of the promoted model, and of those that retraining makes.

    Raises:
        DatasetError: the data has no labels or customers, too few days, or a week without frauds.
        ObjectStoreError: the store does not answer.

    """
    if dataset.kind != "history" or dataset.label is None:
        raise DatasetError(f"{dataset.source}: it takes transactions of customers, with labels")
    first_day, weeks = _span(dataset, settings.label_delay_days, weeks)
    # as far back as a renewal looks
    lake = FillingLake(dataset, settings, _time(first_day - kept_days(settings.label_delay_days)))
    with tempfile.TemporaryDirectory() as folder:
        champion, _ = train_in(Path(folder), lake.known_at(_time(first_day)), forest)
        promote(Path(folder), settings)
    truth = LabelledData(dataset, label_delay_days=settings.label_delay_days)
    rows = rows_from(truth, first_day, first_day + weeks * _WEEK_DAYS)
    told = _told(lake, settings, champion.manifest, first_day, weeks * _WEEK_DAYS)
    retraining = Retraining(champion, forest)
    lived, ranks = [], []
    for number in range(weeks):
        begin = first_day + number * _WEEK_DAYS
        if number:
            retraining.run(lake.known_at(_time(begin)), _time(begin).date())
        week, ranked = _week(number + 1, rows, told, champion, retraining.promoted)
        lived.append(week)
        ranks.append(ranked)
    return Lived(lived, retraining.told, told.renewals, gained(ranks))


def gained(weeks: Sequence[Ranks]) -> tuple[float, float] | None:
    """Give what retraining gained in the mean of the weeks; see `Lived`."""
    ends = np.cumsum([len(each.customers) for each in weeks])

    def gain(counts: NDArray[np.float64]) -> float:
        of_weeks = zip(weeks, np.split(counts, ends[:-1]), strict=True)
        gains = [
            each.retrained.average_precision(counted) - each.served.average_precision(counted)
            for each, counted in of_weeks
        ]
        return float(np.mean(gains))

    return interval(gain, np.concatenate([each.customers for each in weeks]), int(ends[-1]), _DRAWS)


def _span(dataset: Dataset, delay_days: int, weeks: int) -> tuple[int, int]:
    """Give the day of the promotion, and how many weeks to live."""
    days = dataset.days()
    # to train, to choose a threshold and to test the twin; until the labels of each model are in
    needed = 3 * TEST_DAYS + 2 * delay_days
    weeks = min(weeks, (int(days[-1]) + 1 - int(days[0]) - needed) // _WEEK_DAYS)
    if weeks < 1:
        raise TooLittleDataError(
            f"{dataset.source}: it takes {needed} days for a model, and weeks after these"
        )
    return int(days[-1]) + 1 - weeks * _WEEK_DAYS, weeks


def _told(lake: FillingLake, settings: Settings, champion: Manifest, first_day: int, days: int) -> _Told:
    """Live through days with a lake that fills, and renew; tables are loaded as the job loads them."""
    registry = ModelRegistry(settings)

    def released() -> TerminalRisk:
        return registry.load_released_risk(registry.in_force()[1], champion)

    risk = published = released()
    served, unrenewed, renewals = [], [], 0
    begin, end = _time(first_day), _time(first_day + days)
    times = [_time(day) + _RENEWED_AT for day in range(first_day, first_day + days)]
    with step(f"Living through {days} days, terminal risk renewed in each"):
        for since, until in pairwise([begin, *times, end]):
            if since != begin:
                lake.fill(since)
                renewals += Renewal(settings, since.replace(tzinfo=UTC)).run().release is not None
                risk = released()
            asked = lake.terminals(since, until)
            served.append(risk.as_of(*asked))
            unrenewed.append(published.as_of(*asked))
    return _Told(np.concatenate(served), np.concatenate(unrenewed), renewals)


def _week(
    number: int, rows: Rows, told: _Told, champion: ServedModel, retrained: ServedModel
) -> tuple[Week, Ranks]:
    """Measure a week; `rows` have what was known."""
    begin = int(rows.days[0]) + (number - 1) * _WEEK_DAYS
    at = (rows.days >= begin) & (rows.days < begin + _WEEK_DAYS)
    labels, fresh = rows.labels[at], rows.matrix[at]
    if not labels.any():
        raise DatasetError(f"week {number} after the promotion has no fraud; give more data")

    served = _with_risk(fresh, told.served[at])
    scores = {
        "served": _scores(champion, served),
        "fresh": _scores(champion, fresh),
        "not_renewed": _scores(champion, _with_risk(fresh, told.published[at])),
        "retrained": _scores(retrained, served),
    }
    week = Week(
        week=number,
        first_day=_time(begin).date(),
        transactions=len(labels),
        frauds=int(labels.sum()),
        **{name: average_precision(labels, each) for name, each in scores.items()},
    )
    ranks = Ranks(rows.customers[at], *(Ranked.of(labels, scores[name]) for name in ("served", "retrained")))
    return week, ranks


def _scores(model: ServedModel, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    return model.score(matrix).astype(np.float64)


def _with_risk(matrix: NDArray[np.float32], risk: NDArray[np.float32]) -> NDArray[np.float32]:
    changed = matrix.copy()
    changed[:, _TERMINAL_COLUMNS] = risk
    return changed


def _time(day: int) -> datetime:
    return _BEGIN + day * _DAY
