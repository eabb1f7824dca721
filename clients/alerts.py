"""Alerts as they travel on the topic `fraud_alerts`: read, told apart from repeats, shown."""

from collections import OrderedDict
from datetime import UTC, datetime

import msgspec

from flink_jobs.domain.reasons import Reason
from training.printable import printable

REMEMBERED_IDS = 100_000


class AlertedTransaction(msgspec.Struct, frozen=True, gc=False):
    """The part of the transaction that a line shows."""

    amount: float
    customer_id: str | None = None
    terminal_id: str | None = None


class ReceivedAlert(msgspec.Struct, frozen=True, gc=False):
    """What the clients read of an alert; partition, offset and Kafka's timestamp are the transaction's.

    Alerts of models without an explainer have no reasons; neither have old alerts, nor a probability.
    """

    transaction_id: str
    score: float
    threshold: float
    model_version: str
    transaction: AlertedTransaction
    partition: int
    offset: int
    kafka_timestamp_ms: int
    scored_at_ms: int
    reasons: list[Reason] = []
    history_exact_from_ms: int | None = None
    probability: float | None = None


decode_alert = msgspec.json.Decoder(ReceivedAlert).decode


class RecentIds:
    """Remembers the latest ids: after a failure, the job may soon send an alert again."""

    def __init__(self, size: int = REMEMBERED_IDS) -> None:
        self._size = size
        self._ids: OrderedDict[str, None] = OrderedDict()

    def add(self, identifier: str) -> bool:
        """Tell whether `identifier` is new, and remember it as the latest."""
        if identifier in self._ids:
            self._ids.move_to_end(identifier)
            return False
        self._ids[identifier] = None
        if len(self._ids) > self._size:
            self._ids.popitem(last=False)
        return True


def shown(alert: ReceivedAlert, received: datetime) -> str:
    """Write an alert for people: a line of aligned columns, and below it a line for each reason."""
    transaction = alert.transaction
    latency_ms = received.timestamp() * 1000 - alert.kafka_timestamp_ms
    line = (
        f"{received:%H:%M:%S}.{received.microsecond // 1000:03}  transaction {alert.transaction_id:<8} "
        f"customer {transaction.customer_id or '-':<6} terminal {transaction.terminal_id or '-':<6} "
        f"amount {transaction.amount:>9,.2f}  score {alert.score:.3f} (alert at {alert.threshold:.3f})  "
        f"model {alert.model_version}  {latency_ms:,.0f} ms"
        f"{'' if alert.probability is None else f'  fraud with a probability of {alert.probability:.0%}'}"
    )
    reasons = (f"{reason.contribution:>+20.3f}  {reason.text}" for reason in alert.reasons)
    return "\n".join(map(printable, (line, *reasons, *_approximate(alert.history_exact_from_ms))))


def _approximate(exact_from_ms: int | None) -> list[str]:
    """Say what a history of many payments no longer knows exactly."""
    if exact_from_ms is None:
        return []
    exact_from = datetime.fromtimestamp(exact_from_ms / 1000, UTC)
    return [
        f"{'':>22}the customer's payments before {exact_from:%Y-%m-%d %H:%M} UTC are known by the hour only"
    ]
