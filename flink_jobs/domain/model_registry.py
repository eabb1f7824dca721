"""The promoted model in MinIO: where it lies, how it is loaded, and how a new one is noticed."""

import hashlib
import logging
import threading
import weakref
from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np
import pyarrow as pa

from flink_jobs.domain.manifest import Manifest
from flink_jobs.domain.model import EXPLAINER_FILE, ONNX_FILE, ServedModel, differing_features
from flink_jobs.domain.object_store import ObjectStoreError, read_object, s3_client
from flink_jobs.domain.scoring import Scorer
from flink_jobs.domain.settings import Settings
from flink_jobs.domain.terminal_risk import TerminalRisk

CURRENT_KEY = "current.json"
CHALLENGER_KEY = "challenger.json"
MANIFEST_FILE = "manifest.json"
RISK_CURRENT_KEY = "terminal_risk/current.json"

Pointer = TypeVar("Pointer")

_log = logging.getLogger(__name__)


class CurrentModel(msgspec.Struct, frozen=True):
    """`models/current.json`: the promoted version; `models/challenger.json`: the one tried beside it."""

    version: str
    manifest_sha256: str


class CurrentRisk(msgspec.Struct, frozen=True):
    """`features/terminal_risk/current.json`: the served snapshot."""

    version: str
    key: str
    sha256: str


class Pointers(NamedTuple):
    """What is in use now, as it lies in the buckets: a change of any asks for a new load."""

    model: bytes
    risk: bytes | None
    challenger: bytes | None


class ModelUnavailableError(RuntimeError):
    """There is no model to serve, or none that this version can."""


def model_key(version: str, name: str) -> str:
    """Where a file of a model lies in the bucket `models`."""
    return f"{version}/{name}"


def risk_key(version: str) -> str:
    """Where a snapshot of terminal risk lies in the bucket `features`."""
    return f"terminal_risk/{version}.parquet"


def decode_pointer(name: str, content: bytes, pointer_type: type[Pointer]) -> Pointer:
    """Read a pointer; ValueError names it and the field."""
    try:
        return msgspec.json.decode(content, type=pointer_type)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{name}: {error}") from None


class ModelRegistry:
    """Reads what `training.publish` wrote, and believes none of it before it is verified."""

    def __init__(self, settings: Settings) -> None:
        self._client: Any = s3_client(settings.s3)
        self._buckets = settings.buckets

    def pointers(self) -> Pointers:
        """Tell what is promoted now: model, terminal risk, and the challenger if there is one."""
        models, features = self._buckets.models, self._buckets.features
        return Pointers(
            read_object(self._client, models, CURRENT_KEY),
            read_object(self._client, features, RISK_CURRENT_KEY, missing_ok=True),
            read_object(self._client, models, CHALLENGER_KEY, missing_ok=True),
        )

    def load(self, pointers: Pointers) -> Scorer:
        """Load the model and the terminal risk that the pointers name, each file held to its checksum.

        Raises:
            ObjectStoreError: a file is not there, or MinIO does not answer.
            ValueError: a file is not as published, or not for this version.

        """
        model = self.load_model(decode_pointer(CURRENT_KEY, pointers.model, CurrentModel))
        return Scorer(model, self._load_risk(model.manifest, pointers.risk))

    def load_challenger(self, pointers: Pointers, champion: Manifest) -> ServedModel | None:
        """Load the challenger, if there is one; it has to take what the champion takes.

        Raises:
            ObjectStoreError: as for `load`.
            ValueError: as for `load`, or it takes other features than the champion.

        """
        if pointers.challenger is None:
            return None
        challenger = self.load_model(decode_pointer(CHALLENGER_KEY, pointers.challenger, CurrentModel))
        check_challenger(challenger.manifest, champion)
        return challenger

    def load_model(self, pointer: CurrentModel) -> ServedModel:
        """Load a model and see that it scores.

        Raises:
            ObjectStoreError: as for `load`.
            ValueError: as for `load`.

        """
        key = model_key(pointer.version, MANIFEST_FILE)
        manifest = Manifest.from_json(self._verified(self._buckets.models, key, pointer.manifest_sha256))
        if manifest.version != pointer.version:
            raise ValueError(f"s3://{self._buckets.models}/{key} describes model {manifest.version}")
        onnx = self._model_file(manifest, ONNX_FILE)
        # models from before there were explainers are served, and their alerts give no reasons
        explainer = self._model_file(manifest, EXPLAINER_FILE) if EXPLAINER_FILE in manifest.files else None
        probe = np.zeros((2, len(manifest.features)), dtype=np.float32)
        try:
            model = ServedModel.from_onnx(manifest, onnx, explainer)
            scores, contributions = model.score(probe), model.explain(probe)
        except ValueError:
            raise
        except Exception as error:  # noqa: BLE001 - onnxruntime's own are of no common kind
            raise ValueError(f"model {manifest.version} cannot be run ({error}): publish it again") from None
        if scores.shape != (2,) or not ((scores >= 0) & (scores <= 1)).all():
            raise ValueError(f"model {manifest.version} gives {scores}, no scores: publish it again")
        if contributions.shape != probe.shape:
            raise ValueError(f"model {manifest.version} explains nothing like its scores: publish it again")
        return model

    def load_risk(self, manifest: Manifest, pointer: CurrentRisk) -> TerminalRisk:
        """Load a snapshot of terminal risk for a model; errors as for `load`."""
        content = self._verified(self._buckets.features, pointer.key, pointer.sha256)
        try:
            return TerminalRisk.from_parquet(content)
        except pa.ArrowException as error:
            raise ValueError(
                f"s3://{self._buckets.features}/{pointer.key} of model {manifest.version} cannot be read "
                f"({error}): publish it again"
            ) from None

    def _model_file(self, manifest: Manifest, name: str) -> bytes:
        return read_object(self._client, self._buckets.models, model_key(manifest.version, name))

    def _load_risk(self, manifest: Manifest, pointer: bytes | None) -> TerminalRisk:
        if manifest.kind == "columns":
            return TerminalRisk.empty()
        if pointer is None:
            missing = f"s3://{self._buckets.features}/{RISK_CURRENT_KEY}"
            raise ValueError(f"model {manifest.version} needs {missing}, which is not there")
        return self.load_risk(manifest, decode_pointer(RISK_CURRENT_KEY, pointer, CurrentRisk))

    def _verified(self, bucket: str, key: str, expected: str) -> bytes:
        content = read_object(self._client, bucket, key)
        actual = hashlib.sha256(content).hexdigest()
        if actual != expected:
            raise ValueError(f"s3://{bucket}/{key} has SHA-256 {actual}, its pointer says {expected}")
        return content


def check_challenger(challenger: Manifest, champion: Manifest) -> None:
    """Refuse a challenger that cannot be held against the champion.

    Raises:
        ValueError: it is the champion itself, or takes other features.

    """
    if challenger.version == champion.version:
        raise ValueError(f"model {champion.version} is the promoted one itself")
    if (challenger.kind, challenger.features) != (champion.kind, champion.features):
        differing = differing_features(challenger.features, champion.features)
        raise ValueError(
            f"model {challenger.version} takes other features than the promoted {champion.version} "
            f"(differs in {differing}), so it cannot score the same transactions"
        )


class ServedScorer:
    """The scorer in use: loaded at start, replaced between two batches when another is promoted.

    It looks for another for as long as somebody has it: in thread mode, PyFlink (2.3) does not close the
    function of a task that is stopped, cancelled or fails, but lets go of it.

    Attributes:
        current: the one to score the next batch with.

    """

    def __init__(self, registry: ModelRegistry, poll_s: float = 10.0) -> None:
        self._registry = registry
        self._complaint = ""
        try:
            pointers = registry.pointers()
            self.current = registry.load(pointers)
        except (ObjectStoreError, ValueError) as error:
            raise ModelUnavailableError(
                f"no model to serve: {error}. `fraud-train --promote` publishes one, `fraud-models promote` "
                "chooses among those there are; the job tries again by itself."
            ) from error
        self._pointers = pointers._replace(challenger=None)
        self.refresh(pointers)
        gone = threading.Event()
        weakref.finalize(self, gone.set)
        threading.Thread(
            target=_watch, args=(weakref.ref(self), gone, poll_s), name="model-watch", daemon=True
        ).start()

    def refresh(self, pointers: Pointers | None = None) -> None:
        """Take over what is promoted and what challenges now; what cannot be loaded is refused in the log.

        What is wrong by itself is refused once; what MinIO did not give is asked for again the next time.
        """
        try:
            pointers = pointers or self._registry.pointers()
            if pointers[:2] != self._pointers[:2]:
                taken = self._take_model(pointers)
                # a challenger of the model before may well be one of the next
                known = None if taken else self._pointers.challenger
                self._pointers = pointers._replace(challenger=known)
            if pointers.challenger != self._pointers.challenger:
                self._take_challenger(pointers)
                self._pointers = pointers
            self._complaint = ""
        except ObjectStoreError as error:
            # the same once, not at each look
            if str(error) != self._complaint:
                _log.error("going on with %s: %s", self.current.version, error)
            self._complaint = str(error)

    def _take_model(self, pointers: Pointers) -> bool:
        try:
            scorer = self._registry.load(pointers)
        except ValueError as error:
            _log.error("promoted model refused; going on with %s: %s", self.current.version, error)
            return False
        self.current = scorer
        _log.warning("now serving %s", scorer.version)
        return True

    def _take_challenger(self, pointers: Pointers) -> None:
        scorer = self.current
        try:
            challenger = self._registry.load_challenger(pointers, scorer.manifest)
        except ValueError as error:
            scorer.challenger = None
            _log.error("challenger refused; %s goes on alone: %s", scorer.version, error)
            return
        scorer.challenger = challenger
        if challenger is not None:
            _log.warning("%s challenges %s", challenger.manifest.version, scorer.version)
        else:
            _log.warning("%s goes on without a challenger", scorer.version)


def _watch(reference: weakref.ref[ServedScorer], gone: threading.Event, poll_s: float) -> None:
    """Refresh a scorer now and then, until nobody has it any more."""
    while not gone.wait(poll_s):
        served = reference()
        if served is None:
            return
        try:
            served.refresh()
        except Exception:  # noqa: BLE001 - whatever it is, the model in use goes on, and so does the watch
            _log.exception("cannot look for another model; going on with %s", served.current.version)
        # not for as long as it waits
        del served
