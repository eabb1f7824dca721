"""A model is trained on the host, is whole in the store, and stays until another one is asked for."""

import hashlib
import json
from typing import Any

import pytest
from testinfra.host import Host


def read(host: Host, path: str) -> bytes:
    content: bytes = host.run_expect([0], f"mc cat lab/{path}").stdout_bytes
    return content


@pytest.fixture
def current(host: Host) -> dict[str, Any]:
    """What is released."""
    last = host.check_output("mc ls lab/models/releases/").split()[-1]
    release: dict[str, Any] = json.loads(read(host, f"models/releases/{last}"))
    return release


def test_a_promoted_model_is_whole(host: Host, current: dict[str, Any]) -> None:
    content = read(host, f"models/{current['model']['version']}/manifest.json")
    assert hashlib.sha256(content).hexdigest() == current["model"]["manifest_sha256"]
    files = json.loads(content)["files"]
    assert files.keys() == {"model.joblib", "model.onnx", "explainer.onnx", "card.html", "card.json"}
    folder = f"lab/models/{current['model']['version']}"
    for name, checksum in files.items():
        assert host.check_output(f"mc cat {folder}/{name} | sha256sum").split()[0] == checksum


def test_it_finds_frauds(host: Host, current: dict[str, Any]) -> None:
    metrics = json.loads(read(host, f"models/{current['model']['version']}/manifest.json"))["metrics"]
    # a model that guesses has 0.5 and about 0.01
    assert metrics["auc"] > 0.8
    assert metrics["average_precision"] > 0.4


def test_terminal_risk_is_published_with_the_model(host: Host, current: dict[str, Any]) -> None:
    snapshot = current["risk"]
    assert snapshot["version"] == current["model"]["version"] or snapshot["renewed"]
    stored = host.check_output(f"mc cat lab/features/{snapshot['key']} | sha256sum").split()[0]
    assert stored == snapshot["sha256"]


def test_a_promoted_model_stays(host: Host, current: dict[str, Any]) -> None:
    again = host.check_output("fraud-train --promote --if-missing --output model")
    assert again.startswith(f"unchanged: {current['model']['version']}")


def test_training_data_is_private(host: Host) -> None:
    folder = host.file("/var/lib/fraud-detection")
    assert (folder.user, folder.mode) == ("root", 0o750)


def test_bad_data_is_refused_in_one_line(host: Host) -> None:
    host.run_expect([0], "echo TRANSACTION_ID,TX_DATETIME > short.csv")
    refused = host.run("fraud-train --data short.csv --output model")
    assert refused.rc == 1
    assert "short.csv: missing column" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


LAKE = """
import json, sys
from datetime import UTC, datetime, timedelta
import pyarrow as pa, pyarrow.parquet as pq
now = datetime.now(UTC)
old = (now - timedelta(days=9)).isoformat()
payments = [
    {"transaction_id": str(n), "event_time": old, "customer_id": "c", "terminal_id": "t", "amount": 1.0}
    for n in range(4)
]
labels = [
    {"transaction_id": "3", "is_fraud": True, "labelled_by": "me", "labelled_at": now.isoformat()}
]
for name, messages in (("payments", payments), ("labels", labels)):
    pq.write_table(pa.table({
        "kafka_partition": pa.array([0] * len(messages), pa.int32()),
        "kafka_offset": pa.array(range(len(messages)), pa.int64()),
        "kafka_time": pa.array([now] * len(messages), pa.timestamp("ms", "UTC")),
        "payload": [json.dumps(message).encode() for message in messages],
    }), name)
print(f"dt={now:%Y-%m-%d}")
"""
SHARE = """
import datetime, pyarrow.parquet as pq
rows = pq.read_table("risk").to_pylist()
today = (datetime.datetime.now(datetime.UTC).date() - datetime.date(1970, 1, 1)).days
print([row["risk_30d"] for row in rows if row["terminal_id"] == "t" and row["day"] == today])
"""


def test_terminal_risk_is_renewed_by_its_timer(host: Host) -> None:
    timer = host.service("risk-renewal.timer")
    assert timer.is_enabled
    assert timer.is_running
    assert "OnCalendar=*-*-* *:00:00 ;" in host.check_output(
        "systemctl show -p TimersCalendar risk-renewal.timer"
    )


def test_a_label_in_the_lake_changes_the_risk_of_its_terminal(host: Host, current: dict[str, Any]) -> None:
    """The service is started as its timer starts it: no shell, a user of its own, the settings' access."""
    python = "/opt/fraud-training/venv/bin/python"
    day = host.check_output("%s -c %s", python, LAKE)
    host.run_expect([0], f"mc cp payments lab/datalake/raw/transactions/{day}/test-part")
    host.run_expect([0], f"mc cp labels lab/datalake/labels/{day}/test-part")
    host.run_expect([0], "systemctl start risk-renewal.service")
    journal = host.check_output("journalctl -u risk-renewal.service -n 20 --no-pager")
    last = host.check_output("mc ls lab/models/releases/").split()[-1]
    release = json.loads(read(host, f"models/releases/{last}"))
    assert release["action"] == "renew", journal
    assert release["model"] == current["model"]
    assert release["risk"]["renewed"]
    host.run_expect([0], f"mc cp lab/features/{release['risk']['key']} risk")
    assert host.check_output("%s -c %s", python, SHARE) == "[0.25]"
    host.run_expect([0], "systemctl start risk-renewal.service")
    assert "unchanged: it is what is released" in host.check_output("journalctl -u risk-renewal.service -n 5")


def test_all_transactions_are_audited_by_a_timer_with_a_state_that_everybody_may_read(host: Host) -> None:
    """Here is no Kafka, so the service can only say that."""
    timer = host.service("continuous-audit.timer")
    assert timer.is_enabled
    assert timer.is_running
    shown = host.check_output(
        "systemctl show -p TimersCalendar -p RandomizedDelayUSec continuous-audit.timer"
    )
    assert "OnCalendar=*-*-* *:*:00 ;" in shown
    assert "RandomizedDelayUSec=0" in shown
    assert host.file("/etc/fraud-detection/continuous-audit.env").mode == 0o600
    host.run_expect([1], "systemctl start continuous-audit.service")
    journal = host.check_output("journalctl -u continuous-audit.service -n 20 --no-pager")
    assert "cannot reach Kafka at 192.0.2.1:9092" in journal
    folder = host.file("/var/lib/continuous-audit")
    assert (folder.user, folder.mode) == ("continuous-audit", 0o755)
    shown = host.run_expect([2], "fraud-audit --state /var/lib/continuous-audit --show").stderr
    assert "audit.json: No such file" in shown


def test_the_lake_is_compacted_by_its_timer_with_access_of_its_own(host: Host) -> None:
    timer = host.service("lake-compaction.timer")
    assert timer.is_enabled
    assert timer.is_running
    # its secrets are root's, who hands them to the service
    assert host.file("/etc/fraud-detection/lake-compaction.env").mode == 0o600
    host.run_expect([0], "systemctl start lake-compaction.service")
    last = json.loads(read(host, "datalake/_compaction.json"))
    journal = host.check_output("journalctl -u lake-compaction.service -n 20 --no-pager")
    assert last["ended_at"], journal
    assert [told.partition(":")[0] for told in last["outcome"]] == [
        "raw/transactions",
        "labels",
        "alerts",
        "dead_letters",
        "predictions",
    ], journal
