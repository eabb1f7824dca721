"""Which of the published models is in use: promoted, rolled back, tried as a challenger.

What a release points at is verified before it is written, as the job will.
"""

import hashlib
from datetime import date, timedelta
from typing import Any, NamedTuple

import msgspec

from flink_jobs.domain.manifest import Manifest
from flink_jobs.domain.model import ServedModel
from flink_jobs.domain.terminal_risk import RISK_FILE, TerminalRisk
from flink_jobs.store.model_registry import (
    MANIFEST_FILE,
    ModelRegistry,
    check_challenger,
    model_key,
    risk_key,
)
from flink_jobs.store.object_store import ObjectMissingError, is_there, list_keys, read_object, s3_client
from flink_jobs.store.release import (
    RELEASES_FOLDER,
    Action,
    ModelReference,
    Promoted,
    Release,
    RiskReference,
)
from flink_jobs.store.settings import Settings
from training.model_card import CARD_HTML, CARD_JSON
from training.release_writer import PromotionError, ReleaseWriter, now

_BRING_BACK = "bring it back with `mc undo` or `fraud-models upload`, see docs/models.md"
# As many steps back as anybody will go.
_FORMER = 20
_EPOCH = date(1970, 1, 1)


class _Verified(NamedTuple):
    """A model that may be used, a reference to it, and the terminal risk that was published with it."""

    manifest: Manifest
    model: ModelReference
    risk: RiskReference | None


class InUse(NamedTuple):
    """A model that was put to use, and in words which table of terminal risk it is served with, and why."""

    manifest: Manifest
    terminals: str


class Promotions:
    """The models in the store, and the releases that put them to use.

    Attributes:
        releases: what was released, and how one more is written.

    """

    def __init__(self, settings: Settings) -> None:
        self._client: Any = s3_client(settings.s3)
        self._models = settings.buckets.models
        self._features = settings.buckets.features
        self._registry = ModelRegistry(settings)
        self._lake = f"s3://{settings.buckets.datalake}/"
        self.releases = ReleaseWriter(settings)

    def versions(self) -> list[str]:
        """List the models in the store, the oldest first."""
        folders = list_keys(self._client, self._models, folders=True)
        return [folder.rstrip("/") for folder in folders if folder != RELEASES_FOLDER]

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

    def load(self, version: str) -> ServedModel:
        """Load a model as the job does.

        Raises:
            PromotionError: it cannot be served.
            ObjectStoreError: the store does not answer.

        """
        try:
            return self._registry.load_model(self._manifest(version)[1])
        except (ObjectMissingError, ValueError) as error:
            raise _refused(version, error) from None

    def missing(self, version: str, manifest: Manifest) -> list[str]:
        """List files of a model that are not there; ObjectStoreError as for `manifest`."""
        there = set(list_keys(self._client, self._models, f"{version}/"))
        missing = [name for name in manifest.files if model_key(version, name) not in there]
        if manifest.kind == "history" and not is_there(self._client, self._features, risk_key(version)):
            missing.append(RISK_FILE)
        return missing

    def card(self, version: str, manifest: Manifest) -> str:
        """Say where a model's card lies."""
        if CARD_HTML not in manifest.files:
            return "none; it was published without one"
        return f"s3://{self._models}/{model_key(version, CARD_HTML)}, and {CARD_JSON} beside it"

    def current(self) -> str | None:
        """Tell the promoted version; None where there is none."""
        release = self.releases.released()
        return None if release is None else release.model.version

    def previous(self) -> str | None:
        """Tell what `rollback` would promote; None where nothing was promoted before."""
        release = self.releases.released()
        return release.former[-1].version if release is not None and release.former else None

    def challenger(self) -> str | None:
        """Tell the challenging version; None where there is none."""
        release = self.releases.released()
        return release.challenger.version if release is not None and release.challenger else None

    def verify(self, version: str) -> Manifest:
        """Verify a model as the job will, and every other file of it too.

        Raises:
            PromotionError: what is wrong with it.
            ObjectStoreError: the store does not answer.

        """
        return self._verified(version).manifest

    def promote(self, version: str, why: str = "") -> InUse:
        """Make a model the one that jobs serve.

        What is known of terminals stays where the system renewed it of the data that the model learnt from,
        else it is what was published with the model.

        Raises:
            PromotionError: as for `verify`.
            ObjectStoreError: the store does not answer, or does not let it be written.

        """
        verified = self._verified(version)
        terminals = ""

        def change(base: Release | None) -> Release:
            nonlocal terminals
            former = [] if base is None else base.former
            if base is not None and base.model.version != version:
                former = [*former, Promoted(base.model.version, base.promoted_at)][-_FORMER:]
            release, terminals = self._with_model(base, verified, "promote", former)
            return release

        self.releases.write(change, why)
        return InUse(verified.manifest, terminals)

    def rollback(self, why: str = "") -> InUse:
        """Promote what was promoted before; once more goes back one more.

        Raises:
            PromotionError: nothing was; else as for `promote`.
            ObjectStoreError: as for `promote`.

        """
        in_use = []

        def change(base: Release | None) -> Release:
            if base is None or not base.former:
                raise PromotionError(
                    "nothing was promoted before; `fraud-models list` shows what there is to promote"
                )
            try:
                verified = self._verified(base.former[-1].version)
            except PromotionError as error:
                raise PromotionError(f"{error}. `fraud-models promote` serves another") from None
            release, terminals = self._with_model(base, verified, "rollback", base.former[:-1])
            in_use.append(InUse(verified.manifest, terminals))
            return release

        self.releases.write(change, why)
        return in_use[-1]

    def challenge(self, version: str, why: str = "") -> Manifest:
        """Let a model score beside the promoted one.

        Raises:
            PromotionError: as for `verify`, or it cannot be held against the promoted one.
            ObjectStoreError: as for `promote`.

        """

        def change(base: Release | None) -> Release:
            if base is None:
                raise PromotionError("no model is promoted that could be challenged")
            try:
                check_challenger(verified.manifest, self.manifest(base.model.version))
            except ValueError as error:
                raise PromotionError(str(error)) from None
            return msgspec.structs.replace(base, action="challenge", challenger=verified.model)

        verified = self._verified(version)
        self.releases.write(change, why)
        return verified.manifest

    def unchallenge(self, why: str = "") -> str | None:
        """End the challenge; gives the version that challenged, None where none did."""
        ended: list[str | None] = [None]

        def change(base: Release | None) -> Release | None:
            if base is None or base.challenger is None:
                return None
            ended.append(base.challenger.version)
            return msgspec.structs.replace(base, action="unchallenge", challenger=None)

        self.releases.write(change, why)
        return ended[-1]

    def _with_model(
        self, base: Release | None, verified: _Verified, action: Action, former: list[Promoted]
    ) -> tuple[Release, str]:
        challenger = None if base is None else base.challenger
        if challenger is not None and challenger.version == verified.model.version:
            challenger = None
        risk, terminals = self._risk_for(base, verified)
        release = Release(
            number=0,
            writer="",
            action=action,
            model=verified.model,
            risk=risk,
            label_delay_days=verified.manifest.label_delay_days,
            challenger=challenger,
            promoted_at=now(),
            former=former,
        )
        return release, terminals

    def _risk_for(self, base: Release | None, verified: _Verified) -> tuple[RiskReference | None, str]:
        """Keep what the system renewed of the model's own data, unless the model was published with later."""
        published, served = verified.risk, None if base is None else base.risk
        if published is None:
            return None, "it asks for no terminal risk"
        own = f"terminal risk is that published with the model, {published.span}"
        if base is None or served is None or not served.renewed:
            return published, own
        refused = self._why_not(base, served, published, verified.manifest)
        if refused:
            return published, f"{own}: what was renewed, {served.span}, {refused}"
        return served, f"terminal risk stays what was renewed, {served.span}: it is of the data of the model"

    def _why_not(
        self, base: Release, served: RiskReference, published: RiskReference, manifest: Manifest
    ) -> str:
        """Say why a model is not served with what was renewed; nothing where it is."""
        if base.label_delay_days != manifest.label_delay_days:
            return f"is of labels that come {base.label_delay_days} days late"
        if not self._of_its_data(base, manifest):
            source = manifest.data.get("source")
            return f"is of other data than the model, which learnt from {source}"
        if served.last_day is None or published.first_day is None:
            return "does not say its days"
        if published.first_day > served.last_day + timedelta(days=1):
            return "ended before"
        return ""

    def _of_its_data(self, base: Release, manifest: Manifest) -> bool:
        """Tell whether a model learnt from what a renewal tells of: the lake, or its model's data."""
        source = str(manifest.data.get("source"))
        if source.startswith(self._lake):
            return True
        try:
            return source == str(self.manifest(base.model.version).data.get("source"))
        except PromotionError:
            return False

    def _verified(self, version: str) -> _Verified:
        """Verify a model, and give a reference to just what was verified; errors as for `verify`."""
        manifest, model = self._manifest(version)
        risk = None
        try:
            self._registry.load_model(model)
            for name in manifest.files:
                manifest.verify(name, self._read(model_key(version, name)))
            if manifest.kind == "history":
                risk = self._risk(manifest)
        except (ObjectMissingError, ValueError) as error:
            raise _refused(version, error) from None
        return _Verified(manifest, model, risk)

    def _manifest(self, version: str) -> tuple[Manifest, ModelReference]:
        content = self._read(model_key(version, MANIFEST_FILE))
        try:
            manifest = Manifest.from_json(content)
        except ValueError as error:
            raise _refused(version, error) from None
        return manifest, ModelReference(version, hashlib.sha256(content).hexdigest())

    def _risk(self, manifest: Manifest) -> RiskReference:
        key = risk_key(manifest.version)
        content = read_object(self._client, self._features, key, missing_ok=True)
        if content is None:
            raise ValueError(f"its terminal risk s3://{self._features}/{key} is not there: {_BRING_BACK}")
        named = RiskReference(manifest.version, key, hashlib.sha256(content).hexdigest())
        return with_days(named, self._registry.load_risk(manifest, named))

    def _read(self, key: str) -> bytes:
        content = read_object(self._client, self._models, key, missing_ok=True)
        if content is None:
            raise PromotionError(f"s3://{self._models}/{key} is not there: {_BRING_BACK}")
        return content


def _refused(version: str, error: Exception) -> PromotionError:
    """Say that a model must not be used; where a file is not there, what to do."""
    way_out = f"; {_BRING_BACK}" if isinstance(error, ObjectMissingError) else ""
    return PromotionError(f"model {version} is refused: {error}{way_out}")


def with_days(reference: RiskReference, risk: TerminalRisk) -> RiskReference:
    """Say which days a table of terminal risk has."""
    if not len(risk.days):
        return reference
    first, last = (_EPOCH + timedelta(days=int(day)) for day in risk.days[[0, -1]])
    return msgspec.structs.replace(reference, first_day=first, last_day=last)
