"""The gate: a model takes another's place only where it is not worse on days that neither has learnt from.

The two score the same transactions, so the difference of their average precision is uncertain only by which
cards these days happened to have: cards are drawn again and again, each with all its transactions.
"""

from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flink_jobs.domain.manifest import Manifest
from flink_jobs.domain.model import ServedModel, check_features
from flink_jobs.store.object_store import ObjectMissingError
from training.draws import Ranked, interval
from training.examples import rows_from
from training.labelled_data import LabelledData
from training.procedure import Scored
from training.promotions import Promotions
from training.release_writer import PromotionError
from training.replay import reach_days

# A model is refused where it may be worse than the other by more, with a confidence of 95 %.
WORST_DIFFERENCE = -0.02
# Weekends and weekdays are told apart by no fewer.
FEWEST_DAYS = 7
# So much is read of a lake, which grows for ever.
MOST_DAYS = 56
_FEWEST_FRAUDS = 2
_DRAWS = 1_000
_EPOCH = date(1970, 1, 1)
_NO_CARDS = "tables of ready columns name no cards, so models cannot be compared on them"


class GateError(PromotionError):
    """A model that must not take the place of the promoted one, or was not compared with it; says why."""


class TooEarlyError(GateError):
    """There is too little yet to compare two models on; waiting helps."""


class NotComparedError(PromotionError):
    """The promoted model cannot be loaded, so that nothing can be compared with it; says why."""


class Comparison(NamedTuple):
    """Two models on the same transactions.

    Attributes:
        first_day: of them, as is last_day.
        transactions: their number, as is frauds.
        champion: average precision of the promoted model.
        challenger: that of the other.
        lower: the difference is above this with a confidence of 95 %.
        upper: and below this.

    """

    first_day: date
    last_day: date
    transactions: int
    frauds: int
    champion: float
    challenger: float
    lower: float
    upper: float

    @property
    def passes(self) -> bool:
        """Whether the other model may take the promoted one's place."""
        return self.lower >= WORST_DIFFERENCE

    def __str__(self) -> str:
        return (
            f"average precision {self.challenger:.3f}, {self.champion:.3f} of the promoted model, on "
            f"{self.transactions:,} transactions from {self.first_day} to {self.last_day}, {self.frauds:,} "
            f"of them frauds, from which neither learnt; difference {self.lower:+.3f} to {self.upper:+.3f}"
        )


def compare(
    days: NDArray[np.int32],
    customers: NDArray[np.object_],
    labels: NDArray[np.int8],
    champion: NDArray[np.float64],
    challenger: NDArray[np.float64],
) -> Comparison:
    """Compare two models' scores of the same transactions; equal arguments give equal bounds.

    Args:
        days: [transactions], since 1970-01-01, as are all that follow.
        customers: whose card.
        labels: 1 for fraud.
        champion: scores of the promoted model.
        challenger: those of the other.

    Raises:
        TooEarlyError: they are too few.

    """
    frauds, number_of_days = int(labels.sum()), len(np.unique(days))
    if number_of_days < FEWEST_DAYS or not _FEWEST_FRAUDS <= frauds < len(labels):
        raise TooEarlyError(
            f"the models cannot be compared yet: {number_of_days} days with {frauds} known frauds and "
            f"{len(labels) - frauds} transactions known to be honest have labels and were learnt from by "
            f"neither; {FEWEST_DAYS} days, {_FEWEST_FRAUDS} frauds and an honest one are needed"
        )
    champions, challengers = (Ranked.of(labels, scores) for scores in (champion, challenger))

    def difference(counts: NDArray[np.float64]) -> float:
        return challengers.average_precision(counts) - champions.average_precision(counts)

    bounds = interval(difference, customers, len(labels), _DRAWS)
    if bounds is None:
        raise TooEarlyError("the frauds are of too few cards to compare models on")
    ones = np.ones(len(labels))
    before, after = (each.average_precision(ones) for each in (champions, challengers))
    first, last = (_EPOCH + timedelta(days=int(day)) for day in (days.min(), days.max()))
    return Comparison(first, last, len(labels), frauds, before, after, *bounds)


def first_day_needed(challenger: Manifest, champion: Manifest, last: date) -> date:
    """Give the first day of the data that `compare_on` needs, the days before what is compared included.

    Args:
        challenger: the other model, as for `compare_on`.
        champion: the promoted model.
        last: day of the data.

    Raises:
        GateError: a model does not say which days it learnt from.

    """
    delay_days = challenger.label_delay_days
    bound = last - timedelta(days=delay_days + MOST_DAYS)
    return max(_first(challenger, champion), bound) - timedelta(days=reach_days(delay_days) + 1)


def compare_on(data: LabelledData, challenger: ServedModel, champion: ServedModel) -> Comparison:
    """Compare two models on the days after what both have learnt from, the last MOST_DAYS at most.

    Raises:
        TooEarlyError: there are too few such days.
        GateError: they take other features, or ready columns.

    """
    _check(challenger.manifest, champion.manifest)
    if challenger.manifest.kind == "columns":
        raise GateError(_NO_CARDS)
    first = _first(challenger.manifest, champion.manifest)
    end = data.labelled_until_day if len(data.transactions.frame) else 0
    found = rows_from(data, max((first - _EPOCH).days, end - MOST_DAYS), end)
    days, customers, labels = found.days, found.customers, found.labels
    if not len(days):
        raise TooEarlyError(f"the models cannot be compared yet: no day from {first} on has labels")
    scores = (model.score(found.matrix).astype(np.float64) for model in (champion, challenger))
    return compare(days, customers, labels, *scores)


def compare_twin(tested: Scored, challenger: Manifest, champion: ServedModel) -> Comparison:
    """Compare a new model's twin with the promoted model, on the days of the test that neither learnt from.

    Raises:
        GateError: as for `compare_on`.

    """
    _check(challenger, champion.manifest)
    labelled = tested.labelled()
    if labelled.customers is None:
        raise GateError(_NO_CARDS)
    rows = labelled.days > (learnt_until(champion.manifest) - _EPOCH).days
    return compare(
        labelled.days[rows],
        labelled.customers[rows],
        labelled.labels[rows],
        champion.score(labelled.matrix[rows]).astype(np.float64),
        labelled.scores[rows],
    )


def champion_of(promotions: Promotions, challenger: Manifest) -> ServedModel | None:
    """Give the promoted model that another has to be compared with; None where there is none, or the same.

    Raises:
        NotComparedError: it cannot be loaded, or not be served by this version. No task that starts can serve
            it either, but others may still have it in memory.
        ObjectStoreError: the store does not answer.

    """
    current = promotions.current()
    if current is None or current == challenger.version:
        return None
    try:
        champion = promotions.load(current)
        check_features(champion.manifest)
    except (ObjectMissingError, PromotionError, ValueError) as error:
        raise NotComparedError(f"not compared: the promoted model cannot be loaded: {error}") from None
    return None if champion.manifest.files == challenger.files else champion


def why_promoted(*said: str, force: str | None = None) -> str:
    """Put together what the log of releases is told; `force` is somebody's reason to compare nothing."""
    return "; ".join([*filter(None, said), *([] if force is None else [f"forced: {force}"])])


def refusal(comparison: Comparison) -> GateError:
    """Say why a model is refused that was compared."""
    return GateError(f"refused, as it may be worse by more than {-WORST_DIFFERENCE}: {comparison}")


def learnt_until(manifest: Manifest) -> date:
    """Give the last day that a model learnt from.

    Raises:
        GateError: its manifest does not say.

    """
    try:
        return date.fromisoformat(str(manifest.data.get("train_to")))
    except ValueError:
        raise GateError(f"model {manifest.version} does not say which days it learnt from") from None


def _first(challenger: Manifest, champion: Manifest) -> date:
    return max(learnt_until(challenger), learnt_until(champion)) + timedelta(days=1)


def _check(challenger: Manifest, champion: Manifest) -> None:
    one, other = ((each.kind, each.features, each.label_delay_days) for each in (challenger, champion))
    if one != other:
        raise GateError(
            f"model {challenger.version} takes other features than the promoted {champion.version}, or "
            "labels of another delay, so the two cannot be compared"
        )
