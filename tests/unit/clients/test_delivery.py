import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka.errors import KafkaError
from kafka_fakes import Producer

from clients import pacing
from clients.delivery import Delivery, KeyedMessage, produce
from clients.kafka_clients import linger_ms
from clients.process import ClientError, Stop
from clients.producer import summary
from clients.reports import ProducerReport, read_report, write_report


class Silent:
    def update(self, done: int) -> None: ...
    def close(self, done: int) -> None: ...


def records(count: int, *, labelled: bool = True) -> Iterator[KeyedMessage]:
    for n in range(count):
        yield KeyedMessage(f"{n}".encode(), b"{}", float(n), f"id-{n}", n % 5 == 0 if labelled else None)


def send(producer: Producer, count: int, *, labelled: bool = True) -> ProducerReport:
    delivery = Delivery(producer, "transactions")
    at_once = pacing.steady(float("inf"))
    return produce(records(count, labelled=labelled), at_once, delivery, Silent(), Stop())


def test_the_report_tells_what_was_sent_and_where_it_lies() -> None:
    report = send(Producer(), 10)
    assert (report.sent, report.failed, report.topic) == (10, 0, "transactions")
    assert report.offsets == {0: (100, 105), 1: (100, 105)}
    assert report.contiguous
    assert report.fraud_ids == ["id-0", "id-5"]
    assert report.started_at <= report.ended_at


def test_without_labels_nobody_knows_the_frauds() -> None:
    assert send(Producer(), 3, labelled=False).fraud_ids is None


def test_refused_and_unanswered_deliveries_are_failures_and_no_frauds_of_the_run() -> None:
    report = send(Producer(fail=frozenset({5}), silent=frozenset({9})), 10)
    assert (report.sent, report.failed) == (8, 2)
    assert report.fraud_ids == ["id-0"]
    assert "2 were NOT confirmed" in summary(report, "too slow")


def test_of_several_failures_the_first_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    producer = Producer(fail=frozenset({1, 3}))
    delivery = Delivery(producer, "transactions")
    for record in records(4):
        delivery.send(record)

    def full(*_: object) -> None:
        raise KafkaError("no room")

    monkeypatch.setattr(producer, "send", full)
    producer.flush(0)
    delivery.settle()
    delivery.send(next(records(1)))
    report = delivery.finish()
    assert (report.sent, report.failed) == (2, 3)
    assert "record 1 too slow" in delivery.first_error


def test_a_log_that_was_cut_off_and_written_anew_is_noticed() -> None:
    producer = Producer()
    delivery = Delivery(producer, "transactions")
    for n, record in enumerate(records(10)):
        delivery.send(record)
        if n == 5:
            # what was confirmed last at 101 and 102 was in no replica that leads now
            producer.next_offset[0] -= 2
    report = delivery.finish()
    assert (report.sent, report.offsets[0], report.overwritten) == (10, (100, 103), 2)
    # nobody else wrote
    assert report.contiguous
    assert send(Producer(), 10).overwritten == 0


def test_records_of_others_in_between_are_noticed() -> None:
    producer = Producer()
    delivery = Delivery(producer, "transactions")
    for n, record in enumerate(records(6)):
        delivery.send(record)
        if n == 3:
            producer.next_offset[0] += 7
    report = delivery.finish()
    assert report.offsets[0] == (100, 110)
    assert not report.contiguous


def test_a_stop_ends_the_run_and_everything_sent_is_still_reported() -> None:
    stop = Stop()
    producer = Producer()

    def interrupted() -> Iterator[KeyedMessage]:
        for n, record in enumerate(records(10)):
            if n == 4:
                stop.signal = 2
            yield record

    delivery = Delivery(producer, "transactions")
    report = produce(interrupted(), pacing.steady(float("inf")), delivery, Silent(), stop)
    assert report.sent == 4
    assert stop.exit_code == 130


def test_a_report_survives_the_file(tmp_path: Path) -> None:
    report = send(Producer(), 10)
    path = tmp_path / "build" / "producer-report.json"
    write_report(path, report)
    assert read_report(path, ProducerReport) == report
    assert set(json.loads(path.read_text())["offsets"]) == {"0", "1"}
    assert [file.name for file in path.parent.iterdir()] == ["producer-report.json"]


def test_a_missing_report_is_named_with_what_writes_it(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=r"nothing\.json: No such file.*--report"):
        read_report(tmp_path / "nothing.json", ProducerReport)


def test_a_file_that_is_no_report_is_named_with_the_field(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"started_at": "2026-07-01T00:00:00Z"}')
    with pytest.raises(ClientError, match=r"other\.json is no ProducerReport: .*ended_at"):
        read_report(tmp_path / "other.json", ProducerReport)


@pytest.mark.parametrize("content", [b"", b'{"topic": "\xff"}', b'{"x": ' + b"[" * 100_000])
def test_a_file_that_is_no_json_is_no_report(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other.json").write_bytes(content)
    with pytest.raises(ClientError, match=r"other\.json is no ProducerReport: "):
        read_report(tmp_path / "other.json", ProducerReport)


def test_the_higher_the_rate_the_longer_a_batch_is_filled() -> None:
    assert [linger_ms(rate) for rate in (100, 1_000, 20_000, float("inf"))] == [0, 2, 2, 20]
