"""A customer's recent transactions, as Flink's keyed state holds them and training replays them.

A history is a string of entries in the order of their event times. The first entry is no transaction: it
names the format and has the earliest time, so that every history has an entry.
"""

import math
import struct
import zlib
from collections.abc import Iterable

import numpy as np

DAY_S = 86400.0
WINDOW_DAYS = (1, 7, 30)
# A record this late still sees its whole 30 days; a later one sees what is left of them.
LATENESS_DAYS = 7
KEPT_S = (WINDOW_DAYS[-1] + LATENESS_DAYS) * DAY_S
# Expired entries are dropped so many at a time; between drops, the stored beginning of a history stays valid.
DROPPED_AT_ONCE = 16

# Event time in seconds since 1970, amount in the card's currency, CRC-32 of the transaction id.
ENTRY = np.dtype([("time_s", "<f8"), ("amount", "<f8"), ("identity", "<u4")])
ENTRY_BYTES = ENTRY.itemsize
_pack = struct.Struct("<ddI").pack
_time_at = struct.Struct("<d").unpack_from
_FORMAT = 2
NO_HISTORY = _pack(-math.inf, 0.0, _FORMAT)


def check_format(history: bytes) -> bytes:
    """Give the history back if it is one.

    Raises:
        ValueError: another version's format, or cut short.

    """
    if not history.startswith(NO_HISTORY) or len(history) % ENTRY_BYTES:
        raise ValueError(
            f"customer history of {len(history)} bytes begins with {history[:ENTRY_BYTES]!r}, not with "
            f"{NO_HISTORY!r}: restore a savepoint made by this version or start the job without state"
        )
    return history


def fold(history: bytes, time_s: float, amount: float, transaction_id: str) -> tuple[bytes, int]:
    """Put a transaction in its place by event time; one that is there already changes nothing.

    Expired entries, too old for the windows of any record that may still come, are dropped once there are
    DROPPED_AT_ONCE of them.

    Args:
        history: NO_HISTORY, or a result of this function.
        time_s: event time in seconds since 1970.
        amount: in the card's currency.
        transaction_id: with time and amount it tells a repeat.

    Returns:
        The history afterwards, and how many of its entries happened up to `time_s`.

    """
    entry = _pack(time_s, amount, zlib.crc32(transaction_id.encode()))
    if time_s <= _time_at(history, len(history) - ENTRY_BYTES)[0]:
        return _fold_late(history, entry, time_s)
    history = _without_expired(history, time_s) + entry
    return history, len(history) // ENTRY_BYTES


def _fold_late(history: bytes, entry: bytes, time_s: float) -> tuple[bytes, int]:
    """Fold a transaction that did not happen after the last entry."""
    times = np.frombuffer(history, ENTRY)["time_s"]
    first, place = (int(np.searchsorted(times, time_s, side)) * ENTRY_BYTES for side in ("left", "right"))
    if any(history[at : at + ENTRY_BYTES] == entry for at in range(first, place, ENTRY_BYTES)):
        return history, place // ENTRY_BYTES
    longer = history[:place] + entry + history[place:]
    kept = _without_expired(longer, float(times[-1]))
    happened = place + ENTRY_BYTES - (len(longer) - len(kept))
    return kept, max(happened // ENTRY_BYTES, 1)


def _without_expired(history: bytes, now_s: float) -> bytes:
    last_of_them = DROPPED_AT_ONCE * ENTRY_BYTES
    if len(history) <= last_of_them or _time_at(history, last_of_them)[0] > now_s - KEPT_S:
        return history
    times = np.frombuffer(history, ENTRY)["time_s"]
    expired = int(np.searchsorted(times, now_s - KEPT_S, "right"))
    return NO_HISTORY + history[expired * ENTRY_BYTES :]


def expired_customers(histories: Iterable[tuple[str, bytes]]) -> list[str]:
    """Name the customers that were not seen for as long as a history reaches.

    Args:
        histories: by customer id; the latest transaction among them tells the time, not the clock, so that
            a replay expires nothing early.

    """
    last_seen = {
        customer_id: _time_at(history, len(history) - ENTRY_BYTES)[0] for customer_id, history in histories
    }
    horizon = max(last_seen.values(), default=0.0) - KEPT_S
    return [customer_id for customer_id, time_s in last_seen.items() if time_s <= horizon]
