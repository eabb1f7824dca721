"""A card goes with each model, for people and programs, and says what made it."""

import json
from pathlib import Path

import pandas as pd
import pytest
from memory_store import MemoryStore

from training import candidate
from training.model_command import main as models
from training.source_code import code_sha256
from training.train_sklearn_model import main as train


@pytest.fixture
def arguments(handbook_frame: pd.DataFrame, tmp_path: Path, settings_file: Path) -> list[str]:
    handbook_frame.to_parquet(tmp_path / "town.parquet")
    files = ["--data", str(tmp_path / "town.parquet"), "--output", str(tmp_path / "model")]
    return [*files, "--settings", str(settings_file), "--trees", "10", "--promote"]


def test_the_card_says_what_the_model_is_and_show_points_at_it(
    arguments: list[str],
    tmp_path: Path,
    store: MemoryStore,
    settings_file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train(arguments) == 0
    manifest = json.loads((tmp_path / "model/manifest.json").read_text())
    card = json.loads((tmp_path / "model/card.json").read_text())
    for name in ("data", "twin", "metrics", "calibration", "features", "libraries"):
        assert card[name] == manifest[name], name
    assert card["forest"]["trees"] == 10
    assert card["forest"]["seed"] == 0
    assert card["threshold"]["rule"] == "best_f1"
    assert card["code"]["sha256"] == code_sha256()
    (week,) = card["weeks"]
    assert (week["from"], week["to"]) == ("2024-04-23", "2024-04-29")
    for name in ("average_precision", "precision", "recall"):
        lower, upper = week["intervals"][name]
        assert 0 <= lower <= week[name] <= upper <= 1
        assert week[name] == manifest["metrics"][name]
    lower, upper = week["intervals"]["precision"]
    assert upper - lower > 0.01
    page = (tmp_path / "model/card.html").read_text()
    for told in (manifest["version"], manifest["data"]["sha256"], "best F1", f"({lower:.3g} to {upper:.3g})"):
        assert told in page
    # it is for people
    for raw in ("None", "best_f1", "chosen_from", "train_to", "<th></th>", str(manifest["threshold"])):
        assert raw not in page
    assert f"{manifest['data']['train_transactions']:,}" in page
    knots = manifest["calibration"]["probabilities"]
    bends = [
        n for n, each in enumerate(knots) if n in {0, len(knots) - 1} or len({*knots[n - 1 : n + 2]}) > 1
    ]
    assert page.partition("Calibration")[2].partition("Limits")[0].count("<tr>") == len(bends) + 1
    version = manifest["version"]
    assert store.objects["models"][f"{version}/card.html"].decode() == page
    capsys.readouterr()
    assert models(["--settings", str(settings_file), "show", version]) == 0
    assert f"s3://models/{version}/card.html, and card.json beside it" in capsys.readouterr().out


def test_other_code_or_libraries_are_a_change(
    arguments: list[str],
    store: MemoryStore,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = [*arguments, "--if-changed", "--force", "a test"]
    assert train(command) == 0
    written = len(store.written)
    assert train(command) == 0
    assert "unchanged: " in capsys.readouterr().out
    assert len(store.written) == written
    monkeypatch.setattr(candidate, "code_sha256", lambda: "other")
    assert train(command) == 0
    assert len(store.written) == 2 * written
    monkeypatch.setattr(candidate, "library_versions", lambda: {"scikit-learn": "9"})
    assert train(command) == 0
    assert len(store.written) == 3 * written
