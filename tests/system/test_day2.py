"""What an operator does to a running system, while transactions come in."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conftest import ROOT, run, ssh

from flink_jobs.domain.model import ONNX_FILE
from flink_jobs.domain.model_registry import CURRENT_KEY, model_key
from flink_jobs.domain.settings import Settings


def playbook(name: str, *arguments: str) -> str:
    return run(
        "ansible-playbook", f"playbooks/{name}", *arguments, cwd=ROOT / "ansible", ANSIBLE_FORCE_COLOR="0"
    )


@contextmanager
def producer_running(report: Path) -> Iterator[None]:
    """Send 200 transactions a second for as long as the block takes."""
    producer = subprocess.Popen(
        ["fraud-producer", "--rate", "200", "--report", str(report)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield
    finally:
        producer.send_signal(signal.SIGINT)
        output, _ = producer.communicate(timeout=180)
    # ended by the signal, with every record confirmed
    assert producer.returncode == 130, output


def test_a_rolling_restart_loses_nothing(tmp_path: Path) -> None:
    sent, audit = tmp_path / "producer.json", tmp_path / "audit.json"
    with producer_running(sent):
        playbook("restart.yml")
    run("fraud-audit", "--producer-report", str(sent), "--output", str(audit), codes=(0, 1))
    result = json.loads(audit.read_text())
    assert result["sent"] == result["scored"] > 1000, result
    assert result["failed"] == result["lost"] == 0, result
    assert result["lake_missing"] == result["lake_repeated"] == 0, result


def test_what_was_backed_up_comes_back(
    settings: Settings,
    store: Any,  # noqa: ANN401 - boto3 makes its classes at run time
    hosts: dict[str, dict[str, Any]],
) -> None:
    broker = next(name for name, host in hosts.items() if "kafka" in host["groups"])
    models = settings.buckets.models
    pointer = store.get_object(Bucket=models, Key=CURRENT_KEY)["Body"].read()
    key = model_key(json.loads(pointer)["version"], ONNX_FILE)
    model = store.get_object(Bucket=models, Key=key)["Body"].read()
    playbook("backup.yml", "-e", "backup_name=system-test")

    store.put_object(Bucket=models, Key=key, Body=b"damaged")
    topic = settings.topics.predictions
    described = ssh(broker, f"kafka-topics --describe --topic {topic}")
    assert "retention.ms=259200000" in described
    ssh(broker, f"kafka-configs --alter --topic {topic} --add-config retention.ms=3600000")
    playbook("restore.yml", "-e", "backup_name=system-test")

    assert store.get_object(Bucket=models, Key=key)["Body"].read() == model
    assert store.get_object(Bucket=models, Key=CURRENT_KEY)["Body"].read() == pointer
    described = ssh(broker, f"kafka-topics --describe --topic {topic}")
    assert "retention.ms=259200000" in described
