"""What is served: numbered objects in MinIO, each written once, the newest of which is in force.

A release names model, terminal risk and challenger together, so that nobody ever sees one half of a change;
`releases/00000042.json` is created only where there is none, so that of two writers one is first and the
other reads again. All of them are the log of what was served.
"""

import hashlib
from collections.abc import Iterator
from datetime import date
from typing import Any, Literal, NamedTuple

import msgspec

from flink_jobs.domain.features import LABEL_DELAY_DAYS
from flink_jobs.domain.json_errors import NOT_THE_JSON
from flink_jobs.store.object_store import list_keys, read_object, s3_client
from flink_jobs.store.pointers import read_pointers
from flink_jobs.store.settings import Settings

RELEASES_FOLDER = "releases/"

Action = Literal["change-over", "promote", "rollback", "challenge", "unchallenge", "renew"]


class ModelReference(msgspec.Struct, frozen=True):
    """A model in the bucket `models`, and the digest of its description, which names those of its files."""

    version: str
    manifest_sha256: str


class RiskReference(msgspec.Struct, frozen=True, omit_defaults=True):
    """A table of terminal risk in the bucket `features`.

    Attributes:
        version: the model's that it was published with, or a renewal's.
        first_day: that the table has; None in what was there before releases, as is `last_day`.
        renewed: whether it was made of the lake, rather than published with a model.

    """

    version: str
    key: str
    sha256: str
    first_day: date | None = None
    last_day: date | None = None
    renewed: bool = False

    @property
    def span(self) -> str:
        """Say which days it has."""
        return f"{self.first_day} to {self.last_day}" if self.first_day else "of days that it does not say"


class Promoted(msgspec.Struct, frozen=True):
    """A model that was in use before, and since when (RFC 3339, UTC)."""

    version: str
    at: str


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """`models/releases/NUMBER.json`.

    Attributes:
        number: from 1, without gaps; 0 is what the pointers said that were there before releases.
        writer: of its own for each attempt to write, which tells whose release a number became.
        action: what was asked for.
        model: what scores and raises alerts.
        risk: what the model is told of terminals; None where it takes ready columns.
        challenger: a model that scores beside it.
        label_delay_days: how late labels come, for model and risk alike.
        promoted_at: since when the model is in use (RFC 3339, UTC).
        former: models that were in use before, the latest last: what a rollback goes back to.
        who: user and host.
        when: RFC 3339, UTC.
        why: in the writer's words.
        previous_sha256: of the release before.

    """

    number: int
    writer: str
    action: Action
    model: ModelReference
    risk: RiskReference | None = None
    challenger: ModelReference | None = None
    label_delay_days: int = LABEL_DELAY_DAYS
    promoted_at: str = ""
    former: list[Promoted] = []
    who: str = ""
    when: str = ""
    why: str = ""
    previous_sha256: str | None = None

    def to_json(self) -> bytes:
        """Indented, as a person may read it."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    def told_of_now(self, newer: "Release") -> "Release":
        """Give it with the renewed table of a newer release, where that is of another model.

        Renewals delete the table of its own after a while. It keeps that where the newer one's was published
        with the other model, or is of another delay of labels.
        """
        if self.risk is None or newer.risk is None or not newer.risk.renewed:
            return self
        if self.model == newer.model or self.label_delay_days != newer.label_delay_days:
            return self
        return msgspec.structs.replace(self, risk=newer.risk)


class StoredRelease(NamedTuple):
    """A release as it lies in the bucket.

    Attributes:
        number: as its key says.
        sha256: of the object.
        release: None where the object is none that can be read; `error` says why.

    """

    number: int
    sha256: str
    release: Release | None
    error: str = ""


def release_key(number: int) -> str:
    """Where a release lies in the bucket `models`; the order of keys is that of numbers."""
    return f"{RELEASES_FOLDER}{number:08d}.json"


class ReleaseLog:
    """The releases in the store, as they are read."""

    def __init__(self, settings: Settings) -> None:
        self._client: Any = s3_client(settings.s3)
        self._buckets = settings.buckets

    def newest(self) -> StoredRelease | None:
        """Find what is in force: the last release, else what pointers say, else None.

        Raises:
            ObjectStoreError: the store does not answer.
            ValueError: there is no release, and a pointer that cannot be read.

        """
        last = 0
        for key in list_keys(self._client, self._buckets.models, RELEASES_FOLDER):
            name = key.removeprefix(RELEASES_FOLDER).removesuffix(".json")
            # whatever else lies there is no release
            if name.isdecimal() and key == release_key(int(name)):
                last = int(name)
        if last:
            return self.after(last - 1)
        pointed = read_pointers(self._client, self._buckets)
        if pointed is None:
            return None
        return StoredRelease(0, "", msgspec.convert(pointed, Release))

    def after(self, number: int) -> StoredRelease | None:
        """Find the newest release after that of a number, one request for each; None where there is none."""
        newest = None
        while (found := self.read(number + 1)) is not None:
            newest, number = found, number + 1
        return newest

    def read(self, number: int) -> StoredRelease | None:
        """Read the release of a number; None where there is none, ObjectStoreError as for `newest`."""
        key = release_key(number)
        content = read_object(self._client, self._buckets.models, key, missing_ok=True)
        if content is None:
            return None
        digest = hashlib.sha256(content).hexdigest()
        try:
            release = msgspec.json.decode(content, type=Release)
        except NOT_THE_JSON as error:
            return StoredRelease(number, digest, None, f"{key}: {error}")
        if release.number != number:
            return StoredRelease(number, digest, None, f"{key} says that it is number {release.number}")
        return StoredRelease(number, digest, release)

    def last_readable(self, number: int) -> Release | None:
        """Read that of a number or, where it is none that can be read, the last before it that can."""
        return next((found.release for found in self.backwards(number) if found.release is not None), None)

    def backwards(self, number: int) -> Iterator[StoredRelease]:
        """Read that of a number and those before it, the latest first; ObjectStoreError as for `newest`."""
        while (found := self.read(number)) is not None:
            yield found
            number -= 1
