"""A customer's recent transactions, kept in Flink's keyed state and replayed in training."""

import struct
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from typing import Self

DAY_S = 86400.0
WINDOW_DAYS = (1, 7, 30)
# A record this late still sees its whole 30 days; a later one sees what is left of them.
LATENESS_DAYS = 7
KEPT_S = (WINDOW_DAYS[-1] + LATENESS_DAYS) * DAY_S

_FORMAT = b"\x01"
_ENTRY_BYTES = 8 + 8 + 4


class History:
    """Times, amounts and ids of one customer's transactions, ordered by event time.

    Attributes:
        times: event times in seconds since 1970, ascending.
        amounts: in the card's currency.
        ids: CRC-32 of the transaction ids; with time and amount they tell a repeat.

    """

    __slots__ = ("amounts", "ids", "times")

    def __init__(self) -> None:
        self.times = array("d")
        self.amounts = array("d")
        self.ids = array("I")

    def __len__(self) -> int:
        return len(self.times)

    def add(self, time_s: float, amount: float, transaction_id: str) -> None:
        """Put a transaction in its place by event time; one that is there already changes nothing.

        Entries too old for any window of any record that may still come are dropped.
        """
        times, amounts, ids = self.times, self.amounts, self.ids
        identity = zlib.crc32(transaction_id.encode())
        place = bisect_right(times, time_s)
        before = place - 1
        while before >= 0 and times[before] == time_s:
            if ids[before] == identity and amounts[before] == amount:
                return
            before -= 1
        times.insert(place, time_s)
        amounts.insert(place, amount)
        ids.insert(place, identity)
        expired = bisect_right(times, times[-1] - KEPT_S)
        if expired:
            del times[:expired], amounts[:expired], ids[:expired]

    def windows(self, time_s: float) -> tuple[list[tuple[int, float]], float]:
        """Count and sum of the amounts in (time_s - window, time_s] for each of WINDOW_DAYS.

        Beside them the largest amount of the last window but one, 0 where that is empty.
        """
        times, amounts = self.times, self.amounts
        start = end = bisect_right(times, time_s)
        total = 0.0
        found = []
        for days in WINDOW_DAYS:
            # a longer window is a shorter one and what lies before it
            stop = start
            start = bisect_right(times, time_s - days * DAY_S, 0, stop)
            total += sum(amounts[start:stop])
            found.append((end - start, total))
        return found, max(amounts[end - found[-2][0] : end], default=0.0)

    def to_bytes(self) -> bytes:
        """Pack for the state backend: 20 bytes a transaction and one for the format's version."""
        return _FORMAT + self.times.tobytes() + self.amounts.tobytes() + self.ids.tobytes()

    @classmethod
    def from_bytes(cls, packed: bytes) -> Self:
        """Unpack what `to_bytes` made.

        Raises:
            ValueError: another format's version, or cut short.

        """
        count, rest = divmod(len(packed) - 1, _ENTRY_BYTES)
        if packed[:1] != _FORMAT or rest:
            raise ValueError(
                f"customer history of {len(packed)} bytes has format {packed[:1]!r}, not {_FORMAT!r}: "
                "restore a savepoint made by this version or start the job without state"
            )
        history = cls()
        history.times.frombytes(packed[1 : 1 + 8 * count])
        history.amounts.frombytes(packed[1 + 8 * count : 1 + 16 * count])
        history.ids.frombytes(packed[1 + 16 * count :])
        return history


def expired_customers(packed_histories: Iterable[tuple[str, bytes]]) -> list[str]:
    """Name the customers that were not seen for as long as a history reaches.

    Args:
        packed_histories: customer ids with what `History.to_bytes` made; event time is told by the
            latest transaction among them, not by a clock, so that a replay expires nothing early.

    """
    last_seen = {customer_id: _last_time(packed) for customer_id, packed in packed_histories}
    horizon = max(last_seen.values(), default=0.0) - KEPT_S
    return [customer_id for customer_id, time_s in last_seen.items() if time_s <= horizon]


def _last_time(packed: bytes) -> float:
    count = len(packed) // _ENTRY_BYTES
    last: float = struct.unpack_from("=d", packed, len(_FORMAT) + 8 * (count - 1))[0]
    return last
