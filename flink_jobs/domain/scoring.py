"""From records to scores, alerts and dead letters: the work of `ml_inference_job`, without Flink."""

import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from flink_jobs.domain.features import compute_features
from flink_jobs.domain.history import DAY_S, History
from flink_jobs.domain.manifest import Manifest
from flink_jobs.domain.model import ServedModel
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


class Histories(Protocol):
    """Packed histories by customer id; Flink's map state is one."""

    def get(self, key: str, /) -> bytes | None:
        """Give the customer's packed history, None for a new one."""

    def put(self, key: str, value: bytes, /) -> None:
        """Keep the customer's packed history."""


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
    """A transaction whose score reached the model's threshold, whole, and what the model saw."""

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
        challenger: a model of the same features that scores every transaction as well, and raises no alert.

    """

    challenger: ServedModel | None = None

    def __init__(self, model: ServedModel, terminal_risk: TerminalRisk) -> None:
        self._model = model
        self._risk = terminal_risk
        self._row = self._computed_row if model.manifest.kind == "history" else self._ready_row

    @property
    def manifest(self) -> Manifest:
        """The model's description."""
        return self._model.manifest

    @property
    def version(self) -> str:
        """The model's version."""
        return self._model.manifest.version

    def score(self, records: Sequence[Record], histories: Histories, now_s: float) -> Iterator[Outcome]:
        """Score a batch: one prediction for each transaction, an alert beside it where due.

        Args:
            records: in the order they are to be folded into their customers' histories.
            histories: read and written once for each customer of the batch.
            now_s: the clock, in seconds since 1970.

        Yields:
            Prediction, Alert or DeadLetter.

        """
        opened: dict[str, History] = {}
        accepted: list[tuple[Record, Transaction]] = []
        rows: list[list[float]] = []
        for record in records:
            try:
                transaction = parse_transaction(record.payload, now_s)
                rows.append(self._row(transaction, opened, histories))
                accepted.append((record, transaction))
            except InvalidTransaction as invalid:
                yield _dead_letter(record, invalid)
        if not rows:
            return
        for customer_id, history in opened.items():
            histories.put(customer_id, history.to_bytes())
        manifest = self._model.manifest
        matrix = np.array(rows, dtype=np.float32)
        scores = self._model.score(matrix).tolist()
        challenging, challenger_version = self._challenge(matrix)
        for (record, transaction), row, score, challenger_score in zip(
            accepted, rows, scores, challenging, strict=True
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
                yield Alert(
                    transaction.transaction_id,
                    rounded,
                    manifest.threshold,
                    manifest.version,
                    msgspec.Raw(record.payload),
                    dict(zip(manifest.features, row, strict=True)),
                    record.partition,
                    record.offset,
                    record.timestamp_ms,
                    int(now_s * 1000),
                )

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

    def _computed_row(
        self, transaction: Transaction, opened: dict[str, History], histories: Histories
    ) -> list[float]:
        """Features from the customer's past and the terminal's risk."""
        customer_id, terminal_id = transaction.customer_id, transaction.terminal_id
        if customer_id is None or terminal_id is None:
            name = "customer_id" if customer_id is None else "terminal_id"
            raise InvalidTransaction("missing_field", f"{name}: this model needs it")
        history = opened.get(customer_id)
        if history is None:
            packed = histories.get(customer_id)
            history = opened[customer_id] = History() if packed is None else History.from_bytes(packed)
        time_s = transaction.time_s
        risk = self._risk.lookup(terminal_id, int(time_s // DAY_S))
        return compute_features(history, risk, time_s, transaction.amount, transaction.transaction_id)

    def _ready_row(self, transaction: Transaction, _opened: object, _histories: object) -> list[float]:
        """Features that came with the record."""
        given = transaction.features or {}
        try:
            return [given[name] for name in self._model.manifest.features]
        except KeyError as missing:
            detail = f"features.{missing.args[0]}: this model needs it"
            raise InvalidTransaction("missing_feature", detail) from None


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
