import errno
import json
import re
import sys
from argparse import Namespace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from kafka import TopicPartition
from kafka_fakes import Message

from clients import consumer as command
from clients.alerts import RecentIds
from clients.consumer import Inbox
from clients.process import Stop

READY = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


def alert(transaction_id: str, *, after_s: float = 1.0, **changes: object) -> Message:
    body: dict[str, object] = {
        "transaction_id": transaction_id,
        "score": 0.91,
        "threshold": 0.5,
        "model_version": "20260701T000000Z-abcdef12",
        "transaction": {
            "transaction_id": transaction_id,
            "event_time": "2018-07-01T00:00:31Z",
            "customer_id": "3156",
            "terminal_id": "1365",
            "amount": 1460.5,
        },
        "features": {"amount": 1460.5},
        "partition": 3,
        "offset": 17,
        "kafka_timestamp_ms": int((READY.timestamp() + after_s) * 1000),
        "scored_at_ms": int((READY.timestamp() + after_s) * 1000) + 9,
    } | changes
    return Message("fraud_alerts", json.dumps(body).encode())


def inbox(*, as_json: bool = False) -> Inbox:
    made = Inbox(as_json=as_json)
    made.ready_at = READY
    return made


def test_an_alert_is_one_readable_line(capsys: pytest.CaptureFixture[str]) -> None:
    inbox().take(alert("288062"), READY + timedelta(seconds=1, milliseconds=23))
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) == 1
    for part in (
        ":01.023",
        "transaction 288062",
        "customer 3156",
        "terminal 1365",
        "1,460.50",
        "0.910",
        "0.500",
        "20260701T000000Z-abcdef12",
        "23 ms",
    ):
        assert part in shown


def test_below_an_alert_stands_why(capsys: pytest.CaptureFixture[str]) -> None:
    reasons = [
        {
            "feature": "amount_to_mean_30d",
            "value": 8.2,
            "contribution": 0.412345,
            "direction": "raises",
            "text": "amount 8.2 times the customer's mean of 30 days",
        },
        {
            "feature": "is_night",
            "value": 0.0,
            "contribution": -0.02,
            "direction": "lowers",
            "text": "not between 0 and 7 o'clock (UTC)",
        },
    ]
    inbox().take(alert("288062", reasons=reasons), READY)
    line, *why = capsys.readouterr().out.splitlines()
    assert "transaction 288062" in line
    assert [" ".join(each.split()) for each in why] == [
        "+0.412 amount 8.2 times the customer's mean of 30 days",
        "-0.020 not between 0 and 7 o'clock (UTC)",
    ]


def test_an_alert_on_ready_columns_has_no_customer(capsys: pytest.CaptureFixture[str]) -> None:
    transaction = {
        "transaction_id": "row-1",
        "event_time": "2013-09-01T00:00:31Z",
        "amount": 5,
        "features": {"V1": 1.5},
    }
    inbox().take(alert("row-1", transaction=transaction), READY)
    assert "customer -" in capsys.readouterr().out


def test_json_is_passed_on_as_it_is_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    message = alert("1")
    assert message.value is not None
    pretty = Message("fraud_alerts", json.dumps(json.loads(message.value), indent=1).encode())
    box = inbox(as_json=True)
    box.take(message, READY)
    box.take(pretty._replace(value=pretty.value and pretty.value.replace(b'"1"', b'"2"')), READY)
    first, second = capsys.readouterr().out.splitlines()
    assert first.encode() == message.value
    assert json.loads(second)["transaction_id"] == "2"


CLEARS_THE_SCREEN = "a\x1b[2J\x9b2J\x7f\r\n\t"


@pytest.mark.parametrize("as_json", [True, False])
def test_no_control_character_comes_out(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: FBT001 - of the table
    reasons = [
        {"feature": "f", "value": 1, "contribution": 1, "direction": "raises", "text": CLEARS_THE_SCREEN}
    ]
    transaction = {"amount": 1, "customer_id": CLEARS_THE_SCREEN, "terminal_id": CLEARS_THE_SCREEN}
    message = alert(CLEARS_THE_SCREEN, reasons=reasons, transaction=transaction)
    raw = json.dumps(json.loads(message.value or b""), ensure_ascii=False, indent="\t").replace("\n", "\r\n")
    inbox(as_json=as_json).take(message._replace(value=raw.encode()), READY)
    shown = capsys.readouterr().out
    assert not re.findall("[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown)
    assert len(shown.splitlines()) == (1 if as_json else 2)
    if as_json:
        assert json.loads(shown) == json.loads(message.value or b"")
    else:
        assert shown.count("a\\u001b[2J\\u009b2J\\u007f") == 4


def test_repeats_are_dropped_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    box = inbox()
    for transaction_id in ("1", "2", "1", "1"):
        box.take(alert(transaction_id), READY)
    report = box.report()
    assert (report.alerts, report.repeated) == (2, 2)
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_latency_spans_transaction_to_receipt_of_what_came_after_ready() -> None:
    box = inbox()
    for n in range(1, 101):
        box.take(alert(f"{n}"), READY + timedelta(seconds=1, milliseconds=n))
    box.take(alert("old", after_s=-3600), READY + timedelta(seconds=1))
    report = box.report()
    assert report.alerts == 101
    assert report.latency_ms is not None
    assert report.latency_ms.p50 == pytest.approx(50, abs=0.1)
    assert report.latency_ms.p99 == pytest.approx(99, abs=0.1)
    assert len(report.latencies_ms) == 100


DEEP = b'{"more": ' + b"[" * 100_000
# fields that nobody reads
SKIPPED = [alert("2").value[:-1] + b', "more": "\xff"}', alert("2").value[:-1] + b", " + DEEP[1:]]


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("value", [None, b"", b"\xff\xfe", b"[]", b'{"transaction_id": 1}', *SKIPPED])
def test_what_is_no_alert_is_named_and_stops_nothing(
    value: bytes | None,
    as_json: bool,  # noqa: FBT001 - pytest's
    capsys: pytest.CaptureFixture[str],
) -> None:
    box = inbox(as_json=as_json)
    box.take(Message("fraud_alerts", value, partition=2, offset=41), READY)
    box.take(alert("1"), READY)
    assert "fraud_alerts, partition 2, offset 41" in capsys.readouterr().err
    assert box.report().unreadable == 1
    assert box.alerts == 1
    assert "1 records that were no alerts" in box.summary()


def test_memory_of_ids_is_bounded_and_keeps_the_latest() -> None:
    ids = RecentIds(size=3)
    assert [ids.add(name) for name in "abca"] == [True, True, True, False]
    assert ids.add("d")  # pushes out b, the one not seen for longest
    assert not ids.add("a")
    assert ids.add("b")


class Group:
    """A member of a consumer group: as kafka-python's, it takes what `poll` gave for consumed.

    Attributes:
        committed: offset that the group goes on at.

    """

    def __init__(self, records: list[Message]) -> None:
        self._records = records
        self._position = 0
        self.committed = 0

    def partitions_for_topic(self, _topic: str) -> set[int]:
        return {0}

    def subscribe(self, _topics: list[str]) -> None:
        pass

    def assignment(self) -> set[TopicPartition]:
        return {TopicPartition("fraud_alerts", 0)}

    def position(self, _partition: TopicPartition) -> int:
        return self._position

    def poll(self, *, timeout_ms: int, max_records: int | None) -> dict[TopicPartition, list[Message]]:  # noqa: ARG002 - as kafka-python calls it
        end = self._position + (max_records or 500)
        found, self._position = self._records[self._position : end], min(end, len(self._records))
        return {TopicPartition("fraud_alerts", 0): found} if found else {}

    def close(self, autocommit: bool = True) -> None:  # noqa: FBT001, FBT002 - as kafka-python's
        if autocommit:
            self.committed = self._position


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Group:
    member = Group([alert(str(number)) for number in range(5)])
    monkeypatch.setattr(command, "make_consumer", lambda *_args, **_options: member)
    monkeypatch.setattr(Stop, "listen", lambda self: self)
    return member


def test_a_group_goes_on_after_what_was_written(
    group: Group, settings_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--settings", str(settings_file), "--group", "desk"]
    assert command.main([*argv, "--limit", "2"]) == 0
    assert group.committed == 2
    assert command.main([*argv, "--idle-timeout", "0.01"]) == 0
    assert group.committed == 5
    assert len(capsys.readouterr().out.splitlines()) == 5


class Full:
    """An output that fails as it takes text, or as its buffer is written out."""

    def __init__(self, error: OSError, at: str) -> None:
        self._error = error
        self._at = at
        self._buffered = False

    def write(self, _text: str) -> None:
        if self._at == "write":
            raise self._error
        self._buffered = True

    def flush(self) -> None:
        if self._buffered:
            raise self._error


@pytest.mark.parametrize("limit", [None, 3])
@pytest.mark.parametrize("at", ["write", "flush"])
@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(errno.ENOSPC, "no space")])
def test_a_group_gets_again_what_could_not_be_written(  # noqa: PLR0913, PLR0917 - pytest's
    error: OSError,
    at: str,
    limit: int | None,
    group: Group,
    settings_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    args = Namespace(
        settings=settings_file,
        group="desk",
        limit=limit,
        json=False,
        from_beginning=True,
        idle_timeout=0.01,
        ready_file=None,
        report=None,
    )
    monkeypatch.setattr(sys, "stdout", Full(error, at))
    with pytest.raises(type(error)):
        command._command(args)  # noqa: SLF001 - `main` handles one of the errors
    assert group.committed == 0
