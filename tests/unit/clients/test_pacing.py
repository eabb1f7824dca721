import math
import sys

import pytest

from clients import pacing
from clients.progress import LineProgress, duration


class FakeTime:
    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_a_steady_rate_spaces_transactions_evenly() -> None:
    schedule = pacing.steady(1000)
    assert [schedule(n, 0.0) for n in range(4)] == pytest.approx([0.0, 0.001, 0.002, 0.003])


def test_the_rate_max_never_waits() -> None:
    assert pacing.steady(math.inf)(10**9, 0.0) == 0.0


def test_replay_keeps_the_gaps_of_event_time() -> None:
    schedule = pacing.with_event_gaps(first_event_s=500.0, speedup=60.0)
    assert [schedule(0, 500.0), schedule(1, 560.0), schedule(2, 560.0)] == [0.0, 1.0, 1.0]


def test_mean_rate_of_a_replay() -> None:
    assert pacing.mean_rate_tps(100, 0.0, 1000.0, 10.0) == 1.0
    assert pacing.mean_rate_tps(5, 7.0, 7.0, 10.0) == math.inf


def test_the_pacer_sends_each_at_the_tick_it_is_due_by_and_sleeps_in_between() -> None:
    time = FakeTime()
    pacer = pacing.Pacer(time.clock, time.sleep)
    sent_at = []
    for n in range(5):
        pacer.wait_for(pacing.steady(250)(n, 0.0), lambda: False)
        sent_at.append(time.now - 1000.0)
    assert sent_at == pytest.approx([0.0, 0.01, 0.01, 0.02, 0.02])
    assert len(time.slept) == 2


def test_a_delay_is_caught_up() -> None:
    time = FakeTime()
    pacer = pacing.Pacer(time.clock, time.sleep)
    time.now += 0.5
    for n in range(500):
        pacer.wait_for(n / 1000, lambda: False)
    assert time.slept == []
    pacer.wait_for(0.501, lambda: False)
    assert time.now == pytest.approx(1000.51)


def test_a_stop_ends_a_long_wait_soon() -> None:
    time = FakeTime()
    pacer = pacing.Pacer(time.clock, time.sleep)
    pacer.wait_for(3600.0, lambda: time.now >= 1002.0)
    assert time.now == pytest.approx(1002.0, abs=0.2)


def test_progress_lines_tell_count_share_rate_and_rest(capsys: pytest.CaptureFixture[str]) -> None:
    time = FakeTime()
    progress = LineProgress("sent", 60_000, sys.stderr, time.clock)
    progress.update(1)
    time.now += 5
    progress.update(5_000)
    time.now += 1
    progress.update(6_000)
    time.now += 54
    progress.close(60_000)
    assert capsys.readouterr().err.splitlines() == [
        "sent 5,000 of 60,000 (8 %), 1,000/s, 55 s left",
        "sent 60,000 of 60,000 (100 %), 1,000/s",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (185, "3 min 05 s"), (7_800, "2 h 10 min")]
)
def test_durations_read_easily(seconds: float, text: str) -> None:
    assert duration(seconds) == text
