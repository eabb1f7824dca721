import json
import re
from pathlib import Path

import msgspec
import pandas as pd
import pytest
from memory_store import MemoryStore

from flink_jobs.domain.features import FEATURE_NAMES
from flink_jobs.domain.manifest import Manifest
from flink_jobs.domain.terminal_risk import TerminalRisk
from flink_jobs.store.settings import Settings
from training.dataset import READY_COLUMNS
from training.forest import Forest
from training.train_sklearn_model import main

FAST = ["--trees", "8", "--max-depth", "6"]


@pytest.fixture
def handbook_file(tmp_path: Path, handbook_frame: pd.DataFrame) -> Path:
    path = tmp_path / "transactions.parquet"
    handbook_frame.to_parquet(path)
    return path


@pytest.fixture
def ready_file(tmp_path: Path, ready_frame: pd.DataFrame) -> Path:
    path = tmp_path / "creditcard.csv"
    ready_frame.to_csv(path, index=False)
    return path


def manifest_in(folder: Path) -> Manifest:
    return Manifest.from_json((folder / "manifest.json").read_bytes())


def test_history_is_trained_measured_and_written(
    handbook_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "model"
    assert main(["--data", str(handbook_file), "--until", "2024-04-25", "--output", str(output), *FAST]) == 0
    manifest = manifest_in(output)
    assert manifest.kind == "history"
    assert tuple(manifest.features) == FEATURE_NAMES
    assert set(manifest.metrics) >= {"auc", "average_precision", "card_precision_at_100"}
    # what is served has learnt from all that is labelled, its twin from what was before the test
    assert manifest.data["train_from"] == "2024-03-21"
    assert manifest.data["train_to"] == "2024-04-17"
    assert manifest.twin["train_from"] == "2024-03-14"
    assert manifest.twin["train_to"] == "2024-04-10"
    assert manifest.twin["sha256"] != manifest.files["model.onnx"]
    assert manifest.data["test_from"] == "2024-04-18"
    assert manifest.data["test_to"] == "2024-04-24"
    assert 0 < manifest.threshold < 1
    assert (output / "terminal_risk.parquet").exists()
    shown = capsys.readouterr().out
    for word in ("trained on", "tested on", "AUC", "average precision", "CardPrecision@100", "threshold"):
        assert word in shown


def test_the_delay_of_labels_is_the_settings_or_the_commands_and_goes_into_model_and_risk(
    handbook_file: Path, tmp_path: Path, settings: Settings, settings_file: Path
) -> None:
    settings_file.write_bytes(msgspec.json.encode(msgspec.structs.replace(settings, label_delay_days=5)))
    command = ["--data", str(handbook_file), "--until", "2024-04-25", "--settings", str(settings_file), *FAST]
    for given, delay_days, train_to in (([], 5, "2024-04-19"), (["--label-delay", "3"], 3, "2024-04-21")):
        assert main([*command, "--output", str(tmp_path / "model"), *given]) == 0
        manifest = manifest_in(tmp_path / "model")
        risk = TerminalRisk.from_parquet((tmp_path / "model/terminal_risk.parquet").read_bytes())
        assert manifest.label_delay_days == risk.label_delay_days == delay_days
        assert manifest.data["train_to"] == train_to
        assert len(risk.days) == delay_days + 1


@pytest.mark.parametrize(
    ("until", "said"),
    [
        ("2024-04-25", None),
        ("2024-02-01", "nothing lies before 2024-02-01T00:00:00+00:00; its event times are 2024-03-01"),
        ("2025-01-01", "nothing lies from 2025-01-01T00:00:00+00:00 on; its event times are 2024-03-01"),
        ("2024-03-20", "spans 19 days, training needs 28 at least"),
    ],
)
def test_data_is_checked_without_training(  # noqa: PLR0913, PLR0917 - fixtures, and a table's columns
    handbook_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    until: str,
    said: str | None,
) -> None:
    monkeypatch.setattr(Forest, "fit", None)
    output = tmp_path / "model"
    command = ["--check", "--data", str(handbook_file), "--until", until, "--output", str(output), *FAST]
    assert main(command) == (1 if said else 0)
    shown = capsys.readouterr()
    if said:
        assert shown.err.startswith("fraud-train: ")
        assert f"transactions.parquet: {said}" in shown.err
    else:
        assert re.search(r"trained on [\d,]+ transactions; [\d,]+ come later", shown.out)
    assert not output.exists()


def test_a_check_of_nothing_is_refused(handbook_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--check", "--data", str(handbook_file), "--since", "2025-01-01", "--until", "2025-02-01"]
    assert main(command) == 1
    assert (
        "transactions.parquet: no transactions in the period asked for (--since)" in capsys.readouterr().err
    )


def test_a_file_without_labels_cannot_be_trained_on(
    tmp_path: Path, handbook_frame: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    handbook_frame.drop(columns="TX_FRAUD").to_parquet(tmp_path / "data.parquet")
    assert main(["--check", "--data", str(tmp_path / "data.parquet"), "--until", "2024-04-25"]) == 1
    assert "missing column TX_FRAUD or is_fraud" in capsys.readouterr().err


def test_a_mapping_trains_and_is_part_of_what_decides_the_model(
    handbook_frame: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = handbook_frame.rename(columns={"CUSTOMER_ID": "card", "TX_FRAUD": "bad"})
    other.to_csv(tmp_path / "bank.csv", index=False)
    command = ["--data", str(tmp_path / "bank.csv"), "--output", str(tmp_path / "model"), *FAST]
    fingerprints = set()
    for customer in ("card", "TERMINAL_ID"):
        assert main([*command, "--columns", f"customer_id={customer},is_fraud=bad"]) == 0
        fingerprints.add(manifest_in(tmp_path / "model").fingerprint)
    assert len(fingerprints) == 2
    assert main(["--columns", "customer_id=card"]) == 1
    assert "--columns needs --data" in capsys.readouterr().err


def test_ready_columns_go_to_the_model_as_they_are(
    ready_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "model"
    assert main(["--data", str(ready_file), "--output", str(output), *FAST]) == 0
    manifest = manifest_in(output)
    assert manifest.kind == "columns"
    assert tuple(manifest.features) == READY_COLUMNS
    assert manifest.metrics["auc"] > 0.9
    assert "card_precision_at_100" not in manifest.metrics
    assert not (output / "terminal_risk.parquet").exists()
    assert "CardPrecision" not in capsys.readouterr().out


def test_thresholds_can_be_chosen(ready_file: Path, tmp_path: Path) -> None:
    command = ["--data", str(ready_file), "--output", str(tmp_path / "model"), *FAST]
    assert main([*command, "--threshold", "0.25"]) == 0
    manifest = manifest_in(tmp_path / "model")
    assert manifest.threshold == 0.25
    assert manifest.threshold_choice == {"rule": "given", "limit": 0.25}
    assert main([*command, "--alerts-per-day", "20"]) == 0
    manifest = manifest_in(tmp_path / "model")
    assert manifest.metrics["alerts_per_day"] == pytest.approx(20, abs=5)
    assert manifest.threshold_choice["rule"] == "alerts_per_day"
    assert manifest.threshold_choice["limit"] == 20
    assert manifest.threshold_choice["chosen_from"] == "2013-09-02"


def test_a_stricter_false_positive_rate_raises_the_threshold(ready_file: Path, tmp_path: Path) -> None:
    command = ["--data", str(ready_file), "--output", str(tmp_path / "model"), *FAST]
    thresholds = []
    for rate in ("0.2", "0.05", "0.01"):
        assert main([*command, "--max-false-positive-rate", rate]) == 0
        manifest = manifest_in(tmp_path / "model")
        assert manifest.threshold_choice["rule"] == "false_positive_rate"
        assert manifest.threshold_choice["limit"] == float(rate)
        # on the test part; the threshold was chosen on another
        assert manifest.metrics["false_positive_rate"] <= float(rate)
        assert manifest.metrics["recall"] > 0.8
        thresholds.append(manifest.threshold)
    assert thresholds[0] < thresholds[1] < thresholds[2]


@pytest.fixture
def promoting(ready_file: Path, tmp_path: Path, settings_file: Path) -> list[str]:
    """Give arguments that train a model and promote it."""
    output, settings = str(tmp_path / "model"), str(settings_file)
    return ["--data", str(ready_file), "--output", output, "--settings", settings, "--promote", *FAST]


def test_a_second_run_on_the_same_data_changes_nothing(
    promoting: list[str], store: MemoryStore, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*promoting, "--if-changed"]
    assert main(command) == 0
    first = json.loads(store.objects["models"][max(store.objects["models"])])["model"]["version"]
    assert f"Promoted {first}" in capsys.readouterr().out
    writes = len(store.written)
    assert main(command) == 0
    assert f"unchanged: {first}" in capsys.readouterr().out
    assert len(store.written) == writes
    other = [*command, "--seed", "1"]
    # two days of ready columns are too few to compare models on
    assert main(other) == 1
    assert "--force REASON" in capsys.readouterr().err
    assert len(store.written) == writes
    assert main([*other, "--force", "a trial"]) == 0
    assert len(store.written) == 2 * writes


def test_a_promoted_model_stays_if_any_will_do(
    promoting: list[str], store: MemoryStore, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*promoting, "--if-missing"]
    assert main(command) == 0
    writes = len(store.written)
    assert main([*command, "--seed", "1"]) == 0
    assert "unchanged: " in capsys.readouterr().out
    assert len(store.written) == writes
    # a model of kind `history` with features that this version does not compute
    current = json.loads(store.objects["models"][max(store.objects["models"])])["model"]["version"]
    manifest = json.loads(store.objects["models"][f"{current}/manifest.json"])
    store.objects["models"][f"{current}/manifest.json"] = json.dumps(manifest | {"kind": "history"}).encode()
    assert main(command) == 0
    assert len(store.written) == 2 * writes


@pytest.mark.parametrize(
    ("drop", "said"),
    [
        ("TX_FRAUD", "missing column TX_FRAUD or is_fraud. Training needs labels"),
        ("TERMINAL_ID", "missing column TERMINAL_ID. Expected"),
    ],
)
def test_bad_data_ends_with_one_line(
    tmp_path: Path, handbook_frame: pd.DataFrame, capsys: pytest.CaptureFixture[str], drop: str, said: str
) -> None:
    path = tmp_path / "bad.csv"
    handbook_frame.drop(columns=drop).to_csv(path, index=False)
    assert main(["--data", str(path), "--output", str(tmp_path / "model")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"fraud-train: {path}: ")
    assert said in error
    assert error.count("\n") == 1


def test_a_period_without_data_is_said(
    handbook_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--data", str(handbook_file), "--until", "2001-01-01", "--output", str(tmp_path / "model")]
    assert main(command) == 1
    assert "no transactions in the period" in capsys.readouterr().err


def test_a_server_that_does_not_answer_is_said_before_training(
    ready_file: Path, settings_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--data", str(ready_file), "--output", str(tmp_path / "model"), *FAST]
    assert main([*command, "--promote", "--settings", str(settings_file)]) == 1
    assert "cannot list s3://models/releases/ at http://127.0.0.1:9" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_settings_that_are_not_there_are_said(
    ready_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", str(ready_file), "--promote", "--settings", str(tmp_path / "none.json")]) == 1
    assert "none.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [
        ["--until", "soon"],
        ["--trees", "0"],
        ["--threshold", "2"],
        ["--threshold", "0.5", "--alerts-per-day", "5"],
        ["--alerts-per-day", "5", "--max-false-positive-rate", "0.01"],
        ["--max-false-positive-rate", "2"],
    ],
)
def test_wrong_options_are_usage_errors(wrong: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(wrong)
