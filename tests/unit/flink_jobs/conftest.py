"""A small forest that was really trained, as ONNX and with its manifest."""

import hashlib
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import skl2onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import RandomForestClassifier

from flink_jobs.domain.features import FEATURE_NAMES
from flink_jobs.domain.manifest import Manifest, ModelKind
from training.explainer import explainer_onnx

OPSETS = {"": 18, "ai.onnx.ml": 3}
COLUMNS = ("V1", "V2", "Amount")


@cache
def forest(width: int) -> RandomForestClassifier:
    """Train a forest for which a first value over 100 is a fraud."""
    random = np.random.default_rng(0)
    matrix = random.uniform(0, 200, (400, width)).astype(np.float32)
    return RandomForestClassifier(10, random_state=0).fit(matrix, matrix[:, 0] > 100)


def train(width: int) -> bytes:
    onnx = skl2onnx.to_onnx(
        forest(width),
        initial_types=[("x", FloatTensorType([None, width]))],
        options={id(forest(width)): {"zipmap": False}},
        target_opset=OPSETS,
    )
    content: bytes = onnx.SerializeToString()
    return content


@pytest.fixture(scope="session")
def published() -> Callable[[ModelKind], tuple[Manifest, bytes]]:
    made: dict[str, tuple[Manifest, bytes]] = {}

    def publish(kind: ModelKind) -> tuple[Manifest, bytes]:
        if kind not in made:
            features = FEATURE_NAMES if kind == "history" else COLUMNS
            onnx, explainer = train(len(features)), explainer_onnx(forest(len(features)), OPSETS)
            made[kind] = (
                Manifest(
                    version="20260101T000000Z-test",
                    created_at="2026-01-01T00:00:00Z",
                    kind=kind,
                    features=list(features),
                    threshold=0.5,
                    metrics={},
                    data={},
                    libraries={},
                    files={
                        "model.onnx": hashlib.sha256(onnx).hexdigest(),
                        "explainer.onnx": hashlib.sha256(explainer).hexdigest(),
                    },
                    fingerprint="",
                ),
                onnx,
            )
        return made[kind]

    return publish


@pytest.fixture
def explainer() -> Callable[[ModelKind], bytes]:
    """Give the explainer of the model that `published` gives."""
    return lambda kind: explainer_onnx(forest(len(FEATURE_NAMES if kind == "history" else COLUMNS)), OPSETS)
