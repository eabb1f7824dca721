"""Outcomes travel back to Flink SQL as one row for each topic of a batch."""

import json

import msgspec

from flink_jobs.domain.scoring import Alert, DeadLetter, Outcomes, Prediction
from flink_jobs.score_batches import to_rows
from flink_jobs.store.settings import Topics

TOPICS = Topics("transactions", "predictions", "fraud_alerts", "transactions_dlq")


def prediction(number: int) -> Prediction:
    return Prediction(f"t{number}", 0.5, "v1", 3, number, 1700000000000)


def test_outcomes_are_packed_by_topic_in_their_order() -> None:
    payload = msgspec.Raw(b'{"transaction_id": "t1"}')
    alert = Alert("t1", 0.9, 0.8, "v1", payload, {"amount": 1.0}, 3, 1, 1700000000000, 1700000000001, [])
    letter = DeadLetter("not_json", "no", 3, 2, 1700000000000, 3, "a\nb")
    outcomes = Outcomes([prediction(1), prediction(3)], [alert], [letter])
    rows = {row[0]: row[1].decode().split("\n") for row in to_rows(outcomes, TOPICS)}
    assert [json.loads(message)["transaction_id"] for message in rows["predictions"]] == ["t1", "t3"]
    assert [json.loads(message)["score"] for message in rows["fraud_alerts"]] == [0.9]
    # within a message, the separator is escaped
    assert [json.loads(message)["payload"] for message in rows["transactions_dlq"]] == ["a\nb"]


def test_no_outcome_makes_no_row() -> None:
    assert list(to_rows(Outcomes([], [], []), TOPICS)) == []
