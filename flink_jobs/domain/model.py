"""A published model, ready to score: ONNX only, so that nothing is ever unpickled."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from flink_jobs.domain.features import FEATURE_NAMES
from flink_jobs.domain.manifest import Manifest

ONNX_FILE = "model.onnx"
EXPLAINER_FILE = "explainer.onnx"


def differing_features(some: Sequence[str], others: Sequence[str]) -> str:
    """Name the features that only one list has, or say that the order differs; for messages."""
    return ", ".join(sorted(set(some) ^ set(others)) or ["their order"])


def check_features(manifest: Manifest) -> None:
    """Refuse a model that takes computed features other than this version's.

    Raises:
        ValueError: which features differ.

    """
    if manifest.kind == "history" and tuple(manifest.features) != FEATURE_NAMES:
        raise ValueError(
            f"model {manifest.version} was trained on other features than this version computes "
            f"(differs in {differing_features(manifest.features, FEATURE_NAMES)}): "
            "train it again with this version"
        )


class ServedModel:
    """A verified model.

    Attributes:
        manifest: describes the model and its input.

    """

    def __init__(
        self,
        manifest: Manifest,
        session: onnxruntime.InferenceSession,
        explainer: onnxruntime.InferenceSession | None,
    ) -> None:
        self.manifest = manifest
        self._session = session
        self._explainer = explainer
        self._input = session.get_inputs()[0].name
        self._output = session.get_outputs()[1].name

    def score(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        """Fraud scores of a batch.

        Args:
            matrix: [transactions, features] in the manifest's order.

        Returns:
            [transactions] scores, 0 (honest) to 1 (fraud).

        """
        probabilities: NDArray[np.float32] = self._session.run([self._output], {self._input: matrix})[0]
        return probabilities[:, 1]

    def explain(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        """Tell what each feature contributes to the scores of a batch.

        Args:
            matrix: [transactions, features] as for `score`.

        Returns:
            [transactions, features] in units of the score; a row's sum is its score less the mean score of
            the training data. All zero from a model that was published without an explainer.

        """
        if self._explainer is None:
            return np.zeros_like(matrix)
        name = self._explainer.get_inputs()[0].name
        contributions: NDArray[np.float32] = self._explainer.run(None, {name: matrix})[0]
        return contributions

    @classmethod
    def from_onnx(cls, manifest: Manifest, content: bytes, explainer: bytes | None = None) -> Self:
        """Verify a model against its manifest and make it ready.

        Args:
            manifest: what the model is.
            content: of `model.onnx`.
            explainer: of `explainer.onnx`; a model without one scores, and explains nothing.

        Raises:
            ValueError: checksum or features are not what this version can serve.

        """
        manifest.verify(ONNX_FILE, content)
        check_features(manifest)
        if explainer is not None:
            manifest.verify(EXPLAINER_FILE, explainer)
        return cls(
            manifest,
            _session(manifest, content),
            None if explainer is None else _session(manifest, explainer),
        )


def _session(manifest: Manifest, content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # one core for each TaskManager: more threads would only wait for one another
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    width = session.get_inputs()[0].shape[1]
    if width != len(manifest.features):
        raise ValueError(
            f"model {manifest.version} takes {width} values, its manifest names {len(manifest.features)} "
            "features: publish it again"
        )
    return session
