"""Scored transactions of a period, and what is counted among them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.drift_alarms import Changed, Foretold, changed, foretold, is_silence
from clients.drift_source import Labels
from flink_jobs.domain.control import chosen
from flink_jobs.domain.expected_alerts import ExpectedAlerts, dispersion
from flink_jobs.domain.history import DAY_S
from flink_jobs.domain.manifest import Manifest
from training.performance import no_sample

# What frauds are counted among; where labels of others are missing, only control transactions tell of them.
KINDS = {"alerts": "alerts", "others": "control transactions"}


class ScoredRows:
    """Scored transactions.

    Attributes:
        times_s: [rows] event times, in seconds since 1970.
        days: [rows], since 1970-01-01.
        scores: [rows].
        alerted: [rows], by the table that is served.
        by_known: [rows] the same by what is known of terminals: 0, 1, or -1 where the two are not compared.
        ids: [rows] of the transactions.
        origins: [rows] each, terminals and customers; none for ready columns.

    """

    def __init__(self, columns: Sequence[NDArray[Any]]) -> None:
        self._columns = columns
        self.times_s, self.scores, self.alerted, self.by_known, self.ids, *self.origins = columns
        self.days = (self.times_s // DAY_S).astype(np.int64)

    def only(self, wanted: NDArray[np.bool_]) -> "ScoredRows":
        """Leave out rows."""
        return ScoredRows([each[wanted] for each in self._columns])

    def alerts(self) -> ExpectedAlerts:
        """Count alerts and their bursts."""
        alerted = self.only(self.alerted)
        return ExpectedAlerts(len(self.days), len(alerted.days), dispersion(*alerted.origins))

    def changed(self) -> Changed | None:
        """Count the alerts that depend on the table; None where nothing can be compared."""
        rows = self.only(self.by_known >= 0)
        if not len(rows.days):
            return None
        rows = rows.only(rows.alerted | (rows.by_known == 1))
        return changed(rows.alerted != (rows.by_known == 1), *rows.origins)

    def foretold(self, manifest: Manifest, labels: Labels) -> dict[str, Foretold]:
        """Hold the probabilities of alerts, and of others, to the labels, where these tell anything."""
        if manifest.calibration is None or not labels.frauds:
            return {}
        verdicts = self._verdicts(labels)
        kinds = self._kinds(verdicts, labels.control_share)
        untold = _untold(verdicts, kinds)
        knots = manifest.calibration
        probabilities = np.interp(self.scores, knots.scores, knots.probabilities)
        bursts = self.alerts().dispersion
        groups = {name: kind & (verdicts >= 0) for name, kind in kinds.items()}
        return {
            name: foretold(
                probabilities[group], verdicts[group] == 1, bursts, *(each[group] for each in self.origins)
            )
            for name, group in groups.items()
            if name not in untold
        }

    def untold(self, labels: Labels) -> dict[str, str]:
        """Say why labels tell nothing of alerts, or of others; nothing where they do."""
        if not labels.frauds:
            return dict.fromkeys(KINDS, "no label is known")
        verdicts = self._verdicts(labels)
        return _untold(verdicts, self._kinds(verdicts, labels.control_share))

    def missing_labels(self, manifest: Manifest, labels: Labels) -> Iterator[str]:
        """Say so where the latest of these have no label, though some should."""
        labelled = self._labelled(labels)
        if labelled.any():
            last_day = int(self.days[labelled].max())
            before = self.only(labelled)
            share = len(before.days) / int((self.days <= last_day).sum())
            bursts = dispersion(*before.origins)
            since = f"since {np.datetime64(last_day, 'D')}"
        else:
            # frauds at least are labelled, as many as in training
            last_day, facts = 0, manifest.data
            share = float(facts.get("train_frauds") or 0) / float(facts.get("train_transactions") or 1)
            bursts = 1.0 if manifest.expected_alerts is None else manifest.expected_alerts.dispersion
            since = "in the period"
        payments = int((self.days > last_day).sum())
        if not is_silence(payments, share, bursts):
            return
        yield (
            f"no label came {since} for any of {payments:,} transactions that are older than the delay of "
            f"labels, {manifest.label_delay_days} d: do labels come into the lake?"
        )

    def _kinds(self, verdicts: NDArray[np.int8], control_share: float) -> dict[str, NDArray[np.bool_]]:
        """Give alerts and others, [rows] each: where labels of others are missing, control transactions."""
        others = ~self.alerted
        if (verdicts[others] < 0).any():
            # what is labelled of the rest are frauds that somebody reported
            others &= chosen(self.ids.tolist(), control_share)
        return {"alerts": self.alerted, "others": others}

    def _verdicts(self, labels: Labels) -> NDArray[np.int8]:
        """Give 1 for a fraud, 0 for honest, -1 for unknown: [rows]."""
        silence = 0 if labels.unlabelled_is_honest else -1
        return np.array([labels.frauds.get(name, silence) for name in self.ids.tolist()], dtype=np.int8)

    def _labelled(self, labels: Labels) -> NDArray[np.bool_]:
        return np.array([name in labels.frauds for name in self.ids.tolist()], dtype=np.bool_)


def _untold(verdicts: NDArray[np.int8], kinds: Mapping[str, NDArray[np.bool_]]) -> dict[str, str]:
    reasons = {name: _why_untold(verdicts[kind], KINDS[name]) for name, kind in kinds.items()}
    return {name: reason for name, reason in reasons.items() if reason}


def _why_untold(verdicts: NDArray[np.int8], words: str) -> str:
    """Say why labels of a kind tell nothing; "" where they do."""
    if not len(verdicts):
        return f"there are no {words}"
    if (verdicts < 0).all():
        return f"none of {len(verdicts):,} {words} is labelled"
    return no_sample(verdicts, words)
