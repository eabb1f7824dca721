"""When each transaction is due."""

import math
import time
from collections.abc import Callable

# due(n, event_time_s): when the n-th transaction (from 0) is to be sent, in seconds since the start
Schedule = Callable[[int, float], float]

# a shorter sleep takes longer than asked for
_SHORTEST_SLEEP_S = 0.0002
# Records that are due within one tick are sent together: a broker spends its time on requests.
TICK_S = 0.01
# a stop is noticed within this time, even if the next transaction is far off
_LONGEST_SLEEP_S = 0.1


def steady(rate_tps: float) -> Schedule:
    """Evenly, `rate_tps` a second; infinity: as fast as possible."""
    return lambda n, _event_time_s: n / rate_tps


def with_event_gaps(first_event_s: float, speedup: float) -> Schedule:
    """With the gaps of event time, `speedup` times as fast; `first_event_s` is sent at once."""
    return lambda _n, event_time_s: (event_time_s - first_event_s) / speedup


def mean_rate_tps(count: int, first_event_s: float, last_event_s: float, speedup: float) -> float:
    """Tell the mean rate of a replay; infinite where all happened at one moment."""
    span_s = last_event_s - first_event_s
    return count * speedup / span_s if span_s > 0 else float("inf")


class Pacer:
    """Sleeps until a moment of a run, in ticks; late records are sent at once, so a delay is caught up."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._start = clock()

    def wait_for(self, due_s: float, stopped: Callable[[], object]) -> None:
        """Return at the tick at which `due_s` seconds of the run are over, or soon after `stopped()`."""
        if due_s <= self._clock() - self._start:
            return
        # a moment on a tick belongs to that tick, whatever the last bit of the quotient
        tick_s = math.ceil(due_s / TICK_S - 1e-9) * TICK_S
        while (remaining := tick_s - (self._clock() - self._start)) >= _SHORTEST_SLEEP_S and not stopped():
            self._sleep(min(remaining, _LONGEST_SLEEP_S))
