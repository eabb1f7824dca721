"""From records to scores, alerts and dead letters: the work of `ml_inference_job`, without Flink."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from flink_jobs.domain.features import compute_features
from flink_jobs.domain.history import DAY_S, NO_HISTORY, check_format, fold
from flink_jobs.domain.manifest import Manifest
from flink_jobs.domain.model import ServedModel
from flink_jobs.domain.terminal_risk import TerminalRisk
from flink_jobs.domain.transaction import InvalidTransaction, Transaction, parse_transaction

SHOWN_PAYLOAD_BYTES = 1024


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
    """Histories by customer id; Flink's map state is one."""

    def get(self, key: str, /) -> bytes | None:
        """Give the customer's history, None for a new one."""

    def put(self, key: str, value: bytes, /) -> None:
        """Keep the customer's history."""


class Prediction(msgspec.Struct, gc=False):
    """The score of one transaction; partition, offset and timestamp are those of its record."""

    transaction_id: str
    score: float
    model_version: str
    partition: int
    offset: int
    kafka_timestamp_ms: int


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
    """A model and the table of terminal risk that belongs to it."""

    def __init__(self, model: ServedModel, terminal_risk: TerminalRisk) -> None:
        self._model = model
        self._risk = terminal_risk

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
        ready = self._model.manifest.kind == "columns"
        batch = _ReadyBatch(self._model.manifest) if ready else _FoldedBatch(histories, self._risk)
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
        manifest = self._model.manifest
        features = batch.features()
        scores = self._model.score(features.astype(np.float32)).tolist()
        for (record, transaction), row, score in zip(accepted, features, scores, strict=True):
            rounded = round(score, 6)
            yield Prediction(
                transaction.transaction_id,
                rounded,
                manifest.version,
                record.partition,
                record.offset,
                record.timestamp_ms,
            )
            if score >= manifest.threshold:
                yield Alert(
                    transaction.transaction_id,
                    rounded,
                    manifest.threshold,
                    manifest.version,
                    msgspec.Raw(record.payload),
                    dict(zip(manifest.features, row.tolist(), strict=True)),
                    record.partition,
                    record.offset,
                    record.timestamp_ms,
                    int(now_s * 1000),
                )


class _FoldedBatch:
    """Transactions whose features come from the customer's past and the terminal's risk."""

    def __init__(self, histories: Histories, risk: TerminalRisk) -> None:
        self._store = histories
        self._risk = risk
        self._opened: dict[str, bytes] = {}
        self._folded: list[tuple[bytes, int]] = []
        self._terminal_ids: list[str] = []
        self._times_s: list[float] = []
        self._amounts: list[float] = []

    def add(self, transaction: Transaction) -> None:
        """Fold a transaction into its customer's history.

        Raises:
            InvalidTransaction: it does not say who paid, or where.

        """
        customer_id, terminal_id = transaction.customer_id, transaction.terminal_id
        if customer_id is None or terminal_id is None:
            name = "customer_id" if customer_id is None else "terminal_id"
            raise InvalidTransaction("missing_field", f"{name}: this model needs it")
        history = self._opened.get(customer_id)
        if history is None:
            stored = self._store.get(customer_id)
            history = NO_HISTORY if stored is None else check_format(stored)
        time_s, amount = transaction.time_s, transaction.amount
        folded = fold(history, time_s, amount, transaction.transaction_id)
        self._opened[customer_id] = folded[0]
        self._folded.append(folded)
        self._terminal_ids.append(terminal_id)
        self._times_s.append(time_s)
        self._amounts.append(amount)

    def features(self) -> NDArray[np.float64]:
        """Keep the histories, and give [transactions, features]."""
        for customer_id, history in self._opened.items():
            self._store.put(customer_id, history)
        times_s = np.array(self._times_s)
        risks = self._risk.as_of(self._terminal_ids, (times_s // DAY_S).astype(np.int64))
        histories, happened = zip(*self._folded, strict=True)
        return compute_features(histories, happened, times_s, np.array(self._amounts), risks)


class _ReadyBatch:
    """Transactions that bring their features along."""

    def __init__(self, manifest: Manifest) -> None:
        self._names = manifest.features
        self._rows: list[list[float]] = []

    def add(self, transaction: Transaction) -> None:
        """Take a transaction's features.

        Raises:
            InvalidTransaction: one is missing.

        """
        given = transaction.features or {}
        try:
            self._rows.append([given[name] for name in self._names])
        except KeyError as missing:
            detail = f"features.{missing.args[0]}: this model needs it"
            raise InvalidTransaction("missing_feature", detail) from None

    def features(self) -> NDArray[np.float64]:
        """Give [transactions, features]."""
        return np.array(self._rows, dtype=np.float64)


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
