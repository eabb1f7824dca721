"""The job that scores, on Flink's mini cluster: its SQL, its operator and its state."""

import json
from pathlib import Path
from typing import Any

import pytest
import saved_history
from mini_cluster import Job, on_files, record
from operators import SWEPT, Former, SoonSwept

from flink_jobs import ml_inference_job
from flink_jobs.domain.transaction import MAX_PAYLOAD_BYTES
from flink_jobs.store.settings import Settings

pytestmark = pytest.mark.usefixtures("flink")

CUSTOMERS = [f"customer-{number}" for number in range(12)]
SHARDS = 4


class Scoring(Job):
    """The job, and what came of the records."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        super().__init__(folder)
        self._settings = settings
        self._sent = 0

    def run(self, operator: type, savepoint: str | None = None, shards: int = SHARDS) -> "Scoring":
        """Start it with an operator in the place of its own."""
        ddl = [on_files(table, self.folder) for table in ml_inference_job.job_tables(self._settings)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ml_inference_job, "ScoreBatches", operator)
            self.start(
                ml_inference_job.scoring_environment(ml_inference_job.NAME),
                lambda tables: ml_inference_job.submit(tables, ddl, self._settings.topics, shards, 20),
                savepoint,
            )
        return self

    def send(self, *payloads: bytes | None) -> None:
        """Send records, whose offsets count up, and wait until each is answered."""
        first = self._sent
        self._sent += len(payloads)
        self.feed(
            "transactions",
            (
                record(payload, 7, offset, "2026-03-01 12:00:00.123")
                for offset, payload in enumerate(payloads, first)
            ),
        )
        self.until(lambda: len(self.answers()) >= self._sent, "an answer to each record")

    def messages(self, topic: str) -> list[Any]:
        return [json.loads(row["value"]) for row in self.rows("outcomes") if row["topic"] == topic]

    def answers(self) -> list[Any]:
        topics = self._settings.topics
        return self.messages(topics.predictions) + self.messages(topics.transactions_dlq)

    def count(self, transaction_id: str) -> float:
        """Tell how many payments of the day the customer's history had, that one included."""
        (alert,) = (
            alert
            for alert in self.messages(self._settings.topics.fraud_alerts)
            if alert["transaction_id"] == transaction_id
        )
        counted: float = alert["features"]["customer_count_1d"]
        return counted


def payment(transaction_id: str, customer_id: str | None, at: str, **more: object) -> bytes:
    fields = {"transaction_id": transaction_id, "event_time": at, "terminal_id": "t", "amount": 10.0}
    if customer_id is not None:
        fields["customer_id"] = customer_id
    return json.dumps(fields | more).encode()


@pytest.fixture
def scoring(tmp_path: Path, settings: Settings) -> Scoring:
    return Scoring(tmp_path, settings)


def test_a_customer_has_one_history_that_goes_on_from_a_savepoint(scoring: Scoring) -> None:
    with scoring.run(SoonSwept) as job:
        job.send(payment("gone-1", "gone", "2026-01-01T12:00:00Z"))
        # customers take turns: a customer's records have all kinds of offsets
        job.send(
            *(
                payment(f"{customer}-{n}", customer, f"2026-02-10T12:0{n}:00Z")
                for n in range(1, 6)
                for customer in CUSTOMERS
            )
        )
        for customer in CUSTOMERS:
            counts = [job.count(f"{customer}-{n}") for n in range(1, 6)]
            assert counts == [1, 2, 3, 4, 5], f"{customer}'s records are not in one history"
        job.until(
            lambda: any("gone" in forgotten for forgotten in job.messages(SWEPT)),
            "a customer is forgotten who was not seen for longer than a history reaches",
        )
        savepoint = job.stop()
    with scoring.run(SoonSwept, savepoint) as job:
        # two hours late, and of it the others know
        job.send(*(payment(f"{customer}-late", customer, "2026-02-10T10:00:00Z") for customer in CUSTOMERS))
        job.send(*(payment(f"{customer}-6", customer, "2026-02-10T13:00:00Z") for customer in CUSTOMERS))
        job.send(payment("gone-2", "gone", "2026-01-01T12:00:00Z"))
        for customer in CUSTOMERS:
            assert job.count(f"{customer}-late") == 1
            assert job.count(f"{customer}-6") == 7
        assert job.count("gone-2") == 1
        job.stop()
    answered = sorted(answer["offset"] for answer in job.answers())
    assert answered == list(range(2 + 7 * len(CUSTOMERS))), "each record has one answer"


def test_what_is_no_transaction_becomes_a_dead_letter(scoring: Scoring, settings: Settings) -> None:
    noon = "2026-02-10T12:00:00Z"
    too_large = payment("large", "c", noon, note="x" * MAX_PAYLOAD_BYTES)
    bad = {
        b"no JSON": "not_json",
        None: "empty",
        b'{"customer_id": "\xff"}': "not_utf8",
        too_large: "too_large",
        payment("nobody", None, noon): "missing_field",
        payment("free", "c", noon, amount=-1): "bad_amount",
        payment("dollars", "c", noon, currency="USD"): "other_currency",
        payment("future", "c", "2999-01-01T00:00:00Z"): "future_event_time",
    }
    # characters of two and three bytes, line breaks and what separates records in a batch
    good = json.dumps(
        json.loads(payment("good \u2028 é €", "ü", noon)), indent=1, ensure_ascii=False
    ).encode()
    with scoring.run(SoonSwept) as job:
        job.send(good, *bad, good)
        job.stop()
    letters = {letter["offset"]: letter for letter in job.messages(settings.topics.transactions_dlq)}
    for offset, (payload, reason) in enumerate(bad.items(), start=1):
        letter = letters.pop(offset)
        assert letter["reason"] == reason
        assert letter["payload_bytes"] == len(payload or b"")
        assert letter["payload"] == (payload or b"")[:1024].decode(errors="replace")
        assert reason != "too_large" or letter["detail"].startswith(f"{len(too_large)} bytes")
        assert (letter["partition"], letter["kafka_timestamp_ms"]) == (7, 1772366400123)
    assert not letters
    predictions = job.messages(settings.topics.predictions)
    assert [(each["transaction_id"], each["offset"]) for each in predictions] == [
        ("good \u2028 é €", 0),
        ("good \u2028 é €", len(bad) + 1),
    ]
    keys = {row["topic"]: row["key"] for row in job.rows("outcomes") if row["topic"] != SWEPT}
    assert keys[settings.topics.predictions] is None
    assert keys[settings.topics.fraud_alerts] == "good \u2028 é €"
    assert keys[settings.topics.transactions_dlq].startswith("7-")


@pytest.fixture(scope="module")
def former(flink: None, tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> tuple[Scoring, str]:
    """State that a former release has left, and its savepoint."""
    del flink
    scoring = Scoring(tmp_path_factory.mktemp("former"), settings)
    with scoring.run(Former) as job:
        job.send(*(payment(customer, customer, f"{saved_history.DAY}T00:00:00Z") for customer in CUSTOMERS))
        return scoring, job.stop()


def test_state_of_a_former_release_is_taken_over(former: tuple[Scoring, str]) -> None:
    scoring, savepoint = former
    with scoring.run(SoonSwept, savepoint) as job:
        job.send(
            *(payment(f"{customer}-3", customer, f"{saved_history.DAY}T01:00:00Z") for customer in CUSTOMERS)
        )
        for customer in CUSTOMERS:
            assert job.count(f"{customer}-3") == len(saved_history.PAYMENTS) + 1
        job.stop()


def test_a_savepoint_of_other_shards_is_refused(former: tuple[Scoring, str]) -> None:
    scoring, savepoint = former
    with (
        pytest.raises(Exception, match="not available in the new program"),
        scoring.run(SoonSwept, savepoint, shards=2) as job,
    ):
        job.until(lambda: False, "it is refused")
