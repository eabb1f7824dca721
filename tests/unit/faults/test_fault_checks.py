"""Each check of a row is seen to fail."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import lake_counts
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import row
import topics
import verdict
from checks import (
    Acknowledged,
    Identified,
    LakeCount,
    Times,
    alerts_differing,
    differing,
    jobs_wrong,
    lost,
    not_kept,
    problems_of,
)
from darkness import Span
from nobodys_settings import SETTINGS
from steady_producer import POISON
from verdict import Verdict

from clients.reconciliation import OffsetRanges
from flink_jobs.domain.label import Label
from flink_jobs.domain.scoring import Prediction
from flink_jobs.domain.transaction import InvalidTransaction, parse_transaction
from flink_jobs.store.folders import LocalFolder
from flink_jobs.store.lake import Lake, LakeRecord, folders_of

QUIET = Times(Span(0, 1), Span(0, 1), 20)


def prediction(offset: int, **changes: object) -> Prediction:
    made = Prediction(f"m-{offset}", 0.25, "v1", 0, offset, 1000, threshold=0.5, risk_version="r1")
    return msgspec.structs.replace(made, **changes)


def test_a_record_that_is_dropped_is_lost() -> None:
    acknowledged = [Acknowledged((0, offset), 1.0, f"m-{offset}") for offset in range(5)]
    everything = {(0, offset, f"m-{offset}") for offset in range(5)}
    assert lost(acknowledged, everything, set()) == []
    assert lost(acknowledged, everything - {(0, 3, "m-3")}, set()) == [(0, 3)]
    # a good record that is refused is not scored
    assert lost(acknowledged, everything - {(0, 3, "m-3")}, {(0, 3)}) == [(0, 3)]


def test_poison_has_to_be_refused() -> None:
    poison = [Acknowledged((0, 7), 1.0, None)]
    assert lost(poison, set(), {(0, 7)}) == []
    assert lost(poison, {(0, 7, "m-7")}, set()) == [(0, 7)]


def test_kafka_keeps_each_record_at_a_place_of_its_own_between_the_ends() -> None:
    kept = [Acknowledged((0, offset), 1.0, f"m-{offset}") for offset in (10, 11)]
    assert not_kept(kept, {0: 10}, {0: 12}) == []
    assert not_kept([*kept, Acknowledged((0, 10), 2.0, "m-12")], {0: 10}, {0: 12}) == [(0, 10)]
    assert not_kept([*kept, Acknowledged((0, 11), 2.0, None)], {0: 10}, {0: 12}) == [(0, 11)]
    # where others' records had been, and where nothing is any more
    assert not_kept(kept, {0: 11}, {0: 12}) == [(0, 10)]
    assert not_kept(kept, {0: 10}, {0: 11}) == [(0, 11)]


def test_ends_that_went_back_are_told() -> None:
    begin = {"transactions": {0: 5, 1: 7}, "fraud_labels": {0: 3}}
    assert topics.went_back(begin, begin) == []
    end = {"transactions": {0: 4, 1: 9}, "fraud_labels": {0: 3}}
    assert topics.went_back(begin, end) == ["transactions-0 ends at 4, and ended at 5 before"]


def label(transaction_id: str) -> bytes:
    return msgspec.json.encode(
        Label(transaction_id, is_fraud=True, labelled_by="x", labelled_at=datetime.now(UTC))
    )


class Row:
    """A row's records as they lie in Kafka and in the lake: each at partition 0, from offset 100 on.

    Attributes:
        transactions: ids, in order.
        labels: ids that are labelled, in order.
        stored: those of the lake.

    """

    def __init__(self, transactions: list[str], labels: list[str]) -> None:
        self.transactions = transactions
        self.labels = labels
        self.stored = labels

    def read(self, _settings: object, topic: str, wanted: OffsetRanges) -> Iterator[Any]:
        written: dict[str, list[bytes]] = {
            "predictions": [
                msgspec.json.encode(prediction(offset, transaction_id=name))
                for offset, name in enumerate(self.transactions, start=100)
            ],
            "fraud_labels": list(map(label, self.labels)),
        }
        for offset, each in enumerate(written.get(topic, []), start=100):
            if offset in range(*wanted.get(0, (0, 0))):
                yield SimpleNamespace(partition=0, offset=offset, value=each)

    def records(self, _since_s: float) -> list[LakeRecord]:
        return [LakeRecord(label(name), 0, 0, offset) for offset, name in enumerate(self.stored, start=100)]


def judged(
    monkeypatch: pytest.MonkeyPatch, found: Row, acknowledged: list[Acknowledged], labels: list[Identified]
) -> Verdict:
    monkeypatch.setattr(verdict.topics, "read", found.read)
    monkeypatch.setattr(verdict, "in_lake", lambda *_: {})
    monkeypatch.setattr(verdict, "open_lake", lambda *_: found)
    names = SETTINGS.topics
    begin = {topic: {0: 100} for topic in folders_of(names)}
    end = begin | {
        names.transactions: {0: 100 + len(found.transactions)},
        names.predictions: {0: 100 + len(found.transactions)},
        names.fraud_labels: {0: 100 + len(found.labels)},
    }
    return verdict.judge(
        SETTINGS, "m", acknowledged, labels, begin, end, datetime.now(UTC), by_customer=False
    )


def test_a_row_of_which_nothing_is_lost_has_no_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Row(["m-0", "m-1"], ["m-0"])
    acknowledged = [Acknowledged((0, 100), 1.0, "m-0"), Acknowledged((0, 101), 1.0, "m-1")]
    assert judged(monkeypatch, lab, acknowledged, [(0, 100, "m-0")]).problems([], []) == []


def test_a_record_that_kafka_lost_is_waited_for_though_the_one_at_its_place_is_scored() -> None:
    acknowledged = [Acknowledged((0, 100), 1.0, "m-0"), Acknowledged((0, 100), 9.0, "m-1")]
    producer = cast("Any", SimpleNamespace(acknowledged=[*acknowledged, Acknowledged((0, 101), 9.0, None)]))
    assert row._waiting(producer, {"m-1": 9.5})  # noqa: SLF001 - all else of a row needs a lab
    assert not row._waiting(producer, {"m-0": 1.5, "m-1": 9.5})  # noqa: SLF001


def test_a_record_that_kafka_lost_is_lost_though_another_has_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was acknowledged first was in no replica that led later."""
    lab = Row(["m-1"], ["m-1"])
    acknowledged = [Acknowledged((0, 100), 1.0, "m-0"), Acknowledged((0, 100), 9.0, "m-1")]
    found = judged(monkeypatch, lab, acknowledged, [(0, 100, "m-0"), (0, 100, "m-1")])
    assert found.counts() | {"lost": 1, "labels_lost": 1, "not_kept": 1} == found.counts()
    assert found.problems([], []) == [
        "1 acknowledged records are lost: 0-100",
        "1 acknowledged labels are not in topic and lake: 0-100",
        "Kafka did not keep what it acknowledged at 1 places: 0-100",
    ]


@pytest.mark.parametrize(
    ("kept", "stored"), [([], []), ([], ["m-0"]), (["m-0"], []), (["m-0"], ["m-1"]), (["m-1"], ["m-0"])]
)
def test_a_label_has_to_be_in_the_topic_and_in_the_lake(
    monkeypatch: pytest.MonkeyPatch, kept: list[str], stored: list[str]
) -> None:
    lab = Row(["m-0"], kept)
    lab.stored = stored
    acknowledged = [Acknowledged((0, 100), 1.0, "m-0")]
    assert judged(monkeypatch, lab, acknowledged, [(0, 100, "m-0")]).labels == [(0, 100)]


def test_labels_of_others_and_what_is_none_are_passed_over() -> None:
    records = [(0, 1, b"x"), (0, 2, b'{"transaction_id": "n-1"}'), (1, 3, b'{"transaction_id": "m-1"}')]
    assert topics.labelled(records, "m") == {(1, 3, "m-1")}


@pytest.mark.parametrize("payload", POISON)
def test_poison_is_no_transaction(payload: bytes) -> None:
    with pytest.raises(InvalidTransaction):
        parse_transaction(payload, 4e9)


@pytest.mark.parametrize(
    "changed",
    [
        {"score": 0.250001},
        {"features": {"amount": 1.0}},
        {"features": None},
        {"features": {"amount": -0.0}},
        {"features": {"amount": float(np.nextafter(0.5, 1))}},
        {"threshold": 0.6},
        {"kafka_timestamp_ms": 1001},
        {"control_probability": 0.001},
        {"transaction_id": "m-2"},
        {"offset": 2},
    ],
)
def test_a_prediction_that_is_changed_differs(changed: dict[str, Any]) -> None:
    features = 0.0 if changed.get("features") == {"amount": -0.0} else 0.5
    clean = prediction(1, features={"amount": features})
    expected = {("v1", "r1"): {(0, 1): clean}}
    # a repeat is compared as well
    assert differing([clean, clean], expected) == []
    wrong = msgspec.structs.replace(clean, **changed)
    assert differing([clean, wrong], expected) == [(0, wrong.offset)]


def test_a_prediction_is_held_to_the_model_and_the_table_that_it_names() -> None:
    renewed = prediction(1, score=0.3, risk_version="r2")
    expected = {("v1", "r1"): {(0, 1): prediction(1)}, ("v1", "r2"): {(0, 1): renewed}}
    assert differing([prediction(1), renewed], expected) == []
    assert differing([prediction(1, risk_version="r2")], expected) == [(0, 1)]
    assert differing([prediction(1, risk_version="r3")], expected) == [(0, 1)]
    # of a challenger nothing is promised
    assert differing([prediction(1, challenger_score=0.1, challenger_version="v2")], expected) == []


def test_alerts_are_a_set_of_ids() -> None:
    alerting = prediction(1, features={"amount": 1.0})
    control = prediction(2, features={"amount": 1.0}, control_probability=0.001)
    predictions = [alerting, alerting, control, prediction(3)]
    assert alerts_differing(predictions, {"m-1"}) == []
    assert alerts_differing(predictions, set()) == ["m-1"]
    assert alerts_differing(predictions, {"m-1", "m-2"}) == ["m-2"]


def test_a_job_that_is_there_twice_is_told() -> None:
    assert jobs_wrong(["a", "b"], ["b", "a"]) == []
    assert jobs_wrong(["a", "b"], ["b", "a", "b"]) == ["b is there 2 times"]
    assert jobs_wrong(["a", "b"], ["a"]) == ["b is not there"]


NOTHING: dict[str, Any] = {
    "lost": [],
    "differing": [],
    "alerts": [],
    "lake": {"raw/transactions": LakeCount(0, 0)},
    "jobs": [],
    "services": [],
    "times": QUIET,
}


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"lost": [(0, 7), (1, 2)]}, "2 acknowledged records are lost: 0-7, 1-2"),
        ({"labels": [(0, 7)]}, "1 acknowledged labels are not in topic and lake: 0-7"),
        ({"not_kept": [(0, 7)]}, "Kafka did not keep what it acknowledged at 1 places: 0-7"),
        ({"went_back": ["t-0 ends at 4, and ended at 5 before"]}, "t-0 ends at 4, and ended at 5 before"),
        ({"differing": [(0, 1)]}, "1 predictions are not as recomputed: 0-1"),
        ({"alerts": list("abcd")}, "4 transactions are alerted on wrongly or not: a, b, c, …"),
        ({"lake": {"labels": LakeCount(3, 0)}}, "the lake's labels misses 3 records"),
        ({"lake": {"alerts": LakeCount(0, 2)}}, "the lake's alerts has 2 rows beyond the first of a record"),
        ({"jobs": ["b is there 2 times"]}, "b is there 2 times"),
        ({"services": ["kafka.service of node1 has failed"]}, "kafka.service of node1 has failed"),
        ({"times": Times(Span(0, 20.5), Span(0, 1), 20)}, "dark for 20.5 s, 20 s are allowed"),
        ({"times": Times(Span(0, 15), Span(0, 31), 20)}, "records waited for 31.0 s, 30.0 s are allowed"),
    ],
)
def test_what_does_not_hold_is_told(found: dict[str, Any], told: str) -> None:
    assert problems_of(**NOTHING) == []
    assert problems_of(**NOTHING | found) == [told]


def test_a_short_darkness_allows_records_to_wait_for_a_brokers_session() -> None:
    assert Times(Span(0, 2), Span(0, 19), 20).problems() == []
    assert Times(Span(0, 2), Span(0, 21), 20).problems() != []


def lake_file(folder: Path, name: str, offsets: list[int]) -> Path:
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    path = folder / "raw/transactions" / f"dt={day}" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {
        "kafka_partition": pa.array([0] * len(offsets), pa.int32()),
        "kafka_offset": pa.array(offsets, pa.int64()),
        "kafka_time": pa.array([datetime.now(UTC)] * len(offsets), pa.timestamp("us", "UTC")),
    }
    pq.write_table(pa.table(columns), path)
    return path


def counted(folder: Path, end: int = 10) -> LakeCount:
    """Count offsets 0 to `end` of the lake in a folder, without waiting for what is not there."""
    found = lake_counts.count(
        lambda name: Lake(LocalFolder(folder / name)),
        {"raw/transactions": {0: (0, end)}},
        datetime.now(UTC),
        lambda: datetime.now(UTC),
        timeout_s=-1,
    )
    return found["raw/transactions"]


def test_a_file_that_is_doubled_is_repeated_and_one_that_is_gone_is_missing(tmp_path: Path) -> None:
    first = lake_file(tmp_path, "part-1", [0, 1, 2, 3, 4, 5])
    lake_file(tmp_path, "part-2", [6, 7, 8, 9])
    assert counted(tmp_path) == (0, 0)
    second = first.with_name("part-3")
    second.write_bytes(first.read_bytes())
    assert counted(tmp_path) == (0, 6)
    second.unlink()
    first.unlink()
    assert counted(tmp_path) == (6, 0)


def test_a_verdict_counts_each_kind_by_its_name() -> None:
    lake = {"transactions": LakeCount(missing=3, repeated=0), "labels": LakeCount(missing=4, repeated=2)}
    found = Verdict([(0, 1)], [(0, 2), (0, 3)], 5, ["a", "b", "c"], lake, [(0, 4)] * 6, [(0, 5)] * 8)
    assert found.counts() == {
        "lost": 1,
        "labels_lost": 6,
        "not_kept": 8,
        "repeated": 5,
        "missing_in_lake": 7,
        "repeated_in_lake": 2,
        "differing": 2,
        "alerts_differing": 3,
    }
    # records that are not keyed by customer cannot be computed anew
    assert found._replace(differing=None).counts()["differing"] is None
