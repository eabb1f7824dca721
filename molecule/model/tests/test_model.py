"""A model is trained on the host, lies in the store whole, and stays until another one is asked for."""

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
    assert files.keys() == {"model.joblib", "model.onnx", "explainer.onnx"}
    folder = f"lab/models/{current['model']['version']}"
    for name, checksum in files.items():
        assert host.check_output(f"mc cat {folder}/{name} | sha256sum").split()[0] == checksum


def test_it_finds_frauds(host: Host, current: dict[str, Any]) -> None:
    metrics = json.loads(read(host, f"models/{current['model']['version']}/manifest.json"))["metrics"]
    # a model that ranks at random has 0.5 and about 0.01
    assert metrics["auc"] > 0.8
    assert metrics["average_precision"] > 0.4


def test_terminal_risk_goes_with_it(host: Host, current: dict[str, Any]) -> None:
    snapshot = current["risk"]
    assert snapshot["version"] == current["model"]["version"]
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
