"""From records to scores, alerts and dead letters: the work of `ml_inference_job`, without Flink."""

import copy
import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from flink_jobs.domain.control import chosen
from flink_jobs.domain.drift import DriftCounts
from flink_jobs.domain.feature_batch import FoldedBatch, Histories, ReadyBatch
from flink_jobs.domain.history import DAY_S
from flink_jobs.domain.manifest import Manifest
from flink_jobs.domain.model import ServedModel
from flink_jobs.domain.reasons import Reason, strongest_reasons
from flink_jobs.domain.terminal_risk import TerminalRisk
from flink_jobs.domain.transaction import (
    DEFAULT_CURRENCY,
    InvalidTransaction,
    Transaction,
    parse_transaction,
)

SHOWN_PAYLOAD_BYTES = 1024

_log = logging.getLogger(__name__)


class Record(msgspec.Struct, order=True, frozen=True, gc=False):
    """A record of the topic `transactions`; records are ordered by partition and offset.

    Attributes:
        timestamp_ms: Kafka's, in ms since 1970; event times more than a day past it are refused.
        payload_bytes: the length in Kafka; `payload` may be cut past MAX_PAYLOAD_BYTES.

    """

    partition: int
    offset: int
    timestamp_ms: int
    payload_bytes: int
    payload: bytes


class Prediction(msgspec.Struct, gc=False, omit_defaults=True):
    """The score of one transaction; partition, offset and timestamp are those of its record.

    What is None is left out of the message.

    Attributes:
        threshold: from which score on the model raises an alert.
        risk_version: of the table of terminal risk; None where the model takes ready columns.
        control_probability: only of a control transaction: with which transactions that raise no alert were
            chosen.
        features: only of alerts and control transactions: what the model saw.

    """

    transaction_id: str
    score: float
    model_version: str
    partition: int
    offset: int
    kafka_timestamp_ms: int
    challenger_score: float | None = None
    challenger_version: str | None = None
    threshold: float | None = None
    risk_version: str | None = None
    control_probability: float | None = None
    features: dict[str, float] | None = None


class Alert(msgspec.Struct, gc=False, omit_defaults=True):
    """A transaction whose score reached the model's threshold, with its features and reasons.

    Attributes:
        reasons: what moved the score most, the strongest first; none where the model has no explainer.
        history_exact_from_ms: only where the customer made so many payments that the history has those before
            this time by the hour: then the customer's counts, means and largest amount may be off by the
            payments of the hour in which a window begins or ends, and by repeats among those before.
        probability: of fraud, as calibrated; left out where the model has no calibration.

    """

    transaction_id: str
    score: float
    threshold: float
    model_version: str
    transaction: msgspec.Raw
    features: dict[str, float]
    partition: int
    offset: int
    kafka_timestamp_ms: int
    scored_at_ms: int
    reasons: list[Reason]
    history_exact_from_ms: int | None = None
    probability: float | None = None


class DeadLetter(msgspec.Struct, gc=False):
    """A record that could not be scored: why, where it lies, and how it begins."""

    reason: str
    detail: str
    partition: int
    offset: int
    kafka_timestamp_ms: int
    payload_bytes: int
    payload: str


class Outcomes(NamedTuple):
    """A batch's outcomes: a prediction for each transaction, alerts, and records that are no transactions."""

    predictions: list[Prediction]
    alerts: list[Alert]
    dead_letters: list[DeadLetter]


class _Explained(NamedTuple):
    """A transaction that raises an alert, by its number in the batch."""

    number: int
    features: dict[str, float]
    reasons: list[Reason]
    exact_from_s: float | None


class Scorer:
    """A model and the table of terminal risk that belongs to it.

    Attributes:
        risk_version: of the table, as the release names it; None without one.
        drift: counts what is scored; None where the model was published without distributions.
        challenger: a model of the same features that scores every transaction as well, and raises no alert.

    """

    challenger: ServedModel | None = None

    def __init__(
        self, model: ServedModel, terminal_risk: TerminalRisk, risk_version: str | None = None
    ) -> None:
        self._model = model
        self._risk = terminal_risk
        self.risk_version = risk_version
        distributions = model.manifest.distributions
        self.drift = DriftCounts(distributions) if distributions else None
        self._last_event_s = 0.0

    @property
    def manifest(self) -> Manifest:
        """The model's description."""
        return self._model.manifest

    @property
    def version(self) -> str:
        """The model's version."""
        return self._model.manifest.version

    @property
    def first_day(self) -> int:
        """The first day of the terminal risk, since 1970-01-01; 0 if the table is empty."""
        return int(self._risk.days[0]) if len(self._risk.days) else 0

    @property
    def terminal_risk(self) -> TerminalRisk:
        """The table in use."""
        return self._risk

    @property
    def risk_age_days(self) -> int:
        """Days from the newest terminal risk to the latest scored batch; 0 if its day is known."""
        return self._risk.age_days(int(self._last_event_s // DAY_S))

    def challenged_by(self, challenger: ServedModel | None) -> "Scorer":
        """Give a copy with this challenger, or without one; it shares model, terminal risk and counts."""
        other = copy.copy(self)
        other.challenger = challenger
        return other

    def told(self, terminal_risk: TerminalRisk, risk_version: str | None = None) -> "Scorer":
        """Give a copy with this terminal risk; it shares model, challenger and counts."""
        other = copy.copy(self)
        other._risk = terminal_risk  # noqa: SLF001 - its own class
        other.risk_version = risk_version
        return other

    def score(
        self,
        records: Sequence[Record],
        histories: Histories,
        now_s: float,
        currency: str = DEFAULT_CURRENCY,
        control_share: float = 0.0,
    ) -> Outcomes:
        """Score a batch.

        Args:
            records: in the order they are to be folded into their customers' histories.
            histories: read and written once for each customer of the batch.
            now_s: the clock, in seconds since 1970; alerts name it.
            currency: of the amounts; transactions that name another are refused.
            control_share: with which transactions that raise no alert are control transactions.

        """
        manifest = self._model.manifest
        batch = (
            ReadyBatch(manifest.features)
            if manifest.kind == "columns"
            else FoldedBatch(histories, self._risk)
        )
        accepted: list[tuple[Record, Transaction]] = []
        dead_letters: list[DeadLetter] = []
        for record in records:
            try:
                transaction = parse_transaction(
                    # as whoever reads the lake judges it, and whenever it is scored
                    record.payload,
                    record.timestamp_ms / 1000,
                    currency,
                    record.payload_bytes,
                )
                batch.add(transaction)
                accepted.append((record, transaction))
            except InvalidTransaction as invalid:
                dead_letters.append(_dead_letter(record, invalid))
        if not accepted:
            return Outcomes([], [], dead_letters)
        self._last_event_s = accepted[-1][1].time_s
        features = batch.features()
        matrix = features.astype(np.float32)
        scores = self._model.score(matrix)
        if self.drift is not None:
            self.drift.add(matrix, scores)
        challenging, challenger_version = self._challenge(matrix)
        version, threshold, risk_version = manifest.version, manifest.threshold, self.risk_version
        predictions = [
            Prediction(
                transaction.transaction_id,
                round(score, 6),
                version,
                record.partition,
                record.offset,
                record.timestamp_ms,
                challenger_score,
                challenger_version,
                threshold,
                risk_version,
            )
            for (record, transaction), score, challenger_score in zip(
                accepted, scores.tolist(), challenging, strict=True
            )
        ]
        alerting = scores.astype(np.float64) >= threshold
        alerted = np.flatnonzero(alerting)
        alerts: list[Alert] = []
        if len(alerted):
            for each in self._explained(batch, alerted, features, matrix):
                predictions[each.number].features = each.features
                alerts.append(self._alert(accepted[each.number][0], predictions[each.number], each, now_s))
        if control_share:
            picked = chosen([transaction.transaction_id for _, transaction in accepted], control_share)
            for number in np.flatnonzero(picked & ~alerting).tolist():
                predictions[number].control_probability = control_share
                predictions[number].features = self._seen(features[number])
        return Outcomes(predictions, alerts, dead_letters)

    def _seen(self, values: NDArray[np.float64]) -> dict[str, float]:
        """Name the values of a transaction's features."""
        return dict(zip(self._model.manifest.features, values.tolist(), strict=True))

    def _explained(
        self,
        batch: ReadyBatch | FoldedBatch,
        alerted: NDArray[np.int64],
        features: NDArray[np.float64],
        matrix: NDArray[np.float32],
    ) -> Iterator[_Explained]:
        """Explain each transaction that raises an alert."""
        manifest = self._model.manifest
        contributions = self._model.explain(matrix[alerted]).tolist()
        for number, moved in zip(alerted.tolist(), contributions, strict=True):
            seen = self._seen(features[number])
            reasons = strongest_reasons(
                seen,
                moved,
                manifest.distributions,
                batch.words(number, manifest.label_delay_days),
            )
            yield _Explained(number, seen, reasons, batch.exact_from_s(number))

    def _alert(
        self,
        record: Record,
        prediction: Prediction,
        explained: _Explained,
        now_s: float,
    ) -> Alert:
        manifest = self._model.manifest
        return Alert(
            prediction.transaction_id,
            prediction.score,
            manifest.threshold,
            manifest.version,
            _on_one_line(record.payload),
            explained.features,
            record.partition,
            record.offset,
            record.timestamp_ms,
            int(now_s * 1000),
            explained.reasons,
            None if explained.exact_from_s is None else int(explained.exact_from_s * 1000),
            None if manifest.calibration is None else manifest.calibration.probability(prediction.score),
        )

    def _challenge(self, matrix: NDArray[np.float32]) -> tuple[Sequence[float | None], str | None]:
        """Give the challenger's scores and version; drop a challenger that fails, whatever the reason."""
        challenger = self.challenger
        if challenger is None:
            return [None] * len(matrix), None
        try:
            scores = challenger.score(matrix).astype(np.float64).round(6).tolist()
        except Exception:  # noqa: BLE001 - whatever it is, the champion goes on
            self.challenger = None
            _log.exception("challenger %s failed and is dropped", challenger.manifest.version)
            return [None] * len(matrix), None
        return scores, challenger.manifest.version


def _on_one_line(payload: bytes) -> msgspec.Raw:
    """Give JSON without line breaks; they can only stand between its values.

    Nothing is decoded again: what could just be decoded once might be too deep one call further down.
    """
    return msgspec.Raw(payload.replace(b"\n", b" ").replace(b"\r", b" "))


def _dead_letter(record: Record, invalid: InvalidTransaction) -> DeadLetter:
    return DeadLetter(
        invalid.reason,
        invalid.detail,
        record.partition,
        record.offset,
        record.timestamp_ms,
        record.payload_bytes,
        record.payload[:SHOWN_PAYLOAD_BYTES].decode(errors="replace"),
    )
