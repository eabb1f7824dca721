"""Which of the published models is in use: promoted, rolled back, tried as a challenger.

Every change verifies first what it points at, as the job will, and moves the pointer last, so that a
job sees either the old model or the new one, whole.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from flink_jobs.domain.manifest import Manifest
from flink_jobs.domain.model_registry import (
    CHALLENGER_KEY,
    CURRENT_KEY,
    MANIFEST_FILE,
    RISK_CURRENT_KEY,
    CurrentModel,
    CurrentRisk,
    ModelRegistry,
    check_challenger,
    decode_pointer,
    model_key,
    risk_key,
)
from flink_jobs.domain.object_store import (
    delete_object,
    list_keys,
    read_object,
    s3_client,
    write_object,
)
from flink_jobs.domain.settings import Settings

HISTORY_KEY = "promotions.json"


class PromotionError(Exception):
    """No such model, or one that must not be used; nothing was changed."""


class Promotion(msgspec.Struct, frozen=True):
    """An entry of `models/promotions.json`, the latest of which is the last.

    Attributes:
        version: what was promoted.
        at: RFC 3339, UTC.
        rollback: whether it took the place of what had been promoted after it.

    """

    version: str
    at: str
    rollback: bool = False


class _Verified(NamedTuple):
    """A model that may be used, and the pointers that would put it to use."""

    manifest: Manifest
    model: CurrentModel
    risk: CurrentRisk | None


class Promotions:
    """The models in the store, and the pointers to those in use."""

    def __init__(self, settings: Settings) -> None:
        self._client: Any = s3_client(settings.s3)
        self._models = settings.buckets.models
        self._features = settings.buckets.features
        self._registry = ModelRegistry(settings)

    def versions(self) -> list[str]:
        """List the models in the store, the oldest first."""
        return [folder.rstrip("/") for folder in list_keys(self._client, self._models, folders=True)]

    def find(self, name: str) -> str:
        """Give the version that a name means: a version, or how a single one begins or ends.

        Raises:
            PromotionError: none, or several.

        """
        versions = self.versions()
        if name in versions:
            return name
        found = [version for version in versions if version.startswith(name) or version.endswith(name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise PromotionError(f"{name} may be any of {', '.join(found)}")
        raise PromotionError(
            f"no model {name} in s3://{self._models}; `fraud-models list` shows what there is, "
            "`fraud-models upload` brings one in"
        )

    def manifest(self, version: str) -> Manifest:
        """Describe a model.

        Raises:
            PromotionError: it has no description that can be read.
            ObjectStoreError: the store does not answer.

        """
        return self._manifest(version)[0]

    def current(self) -> str | None:
        """Tell the promoted version; None where there is none."""
        return self._pointed(CURRENT_KEY)

    def challenger(self) -> str | None:
        """Tell the challenging version; None where there is none."""
        return self._pointed(CHALLENGER_KEY)

    def history(self) -> list[Promotion]:
        """Tell what was promoted, the latest last."""
        content = read_object(self._client, self._models, HISTORY_KEY, missing_ok=True)
        if content is None:
            return []
        try:
            return decode_pointer(HISTORY_KEY, content, list[Promotion])
        except ValueError as error:
            raise PromotionError(
                f"s3://{self._models}/{error}; its earlier versions are kept by the bucket"
            ) from None

    def previous(self) -> str | None:
        """Tell what `rollback` would promote; None where nothing was promoted before."""
        return before(self.current(), self.history())

    def verify(self, version: str) -> Manifest:
        """Verify a model as the job will, and every other file of it too.

        Raises:
            PromotionError: what is wrong with it.
            ObjectStoreError: the store does not answer.

        """
        return self._verified(version).manifest

    def promote(self, version: str, *, rollback: bool = False) -> Manifest:
        """Make a model the one that jobs serve, with the terminal risk that was published with it.

        Raises:
            PromotionError: as for `verify`.
            ObjectStoreError: the store does not answer, or does not let it be written.

        """
        manifest, pointer, risk = self._verified(version)
        if self.challenger() == version:
            self.unchallenge()
        entry = Promotion(version, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", rollback)
        self._write(self._models, HISTORY_KEY, [*self.history(), entry])
        if risk is not None:
            self._write(self._features, RISK_CURRENT_KEY, risk)
        self._write(self._models, CURRENT_KEY, pointer)
        return manifest

    def rollback(self) -> Manifest:
        """Promote what was promoted before; once more goes back one more.

        Raises:
            PromotionError: nothing was; else as for `promote`.
            ObjectStoreError: as for `promote`.

        """
        version = self.previous()
        if version is None:
            raise PromotionError(
                "nothing was promoted before; `fraud-models list` shows what there is to promote"
            )
        return self.promote(version, rollback=True)

    def challenge(self, version: str) -> Manifest:
        """Let a model score beside the promoted one.

        Raises:
            PromotionError: as for `verify`, or it cannot be held against the promoted one.
            ObjectStoreError: as for `promote`.

        """
        current = self.current()
        if current is None:
            raise PromotionError("no model is promoted that could be challenged")
        manifest, pointer, _ = self._verified(version)
        try:
            check_challenger(manifest, self.manifest(current))
        except ValueError as error:
            raise PromotionError(str(error)) from None
        self._write(self._models, CHALLENGER_KEY, pointer)
        return manifest

    def unchallenge(self) -> str | None:
        """End the challenge; gives the version that challenged, None where none did."""
        version = self.challenger()
        delete_object(self._client, self._models, CHALLENGER_KEY)
        return version

    def _verified(self, version: str) -> _Verified:
        """Verify a model, and give what points at just what was verified; errors as for `verify`."""
        manifest, pointer = self._manifest(version)
        risk = None
        try:
            self._registry.load_model(pointer)
            for name in manifest.files:
                manifest.verify(name, self._read(model_key(version, name)))
            if manifest.kind == "history":
                risk = self._risk(version)
                self._registry.load_risk(manifest, risk)
        except ValueError as error:
            raise PromotionError(f"model {version} is refused: {error}") from None
        return _Verified(manifest, pointer, risk)

    def _pointed(self, key: str) -> str | None:
        content = read_object(self._client, self._models, key, missing_ok=True)
        try:
            return None if content is None else decode_pointer(key, content, CurrentModel).version
        except ValueError:
            # the next promotion replaces it
            return None

    def _manifest(self, version: str) -> tuple[Manifest, CurrentModel]:
        content = self._read(model_key(version, MANIFEST_FILE))
        try:
            manifest = Manifest.from_json(content)
        except ValueError as error:
            raise PromotionError(f"model {version} is refused: {error}") from None
        return manifest, CurrentModel(version, hashlib.sha256(content).hexdigest())

    def _risk(self, version: str) -> CurrentRisk:
        key = risk_key(version)
        content = read_object(self._client, self._features, key, missing_ok=True)
        if content is None:
            raise ValueError(f"its terminal risk s3://{self._features}/{key} is not there: publish it again")
        return CurrentRisk(version, key, hashlib.sha256(content).hexdigest())

    def _read(self, key: str) -> bytes:
        content = read_object(self._client, self._models, key, missing_ok=True)
        if content is None:
            raise PromotionError(f"s3://{self._models}/{key} is not there: publish the model again")
        return content

    def _write(self, bucket: str, key: str, pointer: Any) -> None:  # noqa: ANN401 - any of msgspec's
        write_object(self._client, bucket, key, msgspec.json.encode(pointer))


def before(current: str | None, history: Sequence[Promotion]) -> str | None:
    """Tell what was in use before the current version, as if what was rolled back had never been.

    Args:
        current: what the pointer says, which may have been moved by other means.
        history: the latest last.

    """
    stack: list[str] = []
    for promotion in history:
        if promotion.rollback and promotion.version in stack:
            while stack[-1] != promotion.version:
                stack.pop()
        elif stack[-1:] != [promotion.version]:
            stack.append(promotion.version)
    while current in stack:
        # what comes after it was recorded, but never got to be in use
        if stack.pop() == current:
            break
    return stack[-1] if stack else None
