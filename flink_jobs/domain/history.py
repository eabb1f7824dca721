"""A customer's recent transactions, as Flink's keyed state holds them and training replays them.

A history is a string of bytes. Its first entry is no transaction: it names the format. Then a plain history
has an entry for each transaction, in the order of event times. A history of many transactions is summed: it
has an entry for each hour before a boundary, an entry whose time is that boundary, and the transactions from
the boundary on. The boundary lies on a full hour, only moves forward, and as little as leaves MOST_ENTRIES
transactions after it: so a history depends on what was folded, not on the order in which it came.

What a summed history no longer knows: a repeat in a summed hour is counted again, and a window that begins
or ends within a summed hour takes that hour as if all of it had happened at its beginning.
"""

import math
import struct
import zlib
from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

DAY_S = 86400.0
HOUR_S = 3600.0
WINDOW_DAYS = (1, 7, 30)
# A record this late still sees its whole 30 days; a later one sees what is left of them.
LATENESS_DAYS = 7
KEPT_S = (WINDOW_DAYS[-1] + LATENESS_DAYS) * DAY_S
# Expired entries are dropped so many at a time; between drops, the stored beginning of a history stays valid.
DROPPED_AT_ONCE = 16
# A history with more transactions is summed. With the hours of KEPT_S that makes 42 KB at most.
MOST_ENTRIES = 1024

# Event time in seconds since 1970, amount in the card's currency, CRC-32 of the transaction id.
ENTRY = np.dtype([("time_s", "<f8"), ("amount", "<f8"), ("identity", "<u4")])
ENTRY_BYTES = ENTRY.itemsize
# Hours since 1970, transactions, their sum in units of 1 / UNITS, and the largest amount. Whole numbers, so
# that a sum does not depend on the order of what is added.
HOUR = np.dtype([("hour", "<u4"), ("count", "<u4"), ("total", "<u8"), ("largest", "<f8")])
HOUR_BYTES = HOUR.itemsize
UNITS = 10_000
_MOST_COUNT = 2**32 - 1
_MOST_TOTAL = 2**64 - 1

_pack = struct.Struct("<ddI").pack
_time_at = struct.Struct("<d").unpack_from
_hour = struct.Struct("<IIQd")
_PLAIN, _SUMMED = 2, 3
# Where the first entry has the format and, for a summed history, the number of hours.
_FORMAT_AT = 16
_hours_at = struct.Struct("<8xI").unpack_from
NO_HISTORY = _pack(-math.inf, 0.0, _PLAIN)
_summed_head = struct.Struct("<dIII")


def check_format(history: bytes) -> bytes:
    """Give the history back if it is one.

    Raises:
        ValueError: another version's format, or cut short.

    """
    plain = history.startswith(NO_HISTORY) and len(history) % ENTRY_BYTES == 0
    if not plain and not _is_whole_and_summed(history):
        raise ValueError(
            f"customer history of {len(history)} bytes begins with {history[:ENTRY_BYTES]!r}, not with "
            f"{NO_HISTORY!r} or the beginning of a summed one: restore a savepoint made by this version or "
            "start the job without state"
        )
    return history


def _is_whole_and_summed(history: bytes) -> bool:
    if len(history) < ENTRY_BYTES:
        return False
    time_s, hours, unused, number = _summed_head.unpack_from(history)
    entries_bytes = len(history) - ENTRY_BYTES - hours * HOUR_BYTES
    return (
        (time_s, unused, number) == (-math.inf, 0, _SUMMED)
        and entries_bytes >= ENTRY_BYTES
        and entries_bytes % ENTRY_BYTES == 0
    )


def is_summed(history: bytes) -> bool:
    """Tell a summed history from a plain one."""
    return history[_FORMAT_AT] != _PLAIN


def summed_bytes(history: bytes) -> int:
    """Give the length of the beginning of a summed history, up to the entry of the boundary; 0 if plain."""
    if not is_summed(history):
        return 0
    return ENTRY_BYTES + int(_hours_at(history)[0]) * HOUR_BYTES


def exact_from_s(history: bytes) -> float:
    """Give the time from which on every transaction is known by itself, in seconds since 1970."""
    return float(_time_at(history, summed_bytes(history))[0])


def last_seen_s(history: bytes) -> float:
    """Give the time of the latest transaction, in seconds since 1970; of a summed one, its hour's end."""
    return float(_time_at(history, len(history) - ENTRY_BYTES)[0])


def fold(history: bytes, time_s: float, amount: float, transaction_id: str) -> tuple[bytes, int]:
    """Put a transaction in its place by event time, or add it to its hour if that is summed.

    One that is there by itself already changes nothing.

    Expired entries, too old for the windows of any record that may still come, are dropped once there are
    DROPPED_AT_ONCE of them.

    Args:
        history: NO_HISTORY, or a result of this function.
        time_s: event time in seconds since 1970.
        amount: in the card's currency, from 0 to 1e12.
        transaction_id: with time and amount it tells a repeat.

    Returns:
        The history afterwards, and how many of its bytes tell what happened up to `time_s`.

    """
    # a zero has two signs, and a repeat may have the other
    entry = _pack(time_s, amount + 0.0, zlib.crc32(transaction_id.encode()))
    if history[_FORMAT_AT] != _PLAIN:
        return _fold_summed(history, entry, time_s, amount)
    if (
        len(history) <= MOST_ENTRIES * ENTRY_BYTES
        and time_s > _time_at(history, len(history) - ENTRY_BYTES)[0]
    ):
        # most transactions take this way: it calls little
        history = _without_expired(history, time_s) + entry
        return history, len(history)
    history, end = _fold_entry(history, entry, time_s)
    if len(history) > (1 + MOST_ENTRIES) * ENTRY_BYTES:
        return _sum_older(b"", history, time_s)
    return history, end


def _fold_entry(entries: bytes, entry: bytes, time_s: float) -> tuple[bytes, int]:
    """Fold an entry into a plain history, or into the entries of a summed one from the boundary's on."""
    if time_s <= _time_at(entries, len(entries) - ENTRY_BYTES)[0]:
        return _fold_late(entries, entry, time_s)
    entries = _without_expired(entries, time_s) + entry
    return entries, len(entries)


def _fold_late(entries: bytes, entry: bytes, time_s: float) -> tuple[bytes, int]:
    """Fold an entry that did not happen after the last one; those of one time are ordered by their bytes."""
    times = np.frombuffer(entries, ENTRY)["time_s"]
    # the first entry is no transaction, also where a boundary has this time
    first = max(int(times.searchsorted(time_s, "left")), 1) * ENTRY_BYTES
    end = int(times.searchsorted(time_s, "right")) * ENTRY_BYTES
    same_time = range(first, end, ENTRY_BYTES)
    at = entries.find(entry, first, end)
    while at >= 0 and at not in same_time:
        at = entries.find(entry, at + 1, end)
    if at >= 0:
        return entries, end
    place = first + ENTRY_BYTES * bisect_left(same_time, entry, key=lambda at: entries[at : at + ENTRY_BYTES])
    longer = entries[:place] + entry + entries[place:]
    kept = _without_expired(longer, float(times[-1]))
    return kept, max(end + ENTRY_BYTES - (len(longer) - len(kept)), ENTRY_BYTES)


def _without_expired(entries: bytes, now_s: float, at_once: int = DROPPED_AT_ONCE) -> bytes:
    last_of_them = at_once * ENTRY_BYTES
    if len(entries) <= last_of_them or _time_at(entries, last_of_them)[0] > now_s - KEPT_S:
        return entries
    times = np.frombuffer(entries, ENTRY)["time_s"]
    expired = int(np.searchsorted(times, now_s - KEPT_S, "right"))
    return entries[:ENTRY_BYTES] + entries[expired * ENTRY_BYTES :]


def _fold_summed(history: bytes, entry: bytes, time_s: float, amount: float) -> tuple[bytes, int]:
    """Fold a transaction into a summed history."""
    at = summed_bytes(history)
    hours, entries = history[ENTRY_BYTES:at], history[at:]
    horizon_s = last_seen_s(entries) - KEPT_S
    if time_s >= _time_at(entries)[0]:
        entries, end = _fold_entry(entries, entry, time_s)
        if len(entries) > (1 + MOST_ENTRIES) * ENTRY_BYTES:
            return _sum_older(hours, entries, time_s)
        end += at
    else:
        hours, end = _fold_hour(hours, time_s, amount, horizon_s)
        end += ENTRY_BYTES
    kept = _without_expired_hours(hours, horizon_s)
    history = _join(kept, entries)
    return history, end if len(kept) == len(hours) else _end_of(history, time_s)


def _fold_hour(hours: bytes, time_s: float, amount: float, horizon_s: float) -> tuple[bytes, int]:
    """Add a transaction to its hour, if it has not expired; gives the hours, and where this one ends."""
    hour = int(time_s // HOUR_S)
    place = len(hours) - HOUR_BYTES
    if not hours or _hour.unpack_from(hours, place)[0] != hour:
        place = int(np.searchsorted(np.frombuffer(hours, HOUR)["hour"], hour)) * HOUR_BYTES
    found, count, total, largest = (
        _hour.unpack_from(hours, place) if place < len(hours) else (None, 0, 0, 0.0)
    )
    end = place + HOUR_BYTES
    if found != hour:
        if (hour + 1) * HOUR_S <= horizon_s:
            return hours, place
        count, total, largest, end = 0, 0, 0.0, place
    summed = _hour.pack(
        hour,
        min(count + 1, _MOST_COUNT),
        min(total + round(amount * UNITS), _MOST_TOTAL),
        max(largest, amount),
    )
    return hours[:place] + summed + hours[end:], place + HOUR_BYTES


def _without_expired_hours(hours: bytes, horizon_s: float) -> bytes:
    last_of_them = (DROPPED_AT_ONCE - 1) * HOUR_BYTES
    if len(hours) > last_of_them and (_hour.unpack_from(hours, last_of_them)[0] + 1) * HOUR_S > horizon_s:
        return hours
    starts = np.frombuffer(hours, HOUR)["hour"]
    return hours[int(np.searchsorted((starts + 1) * HOUR_S, horizon_s, "right")) * HOUR_BYTES :]


def _sum_older(hours: bytes, entries: bytes, time_s: float) -> tuple[bytes, int]:
    """Sum the entries of as few hours as leave MOST_ENTRIES of them; what has expired is dropped first.

    Args:
        hours: those of the history, b"" of a plain one.
        entries: the others, from that of the format or boundary on; more than MOST_ENTRIES.
        time_s: of the transaction that was folded last.

    """
    now_s = last_seen_s(entries)
    entries = _without_expired(entries, now_s, at_once=1)
    found = np.frombuffer(entries, ENTRY, offset=ENTRY_BYTES)
    if len(found) > MOST_ENTRIES:
        boundary_s = (found["time_s"][len(found) - MOST_ENTRIES - 1] // HOUR_S + 1) * HOUR_S
        older = int(np.searchsorted(found["time_s"], boundary_s))
        hours += _sums(found[:older]).tobytes()
        entries = _pack(boundary_s, 0.0, _SUMMED) + entries[(1 + older) * ENTRY_BYTES :]
    history = _join(_without_expired_hours(hours, now_s - KEPT_S), entries)
    return history, _end_of(history, time_s)


def _sums(entries: NDArray[np.void]) -> NDArray[np.void]:
    """Sum entries, which are in the order of their times, by hour."""
    hours = (entries["time_s"] // HOUR_S).astype(np.uint32)
    firsts = np.flatnonzero(np.diff(hours, prepend=-1))
    sums = np.empty(len(firsts), HOUR)
    sums["hour"] = hours[firsts]
    sums["count"] = np.diff(firsts, append=len(hours))
    units = np.rint(entries["amount"] * UNITS)
    sums["total"] = np.add.reduceat(units.astype(np.uint64), firsts)
    # whole numbers of 64 bits would begin at 0 again
    sums["total"][np.add.reduceat(units, firsts) >= _MOST_TOTAL] = _MOST_TOTAL
    sums["largest"] = np.maximum.reduceat(entries["amount"], firsts)
    return sums


def _join(hours: bytes, entries: bytes) -> bytes:
    """Put a history together; without hours, it is a plain one."""
    if not hours:
        return NO_HISTORY + entries[ENTRY_BYTES:]
    return _summed_head.pack(-math.inf, len(hours) // HOUR_BYTES, 0, _SUMMED) + hours + entries


def _end_of(history: bytes, time_s: float) -> int:
    """Give how many bytes of a history tell what happened up to a time."""
    at = summed_bytes(history)
    if time_s >= exact_from_s(history):
        times = np.frombuffer(history, ENTRY, offset=at)["time_s"]
        return at + int(np.searchsorted(times, time_s, "right")) * ENTRY_BYTES
    hours = np.frombuffer(history[ENTRY_BYTES:at], HOUR)["hour"]
    return ENTRY_BYTES + int(np.searchsorted(hours, time_s // HOUR_S, "right")) * HOUR_BYTES
