"""The job that scores, on Flink's mini cluster: its SQL, its operator and its state."""

import gzip
import io
import json
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mini_cluster import Job, JobFailedError, on_files, record
from operators import FAILED, FAILING, IN_A_BUCKET, WALKED, FailingOnce, Walking

from flink_jobs import ml_inference_job
from flink_jobs.domain.buckets import BUCKETS, bucket_of
from flink_jobs.domain.transaction import MAX_PAYLOAD_BYTES
from flink_jobs.lost_state import Beginning
from flink_jobs.ml_inference_job import Batching
from flink_jobs.score_batches import ScoreBatches
from flink_jobs.shards import SHARDS_OF_A_SUBTASK
from flink_jobs.store.object_store import s3_client
from flink_jobs.store.settings import Settings

pytestmark = pytest.mark.usefixtures("flink")

CUSTOMERS = [f"customer-{number}" for number in range(12)]
# Those of the savepoint of form 2, each in another bucket; `busy`, whose history is summed, comes with them.
IN_FORM_2 = [*(f"customer-{number}" for number in range(0, 240, 10)), "Zoë", "客户"]
BUSY_FROM = datetime(2026, 2, 6, tzinfo=UTC)
BUSY_SCORED = 1101


class Scoring(Job):
    """The job, and what came of the records.

    Attributes:
        sent: how many records are to be answered.

    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        super().__init__(folder)
        self._settings = settings
        self.sent = 0

    def run(  # noqa: PLR0913 - a job has that many properties
        self,
        savepoint: str | None = None,
        parallelism: int = 2,
        shards: int | None = None,
        batch_ms: int = 20,
        *,
        chained: bool = True,
        operator: type = ScoreBatches,
        beginning: Beginning | None = None,
    ) -> "Scoring":
        """Start it, with two shards a subtask if not told otherwise; an operator may stand in for its own.

        One subtask's sink of files is chained otherwise than that of several, so it has state of other
        operators unless none is chained. That of Kafka is not: see `test_plans.py`.
        """
        ddl = [on_files(table, self.folder) for table in ml_inference_job.job_tables(self._settings)]
        shards = shards or SHARDS_OF_A_SUBTASK * parallelism
        environment = ml_inference_job.scoring_environment(ml_inference_job.NAME)
        if not chained:
            environment.disable_operator_chaining()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ml_inference_job, "ScoreBatches", operator)
            return self.start(
                environment,
                lambda tables: ml_inference_job.submit(
                    tables, ddl, self._settings.topics, Batching(shards, batch_ms), beginning
                ),
                savepoint,
                parallelism,
                restarts=operator is FailingOnce,
            )

    def begin_to_send(self, *payloads: bytes | None) -> None:
        """Send records, whose offsets count up."""
        first = self.sent
        self.sent += len(payloads)
        self.feed(
            "transactions",
            (
                record(payload, 7, offset, "2026-03-01 12:00:00.123")
                for offset, payload in enumerate(payloads, first)
            ),
        )

    def send(self, *payloads: bytes | None) -> None:
        """Send records, whose offsets count up, and wait until each is answered."""
        self.begin_to_send(*payloads)
        self.until(lambda: len(self.answers()) >= self.sent, "an answer to each record")

    def messages(self, topic: str) -> list[Any]:
        return [json.loads(row["value"]) for row in self.rows("outcomes") if row["topic"] == topic]

    def answers(self) -> list[Any]:
        topics = self._settings.topics
        return self.messages(topics.predictions) + self.messages(topics.transactions_dlq)

    def features(self) -> dict[str, dict[str, float]]:
        """Give the features of each transaction by its id; none was scored twice."""
        alerts = self.messages(self._settings.topics.fraud_alerts)
        features = {alert["transaction_id"]: alert["features"] for alert in alerts}
        assert len(features) == len(alerts)
        return features

    def count(self, transaction_id: str) -> float:
        """Tell how many payments of the day the customer's history had, that one included."""
        return self.features()[transaction_id]["customer_count_1d"]


def payment(transaction_id: str, customer_id: str | None, at: str, **more: object) -> bytes:
    fields = {"transaction_id": transaction_id, "event_time": at, "terminal_id": "t", "amount": 10.0}
    if customer_id is not None:
        fields["customer_id"] = customer_id
    return json.dumps(fields | more).encode()


def in_minute(customer: str, minute: int) -> bytes:
    return payment(f"{customer}-{minute}", customer, f"2026-02-10T12:{minute:02}:00Z")


def of_busy(number: int) -> bytes:
    at = BUSY_FROM + timedelta(minutes=5 * number)
    return payment(f"busy-{number}", "busy", f"{at:%FT%TZ}", amount=amount_of_busy(number))


def amount_of_busy(number: int) -> float:
    return 10.0 + number % 7


@pytest.fixture
def scoring(tmp_path: Path, settings: Settings) -> Scoring:
    return Scoring(tmp_path, settings)


def test_a_customer_has_one_history_at_any_parallelism(scoring: Scoring) -> None:
    savepoint = None
    hours = 0
    # three subtasks share 128 key groups unevenly; a rescale keeps the shards that both can share
    for parallelism, shards in ((2, 4), (4, 8), (1, 3), (3, 6), (3, 3)):
        with scoring.run(savepoint, parallelism, shards, chained=False) as job:
            # customers take turns: a customer's records have all kinds of offsets
            job.send(
                *(
                    payment(f"{customer}-{hour}", customer, f"2026-02-10T12:0{hour}:00Z")
                    for hour in (hours, hours + 1)
                    for customer in CUSTOMERS
                )
            )
            for customer in CUSTOMERS:
                counts = [job.count(f"{customer}-{hour}") for hour in (hours, hours + 1)]
                assert counts == [hours + 1, hours + 2], f"{customer}'s records are not in one history"
            hours += 2
            savepoint = job.stop()
    answered = sorted(answer["offset"] for answer in scoring.answers())
    assert answered == list(range(hours * len(CUSTOMERS))), "each record has one answer"


def test_any_number_of_subtasks_can_share_as_many_shards_as_there_are_buckets(scoring: Scoring) -> None:
    customers = list({bucket_of(name): name for name in (f"customer-{n}" for n in range(1000))}.values())
    assert len(customers) == BUCKETS
    with scoring.run(parallelism=3, shards=BUCKETS, batch_ms=3000, chained=False) as job:
        job.send(*(in_minute(customer, 1) for customer in customers))
        # as a batch begins, so that it is still gathered when three subtasks hand it on to two
        time.sleep(-time.time() % 3)
        job.begin_to_send(*(in_minute(customer, 2) for customer in customers))
        time.sleep(1)
        savepoint = job.stop()
    with scoring.run(savepoint, 2, BUCKETS, batch_ms=3000, chained=False) as job:
        job.send(*(in_minute(customer, 3) for customer in customers))
        job.stop()
    assert {name: each["customer_count_1d"] for name, each in job.features().items()} == {
        f"{customer}-{minute}": minute for customer in customers for minute in (1, 2, 3)
    }


def test_subtasks_that_cannot_share_the_shards_before_are_refused(scoring: Scoring) -> None:
    """As Flink may start them, where a TaskManager is lost before the first checkpoint after a change."""
    with scoring.run(parallelism=2, shards=4, chained=False) as job:
        job.send(payment("t", "c", "2026-02-10T12:00:00Z"))
        savepoint = job.stop()
    with (
        pytest.raises(JobFailedError, match="a job with 4 shards, which 3 subtasks cannot share"),
        scoring.run(savepoint, 3, 6, chained=False) as job,
    ):
        job.until(lambda: False, "it is refused")


def test_a_record_that_went_to_another_subtask_is_refused(scoring: Scoring, settings: Settings) -> None:
    noon = "2026-02-10T12:00:00Z"
    too_long = 10**1000
    with scoring.run() as job:
        job.send(*(payment(f"{customer}-1", customer, noon) for customer in CUSTOMERS))
        job.send(*(payment(f"{customer}-2", customer, noon, x=too_long) for customer in CUSTOMERS))
        job.stop()
    letters = job.messages(settings.topics.transactions_dlq)
    assert {letter["reason"] for letter in letters} == {"misread_customer_id"}
    refused = {
        json.loads(letter["payload"][:100].partition(', "terminal')[0] + "}")["transaction_id"]
        for letter in letters
    }
    # those that came to the right subtask by chance
    scored = [customer for customer in CUSTOMERS if f"{customer}-2" not in refused]
    assert len(scored) == len(CUSTOMERS) - len(letters) > 0
    assert [job.count(f"{customer}-2") for customer in scored] == [2] * len(scored)


def test_histories_come_back_from_a_checkpoint(scoring: Scoring) -> None:
    noon, later = "2026-02-10T12:00:00Z", "2026-02-10T13:00:00Z"
    with scoring.run(parallelism=3, operator=FailingOnce) as job:
        # answers are seen when a checkpoint is complete
        job.send(*(payment(f"{customer}-1", customer, noon) for customer in CUSTOMERS))
        customers = [FAILING.decode(), *CUSTOMERS]
        job.send(*(payment(f"{customer}-2", customer, later) for customer in customers))
        assert job.messages(FAILED) == [1]
        assert [job.count(f"{customer}-2") for customer in customers] == [1] + [2] * len(CUSTOMERS)
        job.stop()
    assert sorted(answer["offset"] for answer in job.answers()) == list(range(1 + 2 * len(CUSTOMERS)))


def test_a_walk_through_a_bucket_goes_on_after_other_batches(scoring: Scoring) -> None:
    with scoring.run(parallelism=1, operator=Walking) as job:
        for number in range(8):
            job.send(payment(f"t{number}", "c", "2026-02-10T12:00:00Z"))
        job.stop()
    walked = Counter(customer for customers in job.messages(WALKED) for customer in customers)
    there = {f"{bucket}-{number:03}" for bucket in (0, 1) for number in range(IN_A_BUCKET)}
    assert walked.keys() <= there
    assert set(walked.values()) == {1}
    # after 128 customers it goes on from the last of them; where that was removed, it leaves one out
    assert len(there - walked.keys()) <= 2 * (IN_A_BUCKET // 128)


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
    with scoring.run() as job:
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
    keys = {row["topic"]: row["key"] for row in job.rows("outcomes")}
    assert keys[settings.topics.predictions] is None
    assert keys[settings.topics.fraud_alerts] == "good \u2028 é €"
    assert keys[settings.topics.transactions_dlq].startswith("7-")


def released_savepoint(name: str, folder: Path) -> str:
    """Give what a release left: of each customer three payments that were scored, and a fourth to come.

    That job had two subtasks and batches of three seconds. It was stopped while the fourth payments were
    being gathered. With form 1, it was the last release that had it, and there were four shards.

    With form 2, it was version 0.1.0 on Flink 2.3.0 with six shards, `chained=False`, and ids were in UTF-8.
    The first batch had `in_minute` 1 and 2 of IN_FORM_2, 3 of IN_FORM_2[::2], and `of_busy` 0 to 1099. The
    second had 3 of IN_FORM_2[1::2] and `of_busy` 1100: they lie beside the histories of the first. What was
    being gathered was `in_minute` 4 and `of_busy` 1101.

    To make the next one, start such a job with `execution.checkpointing.data-inline-threshold` of 1 mb among
    OPTIONS. Send each batch just after the clock's seconds are a multiple of three, the last of them by
    `begin_to_send`; a second later stop the job. Pack `_metadata`, which is the only file, by `gzip -n -9`.
    """
    packed = Path(__file__).parents[1] / f"shared/released/savepoints/{name}.gz"
    (folder / "_metadata").write_bytes(gzip.decompress(packed.read_bytes()))
    return folder.as_uri()


@pytest.mark.parametrize(
    ("name", "customers", "parallelism"),
    [("form-1", CUSTOMERS, 2), ("form-1", CUSTOMERS, 4), ("form-1-raw-ids", [*CUSTOMERS, "Zoë", "客户"], 1)],
)
def test_state_of_form_1_is_taken_over(
    scoring: Scoring, tmp_path: Path, name: str, customers: list[str], parallelism: int
) -> None:
    savepoint = released_savepoint(name, tmp_path)
    with scoring.run(savepoint, parallelism, shards=4, batch_ms=3000, chained=parallelism > 1) as job:
        job.sent = len(customers)
        job.send(*(in_minute(customer, 5) for customer in customers))
        for customer in customers:
            # the one that was being gathered, too
            assert [job.count(f"{customer}-{number}") for number in (4, 5)] == [4, 5]
        job.stop()


@pytest.mark.parametrize(
    ("name", "parallelism", "better"), [("form-1", 3, "1, 2 or 4"), ("form-1-raw-ids", 2, "1")]
)
def test_state_of_form_1_is_refused_where_subtasks_cannot_share_it(
    scoring: Scoring, tmp_path: Path, name: str, parallelism: int, better: str
) -> None:
    with (
        pytest.raises(JobFailedError, match=f"start the job once with a parallelism of {better}, which"),
        scoring.run(released_savepoint(name, tmp_path), parallelism, chained=name == "form-1") as job,
    ):
        job.until(lambda: False, "it is refused")


# fewer subtasks than those that left it, other shards, and more subtasks with the most shards
@pytest.mark.parametrize(("parallelism", "shards"), [(1, 2), (2, 4), (3, BUCKETS)])
def test_state_of_form_2_goes_on(scoring: Scoring, tmp_path: Path, parallelism: int, shards: int) -> None:
    savepoint = released_savepoint("form-2", tmp_path)
    # the first of `busy` was being gathered; so many make it sum further hours
    last_ones = range(BUSY_SCORED, BUSY_SCORED + 30)
    with scoring.run(savepoint, parallelism, shards, batch_ms=3000, chained=False) as job:
        job.sent = len(IN_FORM_2) + 1
        # the third one comes once more, and is not counted again
        job.send(
            *(in_minute(customer, minute) for minute in (3, 5) for customer in IN_FORM_2),
            *(of_busy(number) for number in last_ones[1:]),
        )
        job.stop()
    features = job.features()
    busy = {number: features.pop(f"busy-{number}") for number in last_ones}
    assert {name: each["customer_count_1d"] for name, each in features.items()} == {
        f"{customer}-{minute}": minute for customer in IN_FORM_2 for minute in (3, 4, 5)
    }
    # as if all had been scored by one job
    amounts = [amount_of_busy(number) for number in range(last_ones.stop)]
    assert {
        number: (each["customer_count_7d"], each["customer_mean_7d"]) for number, each in busy.items()
    } == {number: (number + 1, pytest.approx(fmean(amounts[: number + 1]))) for number in busy}


def test_state_of_form_2_is_refused_where_subtasks_cannot_share_its_shards(
    scoring: Scoring, tmp_path: Path
) -> None:
    with (
        pytest.raises(JobFailedError, match="a job with 6 shards, which 4 subtasks cannot share"),
        scoring.run(released_savepoint("form-2", tmp_path), 4, 8, chained=False) as job,
    ):
        job.until(lambda: False, "it is refused")


def test_a_job_without_state_has_the_histories_that_the_lake_gives(
    scoring: Scoring, settings: Settings
) -> None:
    """Each customer pays once a minute: what came in minutes 0 and 1 is in the lake; that of 2 was scored."""

    def paid(minute: int) -> list[bytes]:
        at = f"2026-02-10T12:0{minute}:00Z"
        return [payment(f"{customer}-{minute}", customer, at) for customer in CUSTOMERS]

    def feed(*minutes: int) -> None:
        came = "2026-03-01 12:00:00.123"
        # one file: of two, readers may take the later one first
        payloads = [payload for minute in minutes for payload in paid(minute)]
        first = minutes[0] * len(CUSTOMERS)
        job.feed("transactions", (record(each, 7, first + n, came) for n, each in enumerate(payloads)))

    rows = paid(0) + paid(1)
    table = pa.table(
        {
            "customer_id": CUSTOMERS * 2,
            "kafka_partition": pa.array([7] * len(rows), pa.int32()),
            "kafka_offset": pa.array(range(len(rows)), pa.int64()),
            "kafka_time": pa.array([datetime(2026, 3, 1, tzinfo=UTC)] * len(rows), pa.timestamp("us", "UTC")),
            "payload": rows,
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    place = {"Bucket": settings.buckets.datalake, "Key": "raw/transactions/dt=2026-03-01/part-0"}
    s3_client(settings.s3).put_object(**place, Body=buffer.getvalue())
    found_ms = int(datetime(2026, 4, 1, tzinfo=UTC).timestamp() * 1000)
    beginning = Beginning({7: len(rows)}, {7: 0}, {7: len(rows) + len(CUSTOMERS)}, found_ms)
    with scoring.run(beginning=beginning) as job:
        feed(2, 3)
        job.until(lambda: len(job.answers()) >= len(CUSTOMERS), "an answer to each record that had none")
        savepoint = job.stop()
    assert {job.count(f"{customer}-3") for customer in CUSTOMERS} == {4}
    answered = {answer["transaction_id"] for answer in job.answers()}
    assert answered == {f"{customer}-3" for customer in CUSTOMERS}
    # the state has noted what was taken, so the lake is not asked again
    s3_client(settings.s3).delete_object(**place)
    with scoring.run(savepoint, beginning=beginning) as job:
        feed(4)
        job.until(lambda: len(job.answers()) >= 2 * len(CUSTOMERS), "an answer to each later record")
        job.stop()
    assert {job.count(f"{customer}-4") for customer in CUSTOMERS} == {5}
