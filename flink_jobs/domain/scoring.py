"""From records to scores, alerts and dead letters: the work of `ml_inference_job`, without Flink."""

import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from flink_jobs.domain.drift import DriftCounts
from flink_jobs.domain.feature_batch import FoldedBatch, Histories, ReadyBatch
from flink_jobs.domain.manifest import Manifest
from flink_jobs.domain.model import ServedModel
from flink_jobs.domain.reasons import Reason, strongest_reasons
from flink_jobs.domain.terminal_risk import TerminalRisk
from flink_jobs.domain.transaction import InvalidTransaction, Transaction, parse_transaction

SHOWN_PAYLOAD_BYTES = 1024

_log = logging.getLogger(__name__)


class Record(NamedTuple):
    """A record of the topic `transactions` and where it lies.

    Attributes:
        payload_bytes: the length in Kafka; `payload` may be cut past MAX_PAYLOAD_BYTES.

    """

    partition: int
    offset: int
    timestamp_ms: int
    payload_bytes: int
    payload: bytes


class Prediction(msgspec.Struct, gc=False, omit_defaults=True):
    """The score of one transaction; partition, offset and timestamp are those of its record.

    What the challenger says of it is left out of the message where there is none.
    """

    transaction_id: str
    score: float
    model_version: str
    partition: int
    offset: int
    kafka_timestamp_ms: int
    challenger_score: float | None = None
    challenger_version: str | None = None


class Alert(msgspec.Struct, gc=False):
    """A transaction whose score reached the model's threshold: whole, what the model saw, and why.

    Attributes:
        reasons: what moved the score most, the strongest first; none where the model has no explainer.

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


class DeadLetter(msgspec.Struct, gc=False):
    """A record that could not be scored: why, where it lies, and how it begins."""

    reason: str
    detail: str
    partition: int
    offset: int
    kafka_timestamp_ms: int
    payload_bytes: int
    payload: str


Outcome = Prediction | Alert | DeadLetter


class Scorer:
    """A model and the table of terminal risk that belongs to it.

    Attributes:
        drift: counts what is scored; None where the model was published without distributions.
        challenger: a model of the same features that scores every transaction as well, and raises no alert.

    """

    challenger: ServedModel | None = None

    def __init__(self, model: ServedModel, terminal_risk: TerminalRisk) -> None:
        self._model = model
        self._risk = terminal_risk
        distributions = model.manifest.distributions
        self.drift = DriftCounts(distributions) if distributions else None

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
        """The first day that terminals' frauds are known for, since 1970-01-01; 0 where none is needed."""
        return self._risk.first_day

    def score(self, records: Sequence[Record], histories: Histories, now_s: float) -> Iterator[Outcome]:
        """Score a batch: one prediction for each transaction, an alert beside it where due.

        Args:
            records: in the order they are to be folded into their customers' histories.
            histories: read and written once for each customer of the batch.
            now_s: the clock, in seconds since 1970.

        Yields:
            Prediction, Alert or DeadLetter.

        """
        manifest = self._model.manifest
        batch = (
            ReadyBatch(manifest.features)
            if manifest.kind == "columns"
            else FoldedBatch(histories, self._risk)
        )
        accepted: list[tuple[Record, Transaction]] = []
        for record in records:
            try:
                transaction = parse_transaction(record.payload, now_s)
                batch.add(transaction)
                accepted.append((record, transaction))
            except InvalidTransaction as invalid:
                yield _dead_letter(record, invalid)
        if not accepted:
            return
        features = batch.features()
        matrix = features.astype(np.float32)
        scored = self._model.score(matrix)
        if self.drift is not None:
            self.drift.add(matrix, scored)
        scores = scored.tolist()
        contributions = self._contributions(matrix, scores)
        challenging, challenger_version = self._challenge(matrix)
        for (record, transaction), row, score, challenger_score in zip(
            accepted, features, scores, challenging, strict=True
        ):
            rounded = round(score, 6)
            yield Prediction(
                transaction.transaction_id,
                rounded,
                manifest.version,
                record.partition,
                record.offset,
                record.timestamp_ms,
                challenger_score,
                challenger_version,
            )
            if score >= manifest.threshold:
                seen = dict(zip(manifest.features, row.tolist(), strict=True))
                yield Alert(
                    transaction.transaction_id,
                    rounded,
                    manifest.threshold,
                    manifest.version,
                    msgspec.Raw(record.payload),
                    seen,
                    record.partition,
                    record.offset,
                    record.timestamp_ms,
                    int(now_s * 1000),
                    strongest_reasons(seen, next(contributions), manifest.distributions),
                )

    def _contributions(self, matrix: NDArray[np.float32], scores: list[float]) -> Iterator[list[float]]:
        """Explain the alerts of a batch, all at once when the first is asked for."""
        alerted = [number for number, score in enumerate(scores) if score >= self._model.manifest.threshold]
        yield from self._model.explain(matrix[alerted]).tolist()

    def _challenge(self, matrix: NDArray[np.float32]) -> tuple[Sequence[float | None], str | None]:
        """Give the challenger's scores and version; one that fails is dropped, whatever the reason."""
        # read once: it may be replaced meanwhile
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
