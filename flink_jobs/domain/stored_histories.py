"""Histories in Flink's state: most of a history is seldom written; Python has copies of the latest ones."""

from collections import defaultdict, deque
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from statistics import median
from typing import Protocol

from flink_jobs.domain.buckets import bucket_of
from flink_jobs.domain.history import ENTRY_BYTES, KEPT_S, check_format, last_seen_s
from flink_jobs.domain.transaction import InvalidTransaction

# After so many added entries, a history is written as a whole again. More than `history.fold` drops at once:
# after a drop, the stored beginning is no longer valid, and the history is written as a whole anyway.
MOST_ADDED = 24
# What a copy takes beside the history and the customer's id: objects of Python, and its place in a dict.
COPY_BYTES = 256
# A character beyond ASCII makes each of its id take four bytes, and up to four more once Java has read it.
_WIDE_BYTES = 8
# House-keeping looks at so many customers a second, and at two for each new one, so that what has expired
# stays less than the customers that are kept; and at no more than these after one batch.
LOOKED_AT_A_SECOND = 32
LOOKED_AT_ONCE = 32
_LOOKED_AT_FOR_A_NEW_ONE = 2
# The median time of so many batches tells the time for expiry, as neither the clock nor one record can: a
# replay of last year expires nothing early, nor does one record of today among it.
TOLD_BY = 1000


class BucketStore(Protocol):
    """Bytes by customer id, in buckets; a customer is always in `bucket_of` its id."""

    def get(self, bucket: int, customer_id: str, /) -> bytes | None:
        """Give the customer's bytes, None where there are none."""

    def put_all(self, bucket: int, entries: Mapping[str, bytes], /) -> None:
        """Keep the bytes of customers of one bucket."""

    def remove(self, bucket: int, customer_id: str, /) -> None:
        """Remove the customer's bytes, if there are any."""

    def items(self, bucket: int, /) -> Iterator[tuple[str, bytes]]:
        """Give every customer's id and bytes; the bucket may change meanwhile, and bytes may be of before."""


class StoredHistories:
    """Histories in two stores: one has each history as it was last written whole, one the entries since.

    So a transaction writes a few entries, not a whole month of them; whole months were most of what the
    state backend wrote, merged and sent to checkpoints. This object keeps copies of the latest histories:
    reading one from the state costs more than a fold.
    """

    def __init__(
        self, histories: BucketStore, added: BucketStore, buckets: Collection[int], most_bytes: int
    ) -> None:
        """Begin without copies.

        Args:
            histories: one of the stores.
            added: the other.
            buckets: those of this subtask.
            most_bytes: that all copies take together.

        """
        self._histories = histories
        self._added = added
        self._buckets = buckets
        self._most_bytes = most_bytes
        self._bytes = 0
        # by customer id: the history, how many of its bytes lie in `_histories`, and the bucket
        self._recent: dict[str, tuple[bytes, int, int]] = {}
        self._seen_s: deque[float] = deque(maxlen=TOLD_BY)
        self._expiry = self._look_at_all()
        self._to_look_at = 0.0
        self._kept_house_s = 0.0

    def get(self, customer_id: str, /) -> bytes | None:
        """Give the customer's history, None for a new one.

        Raises:
            InvalidTransaction: the customer's bucket is another subtask's.
            ValueError: another version stored the history.

        """
        found = self._recent.get(customer_id)
        if found is not None:
            return found[0]
        bucket = bucket_of(customer_id)
        if bucket not in self._buckets:
            raise InvalidTransaction(
                "misread_customer_id",
                "customer_id was not read where the record was routed, because of another field: a number of "
                "over 1,000 digits or with a huge exponent, or a name of over 50,000 characters",
            )
        whole = self._histories.get(bucket, customer_id)
        if whole is None:
            self._to_look_at += _LOOKED_AT_FOR_A_NEW_ONE
            return None
        history = check_format(whole + (self._added.get(bucket, customer_id) or b""))
        self._copy(customer_id, history, len(whole), bucket)
        return history

    def put_all(self, histories: Mapping[str, bytes], /) -> None:
        """Store histories: as a whole if more changed than a few entries at the end, else these entries."""
        whole = defaultdict[int, dict[str, bytes]](dict)
        added = defaultdict[int, dict[str, bytes]](dict)
        for customer_id, history in histories.items():
            before, written, bucket = self._drop(customer_id) or (b"", 0, bucket_of(customer_id))
            longer = history.startswith(before)
            if (
                written
                and len(history) - written <= MOST_ADDED * ENTRY_BYTES
                and (longer or history.startswith(before[:written]))
            ):
                if not longer or len(history) > len(before):
                    added[bucket][customer_id] = history[written:]
            else:
                whole[bucket][customer_id] = history
                if not written:
                    # there may be added entries: without a copy, this is unknown
                    self._added.remove(bucket, customer_id)
                elif written < len(before):
                    added[bucket][customer_id] = b""
                written = len(history)
            self._copy(customer_id, history, written, bucket)
        if histories:
            self._seen_s.append(last_seen_s(history))
        # one call for all of a bucket: a call into Java costs more than the writing
        for bucket in whole.keys() | added.keys():
            if bucket in whole:
                self._histories.put_all(bucket, whole[bucket])
            if bucket in added:
                self._added.put_all(bucket, added[bucket])

    def house_keep(self, now_s: float) -> int:
        """Look at a few customers if it is time, and forget those not seen for as long as a history reaches.

        Args:
            now_s: the clock, in seconds since 1970; it sets the pace only.

        Returns:
            How many customers were looked at.

        """
        # after a pause, or when the clock was set, no more than a second counts
        self._to_look_at += LOOKED_AT_A_SECOND * min(max(now_s - self._kept_house_s, 0.0), 1.0)
        self._kept_house_s = now_s
        if len(self._seen_s) < TOLD_BY:
            self._to_look_at = 0.0
        if self._to_look_at < LOOKED_AT_ONCE:
            return 0
        self._to_look_at -= LOOKED_AT_ONCE
        horizon_s = median(self._seen_s) - KEPT_S
        looked_at = 0
        for found in islice(self._expiry, LOOKED_AT_ONCE):
            looked_at += 1
            if found is not None:
                self._forget_if_expired(*found, horizon_s)
        if looked_at < LOOKED_AT_ONCE:
            self._expiry = self._look_at_all()
        return looked_at

    def _look_at_all(self) -> Iterator[tuple[int, str, bytes] | None]:
        """Give every customer's bucket, id and written history; None for each bucket, as it costs too."""
        for bucket in self._buckets:
            yield None
            for customer_id, whole in self._histories.items(bucket):
                yield bucket, customer_id, whole

    def _forget_if_expired(self, bucket: int, customer_id: str, loaded: bytes, horizon_s: float) -> None:
        copied = self._recent.get(customer_id)
        if last_seen_s(copied[0] if copied else loaded) > horizon_s:
            return
        if not copied:
            added = self._added.get(bucket, customer_id) or b""
            if last_seen_s(loaded + added) > horizon_s:
                return
            # it may have been written since it was loaded, or forgotten; only who seems to go is read anew
            whole = self._histories.get(bucket, customer_id)
            if whole is None or last_seen_s(whole + added) > horizon_s:
                return
        self._drop(customer_id)
        self._histories.remove(bucket, customer_id)
        self._added.remove(bucket, customer_id)

    def _copy(self, customer_id: str, history: bytes, written: int, bucket: int) -> None:
        self._recent[customer_id] = history, written, bucket
        self._bytes += _copy_bytes(customer_id, history)
        while self._bytes > self._most_bytes:
            self._drop(next(iter(self._recent)))

    def _drop(self, customer_id: str) -> tuple[bytes, int, int] | None:
        copied = self._recent.pop(customer_id, None)
        if copied is not None:
            self._bytes -= _copy_bytes(customer_id, copied[0])
        return copied


def _copy_bytes(customer_id: str, history: bytes) -> int:
    id_bytes = len(customer_id) * (1 if customer_id.isascii() else _WIDE_BYTES)
    return len(history) + id_bytes + COPY_BYTES
