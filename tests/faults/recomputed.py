"""Predictions computed anew: a clean replay of what lies in Kafka, with the very code that serves."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice

from checks import Served
from darkness import Place

from flink_jobs.domain.scoring import Prediction, Record, Scorer
from flink_jobs.store.model_registry import ModelRegistry
from flink_jobs.store.release import Release

BATCH = 500


class NotReleasedError(RuntimeError):
    """A prediction names a model and a table that no release has together."""


class CleanHistories(dict[str, bytes]):
    """Histories of customers who have none when the replay begins."""

    put_all = dict.update


class Replay:
    """Computes predictions with the models and tables that releases name."""

    def __init__(self, registry: ModelRegistry, currency: str, control_share: float) -> None:
        self._registry = registry
        self._currency = currency
        self._control_share = control_share
        self._scorers: dict[Served, Scorer] = {}

    def predictions(
        self, records: Iterable[Record], served: Collection[Served]
    ) -> dict[Served, dict[Place, Prediction]]:
        """Give each record's prediction, by each model and table.

        Args:
            records: all records of their customers, each of whom has one partition; in any order.
            served: what predictions name.

        Raises:
            NotReleasedError: there is no such release.
            ObjectStoreError, ValueError: as for `ModelRegistry.load`.

        """
        ordered = sorted(records)
        return {each: self._replayed(ordered, self.scorer(each)) for each in served}

    def scorer(self, served: Served) -> Scorer:
        """Load the model and the table that a prediction names; errors as for `predictions`."""
        if served not in self._scorers:
            release = next((each for each in self._releases() if _names(each) == served), None)
            if release is None:
                raise NotReleasedError(
                    f"no release has model {served[0]} with terminal risk {served[1]}; `fraud-models log` "
                    "shows those that there are"
                )
            self._scorers[served] = self._registry.load(release)
        return self._scorers[served]

    def _releases(self) -> Iterator[Release]:
        newest = self._registry.log.newest()
        if newest is None:
            return
        # number 0, which is none in the log, is what there was before releases
        stored = self._registry.log.backwards(newest.number) if newest.number else iter([newest])
        yield from (each.release for each in stored if each.release is not None)

    def _replayed(self, records: Sequence[Record], scorer: Scorer) -> dict[Place, Prediction]:
        histories = CleanHistories()
        found: dict[Place, Prediction] = {}
        rest = iter(records)
        while batch := list(islice(rest, BATCH)):
            # the clock, which only alerts name
            now_s = 0.0
            outcomes = scorer.score(batch, histories, now_s, self._currency, self._control_share)
            found |= {(each.partition, each.offset): each for each in outcomes.predictions}
        return found


def _names(release: Release) -> Served:
    return release.model.version, release.risk.version if release.risk else None
