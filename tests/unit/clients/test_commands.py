import argparse
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from clients import audit, consumer, drift_report, labelling, producer
from clients.command import EXIT_ERROR, argument_parser, instant, run
from clients.drift_source import File
from clients.process import ClientError, Stop, write_file
from clients.transaction_source import read_transactions
from flink_jobs.store import kafka_servers
from training import evaluate
from training import train_sklearn_model as train
from training.columns import parse_columns

HEADER = "transaction_id,event_time,customer_id,terminal_id,amount,is_fraud\n"


@pytest.fixture
def data_file(tmp_path: Path) -> Path:
    path = tmp_path / "data.csv"
    rows = (
        "b,2018-07-01T00:02:00Z,7,8,3.5,1",
        "a,2018-07-01T00:01:00Z,7,9,1.25,0",
        "c,2018-07-02T00:00:00Z,5,9,2,0",
    )
    path.write_text(HEADER + "\n".join(rows) + "\n")
    return path


def test_records_are_the_wire_format_keyed_by_customer_in_event_time_order(data_file: Path) -> None:
    data = read_transactions(str(data_file), None, None, None)
    records = list(data.records)
    assert data.total == 3
    assert [record.transaction_id for record in records] == ["a", "b", "c"]
    assert [record.key for record in records] == [b"7", b"7", b"5"]
    assert [record.is_fraud for record in records] == [False, True, False]
    assert json.loads(records[0].value) == {
        "transaction_id": "a",
        "event_time": "2018-07-01T00:01:00Z",
        "customer_id": "7",
        "terminal_id": "9",
        "amount": 1.25,
    }
    assert records[1].event_time_s - records[0].event_time_s == 60.0
    assert (data.first_event_s, data.last_event_s) == (records[0].event_time_s, records[2].event_time_s)


@pytest.mark.parametrize("command", [train.main, evaluate.main, producer.main, drift_report.main])
def test_each_command_that_reads_transactions_takes_a_mapping_and_names_what_its_user_types(
    command: Callable[[list[str]], int],
    tmp_path: Path,
    settings_file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scorer = SimpleNamespace(manifest=SimpleNamespace(label_delay_days=7), first_day=0)
    monkeypatch.setattr(drift_report, "promoted_scorer", lambda _: scorer)
    path = tmp_path / "data.csv"
    path.write_text(HEADER.replace("customer_id", "card").replace("amount", "paid"))
    data = ["--settings", str(settings_file), "--data", str(path)]
    given = ["--columns", "customer_id=card", "--columns-option", "COLUMNS="]
    assert command([*data, *given]) in {1, EXIT_ERROR}
    assert re.search(
        "missing column amount.*; COLUMNS= tells columns of other names", capsys.readouterr().err
    )
    # they tell a file's columns
    assert command([*data[:2], *given]) in {1, EXIT_ERROR}
    assert "--columns needs --data" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (train.main, "--data"),
        (train.main, "--labels"),
        (evaluate.main, "--data"),
        (producer.main, "--data"),
        (drift_report.main, "--data"),
        (labelling.main, "--data"),
    ],
)
def test_an_empty_name_of_a_file_is_not_taken_for_none(
    command: Callable[[list[str]], int], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `--data "$FILE"` gives one where FILE is not set; a simulation was trained on, or sent."""
    with pytest.raises(SystemExit) as ended:
        command([option, ""])
    assert ended.value.code == EXIT_ERROR
    assert f"argument {option}: names no file; leave out the option" in capsys.readouterr().err


def test_ready_columns_are_keyed_by_transaction(tmp_path: Path) -> None:
    names = ["Time", *(f"V{n}" for n in range(1, 29)), "Amount", "Class"]
    path = tmp_path / "card.csv"
    path.write_text(",".join(names) + "\n" + ",".join("1" for _ in names) + "\n")
    (record,) = read_transactions(str(path), None, None, None).records
    message = json.loads(record.value)
    assert record.key.decode() == message["transaction_id"]
    assert len(message["features"]) == 29
    assert "customer_id" not in message


def test_a_mapping_tells_whose_the_columns_are(
    tmp_path: Path, settings_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bank.csv"
    path.write_text("card;shop;sum;hour\n7;9;3,50;26\n")
    mapping = "customer_id=card,terminal_id=shop,amount=sum,event_time=hour*1h@2018-07-01"
    (record,) = read_transactions(str(path), None, None, None, columns=parse_columns(mapping)).records
    message = json.loads(record.value)
    assert record.key == b"7"
    assert message.pop("transaction_id")
    assert message == {
        "event_time": "2018-07-02T02:00:00Z",
        "customer_id": "7",
        "terminal_id": "9",
        "amount": 3.5,
    }
    monkeypatch.setattr(kafka_servers, "BOOTSTRAP_TIMEOUT_MS", 200)
    command = ["--settings", str(settings_file), "--data", str(path)]
    # as far as the broker that is not there
    assert producer.main([*command, "--columns", mapping]) == 2
    told, unreachable = capsys.readouterr().err.splitlines()
    assert told.startswith("warning: ")
    assert "has no column transaction_id" in told
    assert "cannot reach Kafka" in unreachable
    assert producer.main(["--settings", str(settings_file), "--columns", mapping]) == 2
    assert "--columns needs --data" in capsys.readouterr().err


def test_since_until_and_limit_cut_the_data(data_file: Path) -> None:
    day = instant("2018-07-02")
    assert [r.transaction_id for r in read_transactions(str(data_file), None, day, None).records] == [
        "a",
        "b",
    ]
    assert [r.transaction_id for r in read_transactions(str(data_file), day, None, None).records] == ["c"]
    assert [r.transaction_id for r in read_transactions(str(data_file), None, None, 1).records] == ["a"]


def test_nothing_left_says_what_there_is(data_file: Path) -> None:
    later = instant("2019-01-01")
    with pytest.raises(
        ClientError, match=r"data\.csv: no transaction between 2019.* 2018-07-01 00:01:00 to 2018-07"
    ):
        read_transactions(str(data_file), later, None, None)


def test_a_missing_column_is_named_without_a_traceback(
    tmp_path: Path, settings_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.csv").write_text("transaction_id,event_time,customer_id,amount\n1,2018-07-01,2,3\n")
    code = producer.main(["--settings", str(settings_file), "--data", str(tmp_path / "bad.csv")])
    assert code == 2
    error = capsys.readouterr().err
    assert error.startswith("fraud-producer: ")
    assert "bad.csv" in error
    assert "terminal_id" in error


def test_an_unreachable_broker_is_named_with_the_remedy(
    settings_file: Path, data_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kafka_servers, "BOOTSTRAP_TIMEOUT_MS", 200)
    assert producer.main(["--settings", str(settings_file), "--data", str(data_file)]) == 2
    assert consumer.main(["--settings", str(settings_file)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert "cannot reach Kafka at 127.0.0.1:1" in line
        assert "make demo" in line


def test_data_in_minio_is_read_where_the_settings_say(
    settings_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FRAUD_SETTINGS", raising=False)
    monkeypatch.chdir(tmp_path)
    assert producer.main(["--settings", str(settings_file), "--data", "s3://datalake/a.csv"]) == 2
    assert "cannot list s3://datalake/a.csv/ at http://127.0.0.1:1" in capsys.readouterr().err
    with pytest.raises(ClientError, match=r"cannot list s3://datalake/a\.csv/ at http://127\.0\.0\.1:1"):
        File("s3://datalake/a.csv", settings_file)


def test_missing_settings_are_an_error_not_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert consumer.main(["--settings", str(tmp_path / "none.json")]) == 2
    assert "none.json" in capsys.readouterr().err


def test_an_audit_of_nothing_is_refused(
    tmp_path: Path, settings_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "producer.json"
    report.write_text(
        json.dumps(
            {
                "started_at": "2026-07-01T00:00:00Z",
                "ended_at": "2026-07-01T00:00:01Z",
                "sent": 0,
                "failed": 3,
                "rate_tps": 0,
                "topic": "transactions",
                "offsets": {},
                "contiguous": True,
                "fraud_ids": None,
            }
        )
    )
    assert audit.main(["--settings", str(settings_file), "--producer-report", str(report)]) == 2
    assert "nothing was sent" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rate", "0"],
        ["--rate", "fast"],
        ["--limit", "-1"],
        ["--since", "July"],
        ["--rate", "5", "--speedup", "2"],
    ],
)
def test_wrong_arguments_are_refused_with_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        producer.main(arguments)
    assert ended.value.code == 2
    assert arguments[-2] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("producer", "producer"),
        ("consumer", "consumer"),
        ("audit", "audit"),
        ("drift_report", "drift"),
        ("labelling", "label"),
    ],
)
def test_each_module_runs_by_its_name_and_explains_itself(module: str, command: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", f"clients.{module}", "--help"], capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith(f"usage: fraud-{command} ")


def test_the_first_signal_asks_and_the_second_ends() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        stop = Stop().listen()
        assert not stop
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop
        assert stop.exit_code == 143
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ClientError, match=r"cannot write .*report\.json"):
        write_file(tmp_path / "file" / "report.json", b"")


def test_an_error_is_shown_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    def command(_args: argparse.Namespace) -> int:
        raise ClientError("id a\x1b[2J\x9bb is none\nsecond line")

    assert run(command, argument_parser("fraud-test", "", ""), []) == EXIT_ERROR
    assert capsys.readouterr().err == "fraud-test: id a\\u001b[2J\\u009bb is none\nsecond line\n"
