import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka_fakes import Message
from passing_time import PassingTime

from clients import audit
from clients.process import Stop
from clients.reconciliation import OffsetCounts, total
from clients.reports import ConsumerReport, Latency, ProducerReport, latency, percentile
from clients.run_outcome import RunOutcome
from flink_jobs.store.folders import LocalFolder
from flink_jobs.store.lake import Lake, LakeError, days_touched
from flink_jobs.store.settings import Topics

TOPICS = Topics("transactions", "predictions", "fraud_alerts", "transactions_dlq")
RANGES = {0: (10, 15), 3: (100, 105)}
NOW = datetime.now(UTC)
RUN = ProducerReport(
    started_at=NOW,
    ended_at=NOW,
    sent=10,
    failed=0,
    rate_tps=100.0,
    topic="transactions",
    offsets=RANGES,
    contiguous=True,
    fraud_ids=["0-11", "3-100", "never alerted"],
)


def prediction(partition: int, offset: int) -> Message:
    body = {"transaction_id": f"{partition}-{offset}", "score": 0.1, "partition": partition, "offset": offset}
    return Message("predictions", json.dumps(body).encode())


def dead_letter(partition: int, offset: int) -> Message:
    return Message("transactions_dlq", json.dumps({"partition": partition, "offset": offset}).encode())


def alert(partition: int, offset: int) -> Message:
    transaction_id = f"{partition}-{offset}"
    body: dict[str, Any] = {
        "transaction_id": transaction_id,
        "score": 0.9,
        "threshold": 0.5,
        "model_version": "v",
        "transaction": {"amount": 1.0},
        "partition": partition,
        "offset": offset,
        "kafka_timestamp_ms": 1_000,
        "scored_at_ms": 1_000 + offset,
    }
    return Message("fraud_alerts", json.dumps(body).encode())


def everything() -> list[tuple[int, int]]:
    return [(partition, offset) for partition, (first, end) in RANGES.items() for offset in range(first, end)]


def full_lake() -> OffsetCounts:
    counts = OffsetCounts(RANGES)
    for partition, offset in everything():
        counts.add(partition, offset)
    return counts


def test_a_clean_run() -> None:
    outcome = RunOutcome(RUN, TOPICS)
    for partition, offset in everything():
        assert outcome.take(prediction(partition, offset))
    for where in ((0, 11), (3, 104), (0, 11)):
        outcome.take(alert(*where))
    report = audit.reconcile(RUN, outcome, full_lake(), None)
    assert report.clean
    assert audit.complaints(RUN, outcome, report) == []
    assert (report.sent, report.scored, report.lost, report.repeated) == (10, 10, 0, 0)
    assert (report.alerts, report.alerts_fraud) == (2, 1)
    assert (report.lake_rows, report.lake_missing, report.lake_repeated) == (10, 0, 0)
    assert (report.p50_ms, report.p99_ms, report.latency) == (11, 104, "kafka_to_score")


def test_what_is_neither_scored_nor_refused_is_lost() -> None:
    outcome = RunOutcome(RUN, TOPICS)
    for partition, offset in everything()[:7]:
        outcome.take(prediction(partition, offset))
    outcome.take(dead_letter(3, 104))
    outcome.take(dead_letter(0, 10))  # scored as well: no other record's loss is hidden by it
    report = audit.reconcile(RUN, outcome, full_lake(), None)
    assert (report.scored, report.dead_letters, report.lost) == (7, 2, 2)
    assert outcome.first_lost(5) == ["3-102", "3-103"]
    assert outcome.first_lost(1) == ["3-102"]
    assert not report.clean


@pytest.mark.parametrize("told", [{"sent": 11}, {"overwritten": 1}, {"sent": 12, "overwritten": 1}])
def test_what_kafka_lost_is_lost_though_its_place_is_taken(told: dict[str, int]) -> None:
    run = msgspec.structs.replace(RUN, contiguous=False, **told)
    outcome = RunOutcome(run, TOPICS)
    for partition, offset in everything():
        outcome.take(prediction(partition, offset))
    report = audit.reconcile(run, outcome, full_lake(), None)
    assert (report.lost, report.lost_by_kafka) == (told.get("sent", 11) - 10,) * 2
    assert not report.clean
    shown = audit.audit_table(report, contiguous=False)
    assert re.search(rf"by Kafka +{report.lost} ", shown)
    assert "Others wrote to the topic" not in shown
    (said,) = audit.complaints(run, outcome, report)
    assert "Kafka confirmed" in said
    assert "ml_inference_job" not in said


def test_what_jobs_lost_is_told_apart_from_what_kafka_lost() -> None:
    run = msgspec.structs.replace(RUN, overwritten=2)
    outcome = RunOutcome(run, TOPICS)
    for partition, offset in everything()[1:]:
        outcome.take(prediction(partition, offset))
    report = audit.reconcile(run, outcome, OffsetCounts(RANGES), None)
    assert (report.lost, report.lost_by_kafka) == (3, 2)
    jobs, kafka, lake = audit.complaints(run, outcome, report)
    assert jobs.startswith("1 transactions were lost, the first (partition-offset of transactions): 0-10.")
    assert "of 2 transactions" in kafka
    assert "the lake does not hold each transaction once" in lake


def test_repeated_predictions_are_counted_but_not_wrong() -> None:
    outcome = RunOutcome(RUN, TOPICS)
    for partition, offset in [*everything(), (0, 10), (0, 10)]:
        outcome.take(prediction(partition, offset))
    report = audit.reconcile(RUN, outcome, full_lake(), None)
    assert (report.scored, report.repeated, report.clean) == (10, 2, True)


@pytest.mark.parametrize(
    "message",
    [
        prediction(0, 9),
        prediction(0, 15),
        prediction(1, 10),
        dead_letter(3, 99),
        alert(2, 11),
        Message("predictions", b"not json"),
        Message("predictions", b"\xff"),
        Message("fraud_alerts", None),
    ],
)
def test_records_of_other_runs_and_unreadable_ones_are_passed_over(message: Message) -> None:
    outcome = RunOutcome(RUN, TOPICS)
    assert not outcome.take(message)
    assert outcome.lost == 10
    assert outcome.alert_ids == set()


def test_latency_comes_from_the_consumer_where_it_measured_any() -> None:
    outcome = RunOutcome(RUN, TOPICS)
    consumer = ConsumerReport(NOW, 2, 0, 0, Latency(31.04, 62.0), [31.04, 62.0])
    report = audit.reconcile(RUN, outcome, full_lake(), consumer)
    assert (report.p50_ms, report.p99_ms, report.latency) == (31.0, 62.0, "kafka_to_consumer")
    assert "ms from Kafka to alert received" in audit.audit_table(report)


def test_without_labels_and_alerts_there_are_no_figures() -> None:
    unlabelled = ProducerReport(
        NOW, NOW, 10, 0, 1.0, "transactions", RANGES, contiguous=False, fraud_ids=None
    )
    report = audit.reconcile(unlabelled, RunOutcome(unlabelled, TOPICS), full_lake(), None)
    assert report.alerts_fraud is None
    assert report.p50_ms is None
    shown = audit.audit_table(report, contiguous=False)
    assert "Others wrote to the topic" in shown
    assert [text.split()[2] for text in shown.splitlines() if "truly fraud" in text] == ["-"]


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 3]), st.integers(5, 110)), max_size=200),
)
def test_counting_many_at_once_equals_counting_one_by_one(met: list[tuple[int, int]]) -> None:
    single, bulk = OffsetCounts(RANGES), OffsetCounts(RANGES)
    for partition, offset in met:
        single.add(partition, offset)
    bulk.add_all(
        np.array([each[0] for each in met], dtype=np.int32),
        np.array([each[1] for each in met], dtype=np.int64),
    )
    inside = [each for each in met if each in set(everything())]
    assert (single.met, single.distinct) == (bulk.met, bulk.distinct) == (len(inside), len(set(inside)))
    assert bulk.repeated == len(inside) - len(set(inside))
    assert sum(map(len, single.missing_from_both(bulk).values())) == total(RANGES) - len(set(inside))


def lake_at(folder: Path) -> Lake:
    return Lake(LocalFolder(folder))


def write(folder: Path, name: str, rows: list[tuple[int, int]], day: datetime = NOW) -> Path:
    path = folder / f"dt={day:%Y-%m-%d}" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "transaction_id": [f"{partition}-{offset}" for partition, offset in rows],
            "kafka_partition": pa.array([partition for partition, _ in rows], pa.int32()),
            "kafka_offset": pa.array([offset for _, offset in rows], pa.int64()),
        }
    )
    pq.write_table(table, path)
    return path


def test_the_lake_is_counted_file_by_file_each_once(tmp_path: Path) -> None:
    lake, counts = lake_at(tmp_path), OffsetCounts(RANGES)
    assert lake.count_new(counts, NOW, NOW) == 0  # not even a folder yet
    write(tmp_path, "part-0", everything()[:6])
    write(tmp_path, ".part-1.inprogress", everything())
    write(tmp_path, "_SUCCESS", everything())
    assert lake.count_new(counts, NOW, NOW) == 1
    write(tmp_path, "part-1", [*everything()[5:], (0, 9), (7, 10)])
    assert lake.count_new(counts, NOW, NOW) == 1
    assert (counts.met, counts.distinct, counts.repeated) == (11, 10, 1)


def test_only_the_run_s_days_are_looked_at(tmp_path: Path) -> None:
    write(tmp_path, "part-0", everything(), NOW - timedelta(days=3))
    counts = OffsetCounts(RANGES)
    lake_at(tmp_path).count_new(counts, NOW, NOW)
    assert counts.met == 0
    assert days_touched(
        datetime(2026, 6, 30, 23, 59, tzinfo=UTC), datetime(2026, 7, 2, 0, 1, tzinfo=UTC)
    ) == [
        "2026-06-30",
        "2026-07-01",
        "2026-07-02",
    ]


def test_the_audit_waits_for_the_lake_and_gives_up_when_nothing_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "part-0", everything()[:6])
    counts = OffsetCounts(RANGES)
    audit.read_lake(lake_at(tmp_path), RUN, counts, timeout_s=0.1, stop=Stop())
    assert counts.distinct == 6
    monkeypatch.setattr(audit, "_LAKE_PERIOD_S", 0.01)
    slept = []

    class WrittenMeanwhile(PassingTime):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            slept.append(seconds)
            if len(slept) == 3:
                write(tmp_path, "part-1", everything()[6:])

    monkeypatch.setattr(audit, "time", WrittenMeanwhile())
    audit.read_lake(lake_at(tmp_path), RUN, full := OffsetCounts(RANGES), timeout_s=60, stop=Stop())
    assert full.distinct == 10
    assert len(slept) >= 3


def test_a_broken_file_in_the_lake_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "part-0", everything())
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(LakeError, match=r"cannot read the lake, .* is no Parquet"):
        lake_at(tmp_path).count_new(OffsetCounts(RANGES), NOW, NOW)
    pq.write_table(pa.table({"kafka_partition": [1]}), path)
    with pytest.raises(LakeError, match="part-0 has no column kafka_offset"):
        lake_at(tmp_path).count_new(OffsetCounts(RANGES), NOW, NOW)


def test_percentiles_are_values_that_occurred() -> None:
    assert latency([]) is None
    assert latency([7.0]) == Latency(7.0, 7.0)
    hundred = [float(n) for n in range(1, 101)]
    assert latency(reversed(hundred)) == Latency(50.0, 99.0)
    assert percentile(hundred, 1.0) == 100.0
