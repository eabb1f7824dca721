"""The transactions of a flood: made some thousand at a time, and poured at a rate."""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
from steady_producer import LARGE_SHARE, TERMINALS

from clients.pacing import Pacer, steady

# lines that are made and written together
CHUNK = 1_000
# The first and the last records of a flood have customers of their own, whose predictions are computed anew.
SAMPLE = 20_000
SAMPLED_CUSTOMERS = 200
# Of all others. A history keeps a number of payments one by one, so few customers leave the lab little state.
CUSTOMERS = 2_000


class Load:
    """Makes transactions; ids and customers begin with the mark of the run, so none has a past.

    Attributes:
        mark: begins all ids of the run.
        sampled: begins the customers whose predictions are computed anew.
        made: how many there are so far.

    """

    def __init__(self, mark: str) -> None:
        self.mark = mark
        self._chance = np.random.default_rng(list(mark.encode()))
        self.sampled = f"{mark}-sample-"
        self.made = 0

    def lines(self, count: int = CHUNK, *, sampled: bool = False) -> bytes:
        """Make the next ones, a line each: customer, tab, JSON."""
        chance, first = self._chance, self.made
        whose, customers = (
            (self.sampled, SAMPLED_CUSTOMERS) if sampled else (f"{self.mark}-crowd-", CUSTOMERS)
        )
        amounts = chance.lognormal(3.5, 0.8, count) * np.where(chance.random(count) < LARGE_SHARE, 20, 1)
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        made = zip(
            range(first, first + count),
            chance.integers(customers, size=count).tolist(),
            chance.integers(TERMINALS, size=count).tolist(),
            amounts.tolist(),
            strict=True,
        )
        self.made += count
        return "".join(
            f'{whose}{customer}\t{{"transaction_id":"{self.mark}-{number}","event_time":"{at}",'
            f'"customer_id":"{whose}{customer}","terminal_id":"sim-{terminal}","amount":{amount:.2f}}}\n'
            for number, customer, terminal, amount in made
        ).encode()


def records_of(rate_tps: float, seconds: float) -> int:
    """Tell how many records a flood has at least, in whole chunks."""
    return math.ceil(rate_tps * seconds / CHUNK) * CHUNK


def pour(
    write: Callable[[bytes], object],
    load: Load,
    rate_tps: float,
    seconds: float,
    stopped: Callable[[], bool],
) -> int:
    """Write a flood, and return its number of records: fewer where `write` takes them more slowly.

    Args:
        write: takes lines, and waits where they are too many.
        load: makes them.
        rate_tps: records a second.
        seconds: for how long.
        stopped: tells whether to end at once.

    """
    pacer, due, sent, began_s = Pacer(), steady(rate_tps), 0, time.monotonic()
    records = records_of(rate_tps, seconds)
    while sent < records - SAMPLE and time.monotonic() < began_s + seconds and not stopped():
        pacer.wait_for(due(sent, 0), stopped)
        write(load.lines(sampled=sent < SAMPLE))
        sent += CHUNK
    for number in range(records - SAMPLE, records, CHUNK):
        if stopped():
            break
        pacer.wait_for(due(number, 0), stopped)
        write(load.lines(sampled=True))
        sent += CHUNK
    pacer.wait_for(seconds, stopped)
    return sent
