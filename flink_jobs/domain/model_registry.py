"""The promoted model in MinIO: where it lies, how it is loaded, and how a new one is noticed."""

import hashlib
import logging
import threading
from typing import Any, TypeVar

import msgspec

from flink_jobs.domain.manifest import Manifest
from flink_jobs.domain.model import EXPLAINER_FILE, ONNX_FILE, ServedModel
from flink_jobs.domain.object_store import ObjectStoreError, read_object, s3_client
from flink_jobs.domain.scoring import Scorer
from flink_jobs.domain.settings import Settings
from flink_jobs.domain.terminal_risk import TerminalRisk

CURRENT_KEY = "current.json"
RISK_CURRENT_KEY = "terminal_risk/current.json"

Pointer = TypeVar("Pointer")

_log = logging.getLogger(__name__)


class CurrentModel(msgspec.Struct, frozen=True):
    """`models/current.json`: the promoted version."""

    version: str
    manifest_sha256: str


class CurrentRisk(msgspec.Struct, frozen=True):
    """`features/terminal_risk/current.json`: the served snapshot."""

    version: str
    key: str
    sha256: str


class ModelUnavailableError(RuntimeError):
    """There is no model to serve, or none that this version can."""


def model_key(version: str, name: str) -> str:
    """Where a file of a model lies in the bucket `models`."""
    return f"{version}/{name}"


def risk_key(version: str) -> str:
    """Where a snapshot of terminal risk lies in the bucket `features`."""
    return f"terminal_risk/{version}.parquet"


class ModelRegistry:
    """Reads what `training.publish` wrote."""

    def __init__(self, settings: Settings) -> None:
        self._client: Any = s3_client(settings.s3)
        self._buckets = settings.buckets

    def pointers(self) -> tuple[bytes, bytes | None]:
        """Tell what is promoted now, model and terminal risk; a change of either asks for a new load."""
        return (
            read_object(self._client, self._buckets.models, CURRENT_KEY),
            read_object(self._client, self._buckets.features, RISK_CURRENT_KEY, missing_ok=True),
        )

    def load(self, pointers: tuple[bytes, bytes | None]) -> Scorer:
        """Load what the pointers name, each file held to its checksum.

        Raises:
            ObjectStoreError: a file is not there, or MinIO does not answer.
            ValueError: a file is not as published, or not for this version.

        """
        current = _decode(CURRENT_KEY, pointers[0], CurrentModel)
        content = self._verified(
            self._buckets.models, model_key(current.version, "manifest.json"), current.manifest_sha256
        )
        manifest = Manifest.from_json(content)
        model = ServedModel.from_onnx(
            manifest,
            self._model_file(manifest, ONNX_FILE),
            # models from before there were explainers are served, and their alerts give no reasons
            self._model_file(manifest, EXPLAINER_FILE) if EXPLAINER_FILE in manifest.files else None,
        )
        return Scorer(model, self._load_risk(manifest, pointers[1]))

    def _model_file(self, manifest: Manifest, name: str) -> bytes:
        return read_object(self._client, self._buckets.models, model_key(manifest.version, name))

    def _load_risk(self, manifest: Manifest, pointer: bytes | None) -> TerminalRisk:
        if manifest.kind == "columns":
            return TerminalRisk.empty()
        if pointer is None:
            missing = f"s3://{self._buckets.features}/{RISK_CURRENT_KEY}"
            raise ValueError(f"model {manifest.version} needs {missing}, which is not there")
        current = _decode(RISK_CURRENT_KEY, pointer, CurrentRisk)
        return TerminalRisk.from_parquet(self._verified(self._buckets.features, current.key, current.sha256))

    def _verified(self, bucket: str, key: str, expected: str) -> bytes:
        content = read_object(self._client, bucket, key)
        actual = hashlib.sha256(content).hexdigest()
        if actual != expected:
            raise ValueError(f"s3://{bucket}/{key} has SHA-256 {actual}, its pointer says {expected}")
        return content


def _decode(name: str, content: bytes, pointer_type: type[Pointer]) -> Pointer:
    try:
        return msgspec.json.decode(content, type=pointer_type)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{name}: {error}") from None


class ServedScorer:
    """The scorer in use: loaded at start, replaced between two batches when another is promoted.

    Attributes:
        current: the one to score the next batch with.

    """

    def __init__(self, registry: ModelRegistry, poll_s: float = 5.0) -> None:
        self._registry = registry
        self._poll_s = poll_s
        self._closed = threading.Event()
        try:
            self._pointers = registry.pointers()
            self.current = registry.load(self._pointers)
        except (ObjectStoreError, ValueError) as error:
            raise ModelUnavailableError(
                f"no model to serve: {error}. `fraud-train --promote` publishes one; "
                "the job tries again by itself."
            ) from error
        self._thread = threading.Thread(target=self._watch, name="model-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._closed.wait(self._poll_s):
            try:
                pointers = self._registry.pointers()
                if pointers != self._pointers:
                    self._pointers = pointers
                    self.current = self._registry.load(pointers)
                    _log.warning("now serving %s", self.current.version)
            except (ObjectStoreError, ValueError):
                _log.exception("promoted model refused; going on with %s", self.current.version)
