"""One compaction at a time: an object in the lake's bucket that is written under conditions only.

It also tells when the last compaction ran, and what came of it.
"""

import os
import socket
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from flink_jobs.domain.json_errors import NOT_THE_JSON
from flink_jobs.store.object_store import create_object, read_tagged, replace_object

LOCK_KEY = "_compaction.json"
# Between two renewals lies one merge at most. A run that was killed is passed over after this time.
EXPIRES_AFTER = timedelta(minutes=30)


class CompactionLockedError(Exception):
    """Another compaction runs, or took over from this one."""


class LastRun(msgspec.Struct, frozen=True, kw_only=True):
    """`_compaction.json`: the run that has the lock, or had it last.

    Attributes:
        run: tells it from others.
        host: where it runs.
        began_at: when it began.
        renewed_at: when it last said that it is alive.
        ended_at: None while it runs.
        outcome: what came of it.

    """

    run: str
    host: str
    began_at: datetime
    renewed_at: datetime
    ended_at: datetime | None = None
    outcome: list[str] = []


class CompactionLock:
    """The lock, held from the beginning on.

    All methods raise CompactionLockedError where another run has it, ObjectStoreError where MinIO does not
    answer.
    """

    def __init__(
        self,
        client: Any,  # noqa: ANN401 - boto3 makes its classes at run time
        bucket: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Take the lock, also from a run that has not renewed it for long."""
        self._client = client
        self._bucket = bucket
        self._clock = clock
        now = clock()
        self._mine = LastRun(
            run=f"{os.getpid()}-{uuid.uuid4().hex}", host=socket.gethostname(), began_at=now, renewed_at=now
        )
        before = read_tagged(client, bucket, LOCK_KEY)
        if before is not None:
            last = _read(before[0])
            if last is not None and last.ended_at is None and now - last.renewed_at < EXPIRES_AFTER:
                raise CompactionLockedError(_refusal(last))
        self._write(self._mine, "" if before is None else before[1])

    def renew(self) -> None:
        """Say that this run is alive, and make sure that it still has the lock."""
        self._replace(msgspec.structs.replace(self._mine, renewed_at=self._clock()))

    def release(self, outcome: list[str]) -> None:
        """Let others run, and note what came of it."""
        self._replace(msgspec.structs.replace(self._mine, ended_at=self._clock(), outcome=outcome))

    def _replace(self, mine: LastRun) -> None:
        found = read_tagged(self._client, self._bucket, LOCK_KEY)
        last = None if found is None else _read(found[0])
        if found is None or last is None or last.run != self._mine.run:
            raise CompactionLockedError(_refusal(last))
        self._write(mine, found[1])

    def _write(self, mine: LastRun, tag: str) -> None:
        content = msgspec.json.encode(mine)
        if tag:
            written = replace_object(self._client, self._bucket, LOCK_KEY, content, tag)
        else:
            written = create_object(self._client, self._bucket, LOCK_KEY, content)
        if not written:
            found = read_tagged(self._client, self._bucket, LOCK_KEY)
            # a request that got no answer is repeated, and then finds what it has written itself
            if found is None or found[0] != content:
                raise CompactionLockedError(_refusal(None if found is None else _read(found[0])))


def _read(content: bytes) -> LastRun | None:
    """Read the lock; None where that is none."""
    try:
        return msgspec.json.decode(content, type=LastRun)
    except NOT_THE_JSON:
        return None


def _refusal(last: LastRun | None) -> str:
    by = (
        "another"
        if last is None
        else f"one that began on {last.host} at {last.began_at:%Y-%m-%d %H:%M:%S} UTC"
    )
    return (
        f"a compaction runs already: {by}. If it was killed, the next one goes on "
        f"{EXPIRES_AFTER.total_seconds() / 60:.0f} minutes after its last step"
    )
