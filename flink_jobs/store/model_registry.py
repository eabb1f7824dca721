"""Load releases from MinIO, and notice new ones."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from flink_jobs.domain.breaker import Breaker
from flink_jobs.domain.manifest import Manifest
from flink_jobs.domain.model import EXPLAINER_FILE, ONNX_FILE, ServedModel, differing_features
from flink_jobs.domain.scoring import Scorer
from flink_jobs.domain.terminal_risk import TerminalRisk
from flink_jobs.store.object_store import ObjectMissingError, ObjectStoreError, read_object, s3_client
from flink_jobs.store.release import ModelReference, Release, ReleaseLog, RiskReference, StoredRelease
from flink_jobs.store.settings import Settings

MANIFEST_FILE = "manifest.json"

# Releases that are read at most to find an earlier one; hourly renewals make as many in six weeks.
_LOOKED_BACK = 1_000
# A release's own faults: files that are not there, or not as published. A MinIO that does not answer is none.
_OF_ITS_OWN = (ObjectMissingError, ValueError)

_log = logging.getLogger(__name__)


class ModelUnavailableError(RuntimeError):
    """There is no model, or none that this version can serve."""


def model_key(version: str, name: str) -> str:
    """Where a file of a model lies in the bucket `models`."""
    return f"{version}/{name}"


def risk_key(version: str) -> str:
    """Where a snapshot of terminal risk lies in the bucket `features`."""
    return f"terminal_risk/{version}.parquet"


class ModelRegistry:
    """Loads the files that releases name, and verifies each before use.

    Attributes:
        log: of the releases.
        breaker: how releases are judged while they are served.

    """

    def __init__(self, settings: Settings) -> None:
        self._client: Any = s3_client(settings.s3)
        self._buckets = settings.buckets
        self.log = ReleaseLog(settings)
        self.breaker = settings.breaker

    def load_newest(self) -> Scorer:
        """Load the newest release that can be read; errors as for `in_force` and `load`."""
        return self.load(self.in_force()[1])

    def in_force(self) -> tuple[StoredRelease, Release]:
        """Give the newest release in the store, and the newest release that can be read.

        Raises:
            ObjectStoreError: MinIO does not answer.
            ValueError: nothing is released, or nothing that can be read.

        """
        stored = self.log.newest()
        if stored is None:
            raise ValueError(f"nothing is released in s3://{self._buckets.models}")
        release = self.readable(stored)
        if release is None:
            raise ValueError(stored.error)
        return stored, release

    def readable(self, stored: StoredRelease) -> Release | None:
        """Give a release; if it cannot be read, say so in the log and give the last before it that can."""
        if stored.release is not None:
            return stored.release
        _log.error("release %d refused, the last that can be read stays: %s", stored.number, stored.error)
        return self.log.last_readable(stored.number)

    def load(self, release: Release) -> Scorer:
        """Load model and terminal risk of a release, each file held to its checksum.

        Raises:
            ObjectStoreError: a file is not there, or MinIO does not answer.
            ValueError: a file is not as published, or not for this version.

        """
        return self._scorer(self.load_model(release.model), release)

    def load_or_earlier(self, newest: Release) -> tuple[Scorer, Release]:
        """Load a release or, where it cannot be loaded for a reason of its own, the last before it that can.

        Gives what is served as well: a former model is told the renewed table of the newest, if that can be
        loaded, as its own may be deleted.

        Raises:
            ObjectStoreError: MinIO does not answer.
            ValueError: neither this release nor one of the last 1,000 before it can be loaded.

        """
        try:
            return self.load(newest), newest
        except _OF_ITS_OWN as error:
            found = self._load_before(newest)
            if found is None:
                raise ValueError(
                    f"release {newest.number}: {error}; nor can one before it be loaded"
                ) from None
            _log.error(
                "release %d cannot be loaded: %s. Serving release %d with %s instead; "
                "`fraud-models log` says what changed, `fraud-models rollback` undoes a promotion",
                newest.number,
                error,
                found[1].number,
                found[0].version,
            )
            return found

    def _load_before(self, newest: Release) -> tuple[Scorer, Release] | None:
        """Load the last release before one that can be loaded; ObjectStoreError as for `load_or_earlier`."""
        # hundreds of releases may be of one model
        models: dict[ModelReference, ServedModel | None] = {}
        for release in self._in_order_of_trust(newest):
            if release.model not in models:
                models[release.model] = None
                with suppress(*_OF_ITS_OWN):
                    models[release.model] = self.load_model(release.model)
            model = models[release.model]
            if model is None:
                continue
            for each in (release.told_of_now(newest), release):
                with suppress(*_OF_ITS_OWN):
                    return self._scorer(model, each), each
        return None

    def _in_order_of_trust(self, newest: Release) -> Iterator[Release]:
        """Give the releases before one; those of models that were rolled back come last."""
        good = {newest.model.version, *(each.version for each in newest.former)}
        left = []
        for release in self.before(newest):
            if release.model.version in good:
                yield release
            else:
                left.append(release)
        yield from left

    def before(self, release: Release) -> Iterator[Release]:
        """Give those of the last 1,000 releases before one that can be read, the latest first."""
        for stored in islice(self.log.backwards(release.number - 1), _LOOKED_BACK):
            if stored.release is not None:
                yield stored.release

    def _scorer(self, model: ServedModel, release: Release) -> Scorer:
        """Load a release's terminal risk for its model; errors as for `load`."""
        risk = self.load_released_risk(release, model.manifest)
        return Scorer(model, risk, _risk_version(release, model.manifest))

    def load_released_risk(self, release: Release, manifest: Manifest) -> TerminalRisk:
        """Load a release's terminal risk for a model; errors as for `load`."""
        if manifest.kind == "columns":
            return TerminalRisk.empty()
        if release.risk is None:
            raise ValueError(f"model {manifest.version} needs terminal risk, which the release does not name")
        _check_delay(f"release {release.number}", release.label_delay_days, manifest)
        return self.load_risk(manifest, release.risk)

    def load_challenger(self, reference: ModelReference | None, champion: Manifest) -> ServedModel | None:
        """Load a challenger, if there is one; it must take the champion's features.

        Raises:
            ObjectStoreError: as for `load`.
            ValueError: as for `load`, or it takes other features than the champion.

        """
        if reference is None:
            return None
        challenger = self.load_model(reference)
        check_challenger(challenger.manifest, champion)
        return challenger

    def load_model(self, reference: ModelReference) -> ServedModel:
        """Load a model and see that it scores.

        Raises:
            ObjectStoreError: as for `load`.
            ValueError: as for `load`.

        """
        key = model_key(reference.version, MANIFEST_FILE)
        manifest = Manifest.from_json(self._verified(self._buckets.models, key, reference.manifest_sha256))
        if manifest.version != reference.version:
            raise ValueError(f"s3://{self._buckets.models}/{key} describes model {manifest.version}")
        onnx = self._model_file(manifest, ONNX_FILE)
        # a model without an explainer is served as well, but its alerts give no reasons
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
            raise ValueError(
                f"model {manifest.version} gives contributions of another shape than its input: "
                "publish it again"
            )
        return model

    def load_risk(self, manifest: Manifest, reference: RiskReference) -> TerminalRisk:
        """Load a snapshot of terminal risk for a model; errors as for `load`."""
        content = self._verified(self._buckets.features, reference.key, reference.sha256)
        try:
            risk = TerminalRisk.from_parquet(content)
        except pa.ArrowException as error:
            raise ValueError(
                f"s3://{self._buckets.features}/{reference.key} of model {manifest.version} cannot be read "
                f"({error}): publish it again"
            ) from None
        _check_delay(f"terminal risk {reference.key}", risk.label_delay_days, manifest)
        return risk

    def _model_file(self, manifest: Manifest, name: str) -> bytes:
        return read_object(self._client, self._buckets.models, model_key(manifest.version, name))

    def _verified(self, bucket: str, key: str, expected: str) -> bytes:
        content = read_object(self._client, bucket, key)
        actual = hashlib.sha256(content).hexdigest()
        if actual != expected:
            raise ValueError(f"s3://{bucket}/{key} has SHA-256 {actual}, the release says {expected}")
        return content


def check_challenger(challenger: Manifest, champion: Manifest) -> None:
    """Refuse a challenger that cannot be compared with the champion.

    Raises:
        ValueError: it is the champion itself, takes other features, or has another delay of labels.

    """
    if challenger.version == champion.version:
        raise ValueError(f"model {champion.version} is the promoted one itself")
    _check_delay(f"the promoted model {champion.version}", champion.label_delay_days, challenger)
    if (challenger.kind, challenger.features) != (champion.kind, champion.features):
        differing = differing_features(challenger.features, champion.features)
        raise ValueError(
            f"model {challenger.version} takes other features than the promoted {champion.version} "
            f"(differs in {differing}), so it cannot score the same transactions"
        )


def _risk_version(release: Release, manifest: Manifest) -> str | None:
    """Name the table that a model is told of; None where it takes ready columns."""
    return release.risk.version if release.risk and manifest.kind == "history" else None


def _check_delay(what: str, delay_days: int, manifest: Manifest) -> None:
    """Refuse a delay of labels other than the model was trained with."""
    if delay_days != manifest.label_delay_days:
        raise ValueError(
            f"{what} is for labels that come {delay_days} days late, model {manifest.version} for "
            f"{manifest.label_delay_days}: train it with --label-delay {delay_days}, or promote another"
        )


class ServedScorer:
    """The scorer in use: loaded at start, replaced between two batches when there is a new release.

    Attributes:
        current: scores the next batch.
        breaker: is to count what is scored. Another one begins with another model, and with another table of
            terminal risk once enough was counted: with few transactions, several tables are judged together.
        went_back: whether a release before the newest is served, as that alerted too much or too little.

    """

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry
        self._complaints: list[str] = []
        self.went_back = False
        # what was served before `breaker` began, and whether its rate was past the multiple as well
        self._before: Release | None = None
        self._was_past = False
        # what `breaker` found is said, and done
        self._said = self._done = False
        try:
            self._seen, newest = registry.in_force()
            self.current, self._release = registry.load_or_earlier(newest)
        except (ObjectStoreError, ValueError) as error:
            raise ModelUnavailableError(
                f"no model to serve: {error}. `fraud-train --promote` publishes one, `fraud-models promote` "
                "chooses among those there are; the job tries again by itself."
            ) from error
        self.breaker = self._new_breaker()
        # the newest release of a store that went back, as the last call found it
        self._back_at: StoredRelease | None = None
        # the challenger that is released, and that which was taken over or refused
        self._challenger: ModelReference | None = None
        self._challenged_by: ModelReference | None = None
        # a release that is still to be taken over; `refresh` tries again
        self._wanted: Release | None = newest
        self.refresh()

    def refresh(self) -> None:
        """Take over a new release, or say in the log why not.

        A faulty release is refused once; after an error of MinIO, or where a file is not there, the next call
        tries the release again.
        """
        complaints = []
        # a challenger that cannot be loaded keeps nothing else from being done
        for step in (self._take_newest_and_judge, self._take_challenger):
            try:
                step()
            except (ObjectStoreError, ValueError) as error:
                # log the same error once, not at every call
                if str(error) not in self._complaints:
                    _log.error("going on with %s: %s", self.current.version, error)
                complaints.append(str(error))
        self._complaints = complaints

    def _take_newest_and_judge(self) -> None:
        try:
            self._take_newest()
        finally:
            # what is in use is watched also while what is released cannot be loaded
            self._judge()

    def _take_newest(self) -> None:
        """Take over the newest release, if it is another; errors as for `in_force` and `load`."""
        stored = self._registry.log.after(self._seen.number) or self._after_going_back()
        if stored is not None:
            self._wanted = self._registry.readable(stored)
            self._seen = stored
        if self._wanted is not None:
            self._take(self._wanted)
            self._wanted = None

    def _after_going_back(self) -> StoredRelease | None:
        """Find the newest release if the last seen one is gone or changed; None if it is neither.

        A store that was restored from a backup has lower numbers, or other releases of the same numbers. The
        restore may still be going on, so two calls have to find the same newest release.

        Raises:
            ObjectStoreError: the store does not answer.
            ValueError: the store has no release any more, or a pointer that cannot be read.

        """
        seen = self._seen
        if seen.number == 0 or self._registry.log.read(seen.number) == seen:
            self._back_at = None
            return None
        before, self._back_at = self._back_at, self._registry.log.newest()
        if self._back_at is None:
            raise ValueError(f"release {seen.number} is in the store no more, nor is any other")
        if self._back_at != before:
            return None
        _log.error(
            "the store went back: release %d is not what it was, or is there no more; "
            "taking over release %d, the newest that it has",
            seen.number,
            self._back_at.number,
        )
        return self._back_at

    def _take(self, release: Release) -> None:
        """Take over the parts of a release that are not in use yet; ObjectStoreError as for `load`."""
        try:
            if release.model == self._release.model:
                self._take_risk(release)
            else:
                self._take_model(release)
            self.went_back = False
        except ValueError as error:
            _log.error(
                "release %d: promoted model refused; going on with %s: %s",
                release.number,
                self.current.version,
                error,
            )
        self._challenger = release.challenger

    def _take_model(self, release: Release) -> None:
        """Serve another model, with its table; errors as for `load`."""
        try:
            self.current = self._registry.load(release)
        except _OF_ITS_OWN:
            # renewals go on for the model that was promoted; whatever serves instead is told of them
            self._take_risk(self._release.told_of_now(release))
            raise
        # a challenger that did not fit the model before may fit this one
        self._challenged_by = None
        _log.warning("release %d: now serving %s", release.number, self.current.version)
        self._change_over(release)

    def _take_risk(self, release: Release) -> None:
        """Tell the model in use what a release says of terminals; errors as for `load`."""
        if release.risk == self._release.risk:
            self._release = release
            return
        risk = self._registry.load_released_risk(release, self.current.manifest)
        self.current = self.current.told(risk, _risk_version(release, self.current.manifest))
        _log.warning("release %d: terminal risk renewed to %s", release.number, risk)
        self._change_over(release)

    def _change_over(self, release: Release) -> None:
        """Begin to count anew, unless it is one more table after one of which too little was seen."""
        before, self._release = self._release, release
        back = self._release.number < before.number
        if back or self.went_back or self.breaker.is_settled or self._release.model != before.model:
            self._before, self._was_past = before, self.breaker.is_past
            self.breaker, self._said, self._done = self._new_breaker(before), False, False

    def _new_breaker(self, before: Release | None = None) -> Breaker:
        breaker = Breaker(self.current.manifest.expected_alerts, self._registry.breaker.multiple)
        if breaker.expected is None and (before is None or before.model != self._release.model):
            _log.warning(
                "the manifest of %s does not say how many alerts to expect: their rate is not watched",
                self.current.version,
            )
        return breaker

    def _judge(self) -> None:
        """Say so once where the rate of alerts is past the multiple, and go back where that is set.

        Raises:
            ObjectStoreError: as for `load`; the next call tries again.

        """
        breaker, release = self.breaker, self._release
        if self._done or not breaker.is_past or breaker.expected is None:
            return
        if not self._said:
            _log.error(
                "release %d: %d alerts of %d transactions, %.2g times the %.3f %% that the manifest of %s "
                "expects; `fraud-models log` says what changed, `fraud-models rollback` undoes a promotion",
                release.number,
                breaker.alerts,
                breaker.transactions,
                breaker.to_expected,
                100 * breaker.expected.share,
                self.current.version,
            )
            self._said = True
        former = self._to_go_back_to()
        if former is not None:
            self._take(former)
            if self._release is former:
                self.went_back = True
                if self._wanted is not None and self._wanted.model == release.model:
                    # only its table was still missing
                    self._wanted = None
                _log.error("serving release %d again until a newer one comes", former.number)
                return
        self._done = True

    def _to_go_back_to(self) -> Release | None:
        """Find the release to serve again; None where none is to be, or the one before alerted as much."""
        # who went back goes no further: what was served then was past the multiple
        if not self._registry.breaker.go_back or self._was_past:
            return None
        if self._before is None:
            # kept, as the next call may have to try it again
            self._before = self._last_other()
        return None if self._before is None else self._before.told_of_now(self._release)

    def _last_other(self) -> Release | None:
        """Find the last release of the model before or, where there is none, of another table.

        For a process that has served no other, and cannot know which of the two is to blame. The table before
        would not help against a bad model, and nobody goes back twice; another model is left for the next
        release in any case. The model before is that which a rollback would promote: one that was rolled back
        is none.
        """
        served, other_table = self._release, None
        model_before = served.former[-1].version if served.former else None
        for release in self._registry.before(served):
            if release.model.version == model_before:
                return release
            if release.model == served.model and release.risk != served.risk:
                other_table = other_table or release
        return other_table

    def _take_challenger(self) -> None:
        """Let the released challenger score too, if it does not yet; ObjectStoreError as for `load`."""
        wanted, scorer = self._challenger, self.current
        if wanted == self._challenged_by:
            return
        try:
            challenger = self._registry.load_challenger(wanted, scorer.manifest)
        except ObjectMissingError as error:
            if scorer.challenger is not None:
                # one that is released no more
                self.current, self._challenged_by = scorer.challenged_by(None), None
            raise ObjectMissingError(
                f"its challenger does not score: {error}. It will once the file is back, see docs/models.md; "
                "`fraud-models unchallenge` ends its challenge"
            ) from None
        except ValueError as error:
            self.current, self._challenged_by = scorer.challenged_by(None), wanted
            _log.error("challenger refused; %s goes on alone: %s", scorer.version, error)
            return
        self._challenged_by = wanted
        self.current = scorer.challenged_by(challenger)
        if challenger is not None:
            _log.warning("%s challenges %s", challenger.manifest.version, scorer.version)
        else:
            _log.warning("%s goes on without a challenger", scorer.version)
