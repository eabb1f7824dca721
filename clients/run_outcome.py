"""The jobs' results of a run, read from predictions, dead letters and alerts."""

from typing import Any

import msgspec

from clients.alerts import decode_alert
from clients.reconciliation import OffsetCounts, total
from clients.reports import ProducerReport
from flink_jobs.domain.json_errors import NOT_THE_JSON
from flink_jobs.store.settings import Topics


class _Coordinates(msgspec.Struct, gc=False):
    """The place in Kafka of the transaction of a prediction or dead letter."""

    partition: int
    offset: int


class RunOutcome:
    """Takes in records of the three topics, and passes over those of other runs.

    Attributes:
        predictions: how often each record was scored.
        dead_letters: how often each record was refused.
        alert_ids: transactions alerted on.
        to_score_ms: for each alert the time from when Kafka took the record to its score.

    """

    def __init__(self, run: ProducerReport, topics: Topics) -> None:
        self._total = total(run.offsets)
        self._fraud_ids = None if run.fraud_ids is None else frozenset(run.fraud_ids)
        self._in_run = OffsetCounts(run.offsets)
        self._decode = msgspec.json.Decoder(_Coordinates).decode
        self._take = {
            topics.predictions: self._prediction,
            topics.transactions_dlq: self._dead_letter,
            topics.fraud_alerts: self._alert,
        }
        self.predictions = OffsetCounts(run.offsets)
        self.dead_letters = OffsetCounts(run.offsets)
        self.alert_ids: set[str] = set()
        self.to_score_ms: list[float] = []

    def take(self, record: Any) -> bool:  # noqa: ANN401 - kafka-python ships no types
        """Take in one record; False if it is not of the run, or cannot be read."""
        try:
            return self._take[record.topic](record.value or b"")
        except NOT_THE_JSON:
            return False

    @property
    def answered(self) -> int:
        """Records with a prediction or a dead letter."""
        return self._total - self.lost

    @property
    def lost(self) -> int:
        """Records with neither."""
        return sum(map(len, self.predictions.missing_from_both(self.dead_letters).values()))

    def first_lost(self, most: int) -> list[str]:
        """Name up to `most` of the lost records: partition-offset."""
        missing = self.predictions.missing_from_both(self.dead_letters)
        return [
            f"{partition}-{offset}" for partition, offsets in missing.items() for offset in offsets[:most]
        ][:most]

    @property
    def alerts_fraud(self) -> int | None:
        """Alerts on known frauds; None where the data has no labels."""
        return None if self._fraud_ids is None else len(self.alert_ids & self._fraud_ids)

    def _prediction(self, value: bytes) -> bool:
        at = self._decode(value)
        return self.predictions.add(at.partition, at.offset)

    def _dead_letter(self, value: bytes) -> bool:
        at = self._decode(value)
        return self.dead_letters.add(at.partition, at.offset)

    def _alert(self, value: bytes) -> bool:
        alert = decode_alert(value)
        if not self._in_run.add(alert.partition, alert.offset):
            return False
        if alert.transaction_id not in self.alert_ids:
            self.alert_ids.add(alert.transaction_id)
            self.to_score_ms.append(float(alert.scored_at_ms - alert.kafka_timestamp_ms))
        return True
