"""One release more: made of the newest, and made again where somebody else was first with its number."""

import getpass
import socket
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgspec

from flink_jobs.store.object_store import create_object, s3_client
from flink_jobs.store.release import Release, ReleaseLog, StoredRelease, release_key
from flink_jobs.store.settings import Settings

# Rivals that are first with a number, one after another, before a writer gives up.
_ATTEMPTS = 20

Change = Callable[[Release | None], Release | None]


class PromotionError(Exception):
    """No such model, or one that must not be used; nothing was changed."""


class ReleaseWriter:
    """The releases in the store, the newest of which is in force."""

    def __init__(self, settings: Settings) -> None:
        self._client: Any = s3_client(settings.s3)
        self._models = settings.buckets.models
        self._log = ReleaseLog(settings)

    def released(self) -> Release | None:
        """Give what is released now; None where nothing is, or nothing that can be read."""
        return self._newest()[1]

    def log(self, most: int) -> Iterator[StoredRelease]:
        """Give the last releases, the latest first."""
        stored = self._newest()[0]
        if stored is not None:
            yield from islice(self._log.backwards(stored.number), most)

    def write(self, change: Change, why: str = "") -> Release | None:
        """Write one release more.

        Args:
            change: makes it of the newest, None where there is none; called again where somebody else was
                first. Number, writer and time are filled in. None: nothing is to be changed.
            why: for people.

        Raises:
            PromotionError: what `change` raises, or others were first again and again.
            ObjectStoreError: the store does not answer, or does not let it be written.

        """
        for _ in range(_ATTEMPTS):
            stored, base = self._newest()
            if stored is not None and stored.number == 0 and base is not None:
                # what pointers said becomes the first release, whatever follows
                self._create(msgspec.structs.replace(base, action="change-over"), 1, None, "")
                continue
            changed = change(base)
            if changed is None:
                return None
            number, digest = (1, None) if stored is None else (stored.number + 1, stored.sha256)
            written = self._create(changed, number, digest, why)
            if written is not None:
                return written
        raise PromotionError(f"others released something {_ATTEMPTS} times while this was to be; try again")

    def _create(self, release: Release, number: int, previous: str | None, why: str) -> Release | None:
        """Write a release; None where somebody else was first."""
        release = msgspec.structs.replace(
            release,
            number=number,
            writer=uuid.uuid4().hex,
            who=_who(),
            when=now(),
            why=why,
            previous_sha256=previous,
        )
        if create_object(self._client, self._models, release_key(number), release.to_json()):
            return release
        found = self._log.read(number)
        # a request that got no answer was sent again and met what it had written
        ours = found is not None and found.release is not None and found.release.writer == release.writer
        return release if ours else None

    def _newest(self) -> tuple[StoredRelease | None, Release | None]:
        """Give the newest release, and what can be read of it or, where that is nothing, of those before."""
        try:
            stored = self._log.newest()
        except ValueError:
            # the first release replaces it
            return None, None
        if stored is None:
            return None, None
        return stored, stored.release or self._log.last_readable(stored.number)


def now() -> str:
    """Give the time as releases have it: RFC 3339, UTC."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"  # a user without a name
    return f"{user}@{socket.gethostname()}"
