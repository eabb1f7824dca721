import hashlib
from dataclasses import replace
from pathlib import Path

import joblib
import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from memory_store import MemoryStore
from sklearn.ensemble import RandomForestClassifier

from flink_jobs.domain.drift import DriftCounts
from flink_jobs.domain.features import FEATURE_NAMES
from flink_jobs.domain.manifest import Manifest
from flink_jobs.domain.model import ServedModel
from flink_jobs.domain.reasons import Reason
from flink_jobs.domain.scoring import Record
from flink_jobs.domain.terminal_risk import SCHEMA, TerminalRisk
from flink_jobs.store.model_registry import ModelRegistry
from flink_jobs.store.object_store import ObjectStoreError
from flink_jobs.store.release import Release
from flink_jobs.store.settings import Settings
from training import publish
from training.publish import Candidate, PublishError, promote, promoted_manifest, write


@pytest.fixture
def candidate() -> Candidate:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(400, 3)).astype(np.float32)
    labels = (matrix[:, 0] > 0.5).astype(np.int8)
    forest = RandomForestClassifier(5, max_depth=4, random_state=0).fit(matrix, labels)
    return Candidate(
        forest=forest,
        kind="columns",
        features=("V1", "V2", "V3"),
        threshold=0.5,
        threshold_choice={"rule": "given", "limit": 0.5},
        metrics={"auc": 0.9},
        data={"source": "test"},
        twin={},
        calibration=None,
        fingerprint="f",
        holdout=matrix,
        scores=forest.predict_proba(matrix)[:, 1],
        terminal_risk=None,
    )


def test_what_is_written_serves_as_it_was_trained(candidate: Candidate, tmp_path: Path) -> None:
    manifest = write(candidate, tmp_path / "new" / "model")
    folder = tmp_path / "new" / "model"
    assert sorted(path.name for path in folder.iterdir()) == [
        "explainer.onnx",
        "manifest.json",
        "model.joblib",
        "model.onnx",
    ]
    assert Manifest.from_json((folder / "manifest.json").read_bytes()) == manifest
    served = ServedModel.from_onnx(manifest, (folder / "model.onnx").read_bytes())
    forest = joblib.load(folder / "model.joblib")
    expected = forest.predict_proba(candidate.holdout)[:, 1]
    assert np.abs(served.score(candidate.holdout) - expected).max() < 1e-6
    assert manifest.version.endswith("-" + manifest.files["model.onnx"][:8])
    assert manifest.libraries["scikit-learn"]


def test_the_manifest_keeps_what_features_and_scores_were_like(candidate: Candidate, tmp_path: Path) -> None:
    manifest = write(candidate, tmp_path)
    assert list(manifest.distributions) == ["V1", "V2", "V3", "score"]
    assert candidate.threshold in manifest.distributions["score"].edges
    served = ServedModel.from_onnx(manifest, (tmp_path / "model.onnx").read_bytes())
    counts = DriftCounts(manifest.distributions, sampled_share=1)
    counts.add(candidate.holdout, served.score(candidate.holdout))
    assert max(counts.indexes().values()) < 1e-6
    alerts = float((served.score(candidate.holdout) >= candidate.threshold).mean())
    assert counts.share_from("score", candidate.threshold) == pytest.approx((alerts, alerts), abs=1e-5)
    lines = (tmp_path / "manifest.json").read_text().splitlines()
    assert sum("shares" in line and line.endswith("]") for line in lines) == 4, "numbers stand in one line"


def test_the_job_loads_what_explains_a_model_where_it_was_published_with_it(
    candidate: Candidate,
    tmp_path: Path,
    settings: Settings,
    store: MemoryStore,
) -> None:
    del store
    columns = dict(
        zip(candidate.features, candidate.holdout[candidate.holdout[:, 0].argmax()].tolist(), strict=True)
    )
    payload = msgspec.json.encode(
        {"transaction_id": "1", "event_time": "2013-09-01T00:00:00Z", "amount": 1.0, "features": columns}
    )
    manifest = write(candidate, tmp_path)

    def reasons() -> list[Reason]:
        promote(tmp_path, settings)
        scorer = ModelRegistry(settings).load_newest()
        (alert,) = scorer.score([Record(0, 0, 4 * 10**12, len(payload), payload)], {}, 4e9).alerts  # type: ignore[arg-type]
        return alert.reasons

    assert reasons()[0].feature == "V1"
    files = {name: digest for name, digest in manifest.files.items() if name != "explainer.onnx"}
    (tmp_path / "manifest.json").write_bytes(msgspec.structs.replace(manifest, files=files).to_json())
    assert reasons() == []


def test_a_model_that_onnx_scores_otherwise_is_not_written(
    candidate: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flipped = 1 - (candidate.holdout[:, 0] > 0.5).astype(np.int8)
    other = RandomForestClassifier(5, max_depth=4, random_state=0).fit(candidate.holdout, flipped)
    wrong = publish.to_onnx_bytes(other)
    monkeypatch.setattr(publish, "to_onnx_bytes", lambda _forest: wrong)
    with pytest.raises(PublishError, match=r"disagree on \d+ of 400 test transactions.*nothing was written"):
        write(candidate, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_an_explainer_that_does_not_add_up_is_not_written(
    candidate: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = publish.explainer_onnx(
        RandomForestClassifier(5, max_depth=4, random_state=1).fit(
            candidate.holdout, candidate.holdout[:, 1] > 0.5
        ),
        publish.OPSETS,
    )
    monkeypatch.setattr(publish, "explainer_onnx", lambda *_: wrong)
    with pytest.raises(PublishError, match=r"The explainer and scikit-learn disagree on \d+ of 400"):
        write(candidate, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_folder_that_cannot_be_written_is_named(candidate: Candidate, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PublishError, match="file/model: cannot be written"):
        write(candidate, tmp_path / "file" / "model")


def test_promotion_points_at_the_model_last(
    candidate: Candidate, tmp_path: Path, settings: Settings, store: MemoryStore
) -> None:
    manifest = write(_history(candidate), tmp_path)
    promote(tmp_path, settings)
    version = manifest.version
    assert store.written == [
        f"models/{version}/model.joblib",
        f"models/{version}/model.onnx",
        f"models/{version}/explainer.onnx",
        f"models/{version}/manifest.json",
        f"features/terminal_risk/{version}.parquet",
        "models/releases/00000001.json",
    ]
    models, features = store.objects["models"], store.objects["features"]
    release = msgspec.json.decode(models["releases/00000001.json"], type=Release)
    assert release.model.version == version
    assert release.model.manifest_sha256 == sha256(models[f"{version}/manifest.json"])
    risk = release.risk
    assert risk is not None
    assert risk.sha256 == sha256(features[risk.key])
    served = TerminalRisk.from_parquet(features[risk.key])
    assert served.as_of(["t"], np.array([5])).tolist() == [[1.0, 0.5, 1.0, 0.5, 1.0, 0.5, 0.5, 1.0]]
    promoted = promoted_manifest(settings)
    assert promoted == manifest


def test_ready_columns_need_no_terminal_risk(
    candidate: Candidate, tmp_path: Path, settings: Settings, store: MemoryStore
) -> None:
    write(candidate, tmp_path)
    promote(tmp_path, settings)
    assert not store.objects["features"]
    assert store.written[-1] == "models/releases/00000001.json"


def test_a_file_changed_since_it_was_written_is_not_promoted(
    candidate: Candidate, tmp_path: Path, settings: Settings, store: MemoryStore
) -> None:
    write(candidate, tmp_path)
    (tmp_path / "model.joblib").write_bytes(b"other")
    with pytest.raises(PublishError, match=r"model\.joblib .*SHA-256"):
        promote(tmp_path, settings)
    assert not store.written


def test_nothing_promoted_is_told_from_no_bucket(settings: Settings, store: MemoryStore) -> None:
    assert promoted_manifest(settings) is None
    del store.objects["models"]
    with pytest.raises(ObjectStoreError, match=r"cannot list s3://models/releases/.*NoSuchBucket"):
        promoted_manifest(settings)


@pytest.mark.parametrize("key", ["current.json", "releases/00000001.json"])
@pytest.mark.parametrize("content", [b"{}", b"broken", b'{"version": "gone", "manifest_sha256": ""}'])
def test_a_promoted_model_that_makes_no_sense_can_be_replaced(  # noqa: PLR0913, PLR0917 - fixtures
    candidate: Candidate, tmp_path: Path, settings: Settings, store: MemoryStore, key: str, content: bytes
) -> None:
    store.put_object(Bucket="models", Key=key, Body=content)
    assert promoted_manifest(settings) is None
    manifest = write(candidate, tmp_path)
    promote(tmp_path, settings)
    assert promoted_manifest(settings) == manifest


def test_a_missing_bucket_is_named(
    candidate: Candidate, tmp_path: Path, settings: Settings, store: MemoryStore
) -> None:
    write(candidate, tmp_path)
    del store.objects["models"]
    with pytest.raises(ObjectStoreError, match=r"cannot write s3://models/.*ansible-playbook site\.yml"):
        promote(tmp_path, settings)


def test_a_silent_server_is_named(candidate: Candidate, tmp_path: Path, settings: Settings) -> None:
    write(candidate, tmp_path)
    with pytest.raises(ObjectStoreError, match=r"http://127\.0\.0\.1:9.*is MinIO running"):
        promote(tmp_path, settings)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _risk() -> pa.Table:
    values = {name: [0.5 if name.startswith("risk") else 1.0] for name in SCHEMA.names[2:]}
    frame = pd.DataFrame({"terminal_id": ["t"], "day": [5], **values})
    return pa.Table.from_pandas(frame, schema=SCHEMA, preserve_index=False)


def _history(candidate: Candidate) -> Candidate:
    """Of the features that the job computes, with a snapshot of terminal risk."""
    matrix = np.tile(candidate.holdout, (1, len(FEATURE_NAMES) // 3 + 1))[:, : len(FEATURE_NAMES)]
    labels = candidate.forest.predict(candidate.holdout)
    forest = RandomForestClassifier(5, max_depth=4, random_state=0).fit(matrix, labels)
    return replace(
        candidate,
        forest=forest,
        kind="history",
        features=FEATURE_NAMES,
        holdout=matrix,
        terminal_risk=_risk(),
    )
