"""Write a trained forest to files, and upload these to MinIO, where the job finds them."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import joblib
import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import RandomForestClassifier

from flink_jobs.domain.calibration import Calibration
from flink_jobs.domain.drift import SCORE, Distribution, distribution
from flink_jobs.domain.expected_alerts import ExpectedAlerts, dispersion
from flink_jobs.domain.features import LABEL_DELAY_DAYS
from flink_jobs.domain.manifest import Manifest, ModelKind
from flink_jobs.domain.model import EXPLAINER_FILE, ONNX_FILE, ServedModel
from flink_jobs.domain.terminal_risk import RISK_FILE
from flink_jobs.store.model_registry import (
    MANIFEST_FILE,
    model_key,
    risk_key,
)
from flink_jobs.store.object_store import s3_client, write_object
from flink_jobs.store.settings import Settings
from training.explainer import base_score, explainer_onnx
from training.model_card import CARD_HTML, CARD_JSON, card_html, card_json, model_card
from training.procedure import Scored
from training.promotions import InUse, Promotions
from training.release_writer import PromotionError
from training.source_code import code_sha256, commit, library_versions
from training.terminal_labels import to_parquet

JOBLIB_FILE = "model.joblib"
LARGEST_DIFFERENCE = 1e-5

# Read by onnxruntime 1.14 and later.
OPSETS = {"": 18, "ai.onnx.ml": 3}


class PublishError(Exception):
    """A model that must not be served; says why."""


@dataclass(frozen=True)
class Candidate:
    """A trained model, measured and ready to be written.

    Attributes:
        metrics: of the twin, which was trained in the same way on earlier days.
        twin: its digest, threshold and training period.
        calibration: of the scores; None for none.
        holdout: [transactions, features], the latest not learnt from; shows that ONNX scores as scikit-learn
            does, and what features are like.
        scores: [transactions] of `holdout`, by a model that has not learnt from it.
        origins: each [transactions] of `holdout`, what alerts come in bursts of: terminals, cards.
        terminal_risk: the snapshot that goes with the model; None for a model that takes ready columns.
        tested: the twin's test, for the card; None for no card.
        parameters: of the forest, for the card.

    """

    forest: RandomForestClassifier
    kind: ModelKind
    features: Sequence[str]
    threshold: float
    threshold_choice: dict[str, str | int | float | None]
    metrics: dict[str, float]
    data: dict[str, str | int | float | None]
    twin: dict[str, str | int | float | None]
    calibration: Calibration | None
    fingerprint: str
    holdout: NDArray[np.float32]
    scores: NDArray[np.float64]
    terminal_risk: pa.Table | None
    label_delay_days: int = LABEL_DELAY_DAYS
    tested: Scored | None = None
    parameters: dict[str, int] = field(default_factory=dict)
    origins: tuple[NDArray[np.object_], ...] = ()


def write(candidate: Candidate, folder: Path) -> Manifest:
    """Write model.joblib, model.onnx, explainer.onnx, manifest.json, terminal_risk.parquet and a card.

    Raises:
        PublishError: ONNX and scikit-learn disagree, contributions do not add up to the scores, or the
            folder cannot be written.

    """
    buffer = io.BytesIO()
    joblib.dump(candidate.forest, buffer, compress=3)
    files = {
        JOBLIB_FILE: buffer.getvalue(),
        ONNX_FILE: to_onnx_bytes(candidate.forest),
        EXPLAINER_FILE: explainer_onnx(candidate.forest, OPSETS),
    }
    manifest = _describe(candidate, files)
    served = ServedModel.from_onnx(manifest, files[ONNX_FILE], files[EXPLAINER_FILE])
    verify_parity(candidate.forest, served, candidate.holdout)
    manifest = msgspec.structs.replace(
        manifest, distributions=_distributions(candidate), expected_alerts=_expected_alerts(candidate)
    )
    if candidate.tested is not None:
        code = {"sha256": code_sha256(), "commit": commit()}
        card = model_card(manifest, candidate.tested, candidate.parameters, code)
        files |= {CARD_JSON: card_json(card), CARD_HTML: card_html(card)}
        digests = {name: _sha256(content) for name, content in files.items()}
        manifest = msgspec.structs.replace(manifest, files=digests)
    files[MANIFEST_FILE] = manifest.to_json()
    if candidate.terminal_risk is not None:
        files[RISK_FILE] = to_parquet(candidate.terminal_risk)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RISK_FILE).unlink(missing_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise PublishError(
            f"{folder}: cannot be written ({error.strerror}); choose another --output"
        ) from None
    return manifest


def to_onnx_bytes(forest: RandomForestClassifier) -> bytes:
    """Convert to ONNX: float32 [n, features] in, labels and float32 [n, 2] probabilities out."""
    model = to_onnx(
        forest,
        initial_types=[("features", FloatTensorType([None, forest.n_features_in_]))],
        options={id(forest): {"zipmap": False}},
        target_opset=OPSETS,
    )
    content: bytes = model.SerializeToString()
    return content


def verify_parity(forest: RandomForestClassifier, served: ServedModel, holdout: NDArray[np.float32]) -> None:
    """Compare the ONNX model's scores with scikit-learn's, and the explainer's sums with the scores.

    Raises:
        PublishError: the scores of a transaction differ by LARGEST_DIFFERENCE or more.

    """
    measured = forest.predict_proba(holdout)[:, 1]
    explained = base_score(forest) + served.explain(holdout).sum(axis=1, dtype=np.float64)
    for what, scores in (("ONNX", served.score(holdout)), ("The explainer", explained)):
        differences = np.abs(scores - measured)
        worst = int(differences.argmax())
        if not differences[worst] < LARGEST_DIFFERENCE:
            raise PublishError(
                f"{what} and scikit-learn disagree on {int((differences >= LARGEST_DIFFERENCE).sum())} of "
                f"{len(holdout)} test transactions, by {differences[worst]:.2g} on number {worst + 1} "
                f"(allowed: less than {LARGEST_DIFFERENCE:g}); nothing was written. "
                f"Versions: {library_versions()}"
            )


def upload(folder: Path, settings: Settings) -> Manifest:
    """Upload what `write` left in a folder, so that it can be promoted or tried as a challenger.

    Raises:
        PublishError: the files are not those of the manifest.
        ObjectStoreError: the bucket is missing, not writable, or the server does not answer.

    """
    try:
        described = (folder / MANIFEST_FILE).read_bytes()
        manifest = Manifest.from_json(described)
        files = {name: (folder / name).read_bytes() for name in manifest.files}
        for name, content in files.items():
            manifest.verify(name, content)
        risk = (folder / RISK_FILE).read_bytes() if manifest.kind == "history" else None
    except (OSError, ValueError) as error:
        raise PublishError(f"{folder}: {error}") from None

    client = s3_client(settings.s3)
    for name, content in (*files.items(), (MANIFEST_FILE, described)):
        write_object(client, settings.buckets.models, model_key(manifest.version, name), content)
    if risk is not None:
        write_object(client, settings.buckets.features, risk_key(manifest.version), risk)
    return manifest


def promote(folder: Path, settings: Settings, why: str = "") -> InUse:
    """Upload what `write` left in a folder, and make it the current model; `why` goes into the log.

    Raises:
        PublishError: as for `upload`.
        PromotionError: a job cannot serve the stored files.
        ObjectStoreError: as for `upload`.

    """
    return Promotions(settings).promote(upload(folder, settings).version, why)


def promoted_manifest(settings: Settings) -> Manifest | None:
    """Describe the current model; None if there is none, or it cannot be described: the next replaces it.

    Raises:
        ObjectStoreError: the bucket is missing, not readable, or the server does not answer.

    """
    promotions = Promotions(settings)
    version = promotions.current()
    try:
        return None if version is None else promotions.manifest(version)
    except PromotionError:
        return None


def _describe(candidate: Candidate, files: dict[str, bytes]) -> Manifest:
    now = datetime.now(UTC)
    digests = {name: _sha256(content) for name, content in files.items()}
    return Manifest(
        version=f"{now:%Y%m%dT%H%M%SZ}-{digests[ONNX_FILE][:8]}",
        created_at=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        kind=candidate.kind,
        features=list(candidate.features),
        threshold=candidate.threshold,
        threshold_choice=candidate.threshold_choice,
        metrics=candidate.metrics,
        data=candidate.data,
        twin=candidate.twin,
        calibration=candidate.calibration,
        libraries=library_versions(),
        files=digests,
        fingerprint=candidate.fingerprint,
        label_delay_days=candidate.label_delay_days,
    )


def _distributions(candidate: Candidate) -> dict[str, Distribution]:
    """Distributions of the model's features and scores, to measure drift against."""
    found = {
        name: distribution(candidate.holdout[:, column]) for column, name in enumerate(candidate.features)
    }
    # with the threshold as an edge, the shares tell that of alerts
    return found | {SCORE: distribution(candidate.scores, [candidate.threshold])}


def _expected_alerts(candidate: Candidate) -> ExpectedAlerts:
    """Count what the threshold alerts on."""
    alerted = candidate.scores >= candidate.threshold
    bursts = dispersion(*(each[alerted] for each in candidate.origins))
    return ExpectedAlerts(len(alerted), int(alerted.sum()), round(bursts, 3))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
