"""Outcomes travel back to Flink SQL as one row for each topic of a batch."""

import json

import msgspec

from flink_jobs.domain.batch import OUTCOME_SEPARATOR
from flink_jobs.domain.scoring import Alert, DeadLetter, Outcome, Prediction
from flink_jobs.score_batches import to_rows

TOPIC_OF: dict[type[Outcome], str] = {
    Prediction: "predictions",
    Alert: "fraud_alerts",
    DeadLetter: "transactions_dlq",
}


def prediction(number: int) -> Prediction:
    return Prediction(f"t{number}", 0.5, "v1", 3, number, 1700000000000)


def test_outcomes_are_packed_by_topic_in_their_order() -> None:
    payload = msgspec.Raw(b'{"transaction_id": "t1"}')
    alert = Alert("t1", 0.9, 0.8, "v1", payload, {"amount": 1.0}, 3, 1, 1700000000000, 1700000000001, [])
    letter = DeadLetter("not_json", "no", 3, 2, 1700000000000, 3, f"a{OUTCOME_SEPARATOR}b")
    outcomes: list[Outcome] = [letter, prediction(1), alert, prediction(3)]
    rows = {row[0]: row[1].decode().split(OUTCOME_SEPARATOR) for row in to_rows(outcomes, TOPIC_OF)}
    assert [json.loads(message)["transaction_id"] for message in rows["predictions"]] == ["t1", "t3"]
    assert [json.loads(message)["score"] for message in rows["fraud_alerts"]] == [0.9]
    # what separates is escaped within a message
    assert [json.loads(message)["payload"] for message in rows["transactions_dlq"]] == [letter.payload]


def test_no_outcome_makes_no_row() -> None:
    assert list(to_rows([], TOPIC_OF)) == []
