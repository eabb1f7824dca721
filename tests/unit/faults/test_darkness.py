"""Dark time and lag, as a row tells them."""

import pytest
from darkness import dark, lag, owed
from hypothesis import given
from hypothesis import strategies as st


def test_it_is_dark_while_records_are_acknowledged_and_none_is_scored() -> None:
    every_second = [float(second) for second in range(60)]
    predicted = [at + 0.1 for at in every_second if not 20 <= at < 35]
    found = dark(every_second, predicted, 5, 60)
    assert found == (20, pytest.approx(35.1))


def test_who_takes_no_record_owes_no_prediction() -> None:
    # Kafka was away from 20 to 50
    acknowledged = [at for at in range(60) if not 20 <= at < 50]
    predicted = [at + 0.1 for at in range(60) if not 20 <= at < 52]
    assert dark(acknowledged, predicted, 0, 60) == (50, pytest.approx(52.1))


def test_a_darkness_that_does_not_end_lasts_until_nobody_watched_any_more() -> None:
    assert dark(range(60), [0.5, 1.5], 0, 60).seconds == 58
    assert dark([], [], 0, 60).seconds == 0


def test_what_was_before_the_repair_does_not_count_after_it() -> None:
    predicted = [at + 0.1 for at in range(100) if not 10 <= at < 70]
    assert dark(range(100), predicted, 0, 100).seconds == pytest.approx(60.1)
    assert dark(range(100), predicted, 65, 100) == (65, pytest.approx(70.1))


def test_what_waits_at_the_repair_is_owed_from_then_on() -> None:
    # Kafka took the last record at 19, was away until 60, and gave nothing until 80
    acknowledged = {(0, at): float(at) for at in range(100) if not 20 <= at < 60}
    predicted = {(0, at): at + 0.1 if at < 19 or at >= 80 else 80.0 + at / 1000 for at in range(100)}
    assert dark(owed(acknowledged, predicted, 40), predicted.values(), 40, 100) == (40, pytest.approx(80.019))
    # the system is not to blame where all that it took has a prediction
    predicted[0, 19] = 19.1
    assert dark(owed(acknowledged, predicted, 40), predicted.values(), 40, 100) == (
        60,
        pytest.approx(80.1, abs=0.1),
    )


@given(st.lists(st.floats(0, 100)), st.lists(st.floats(0, 100)), st.floats(0, 100))
def test_a_darkness_is_within_what_was_watched(
    acknowledged: list[float], predicted: list[float], since_s: float
) -> None:
    found = dark(acknowledged, predicted, since_s, 100)
    assert since_s <= found.begin_s <= found.end_s <= 100
    # nothing was scored in it
    assert not [at for at in predicted if found.begin_s < at < found.end_s]


def test_records_that_wait_one_after_another_are_one_lag() -> None:
    acknowledged = {(0, at): float(at) for at in range(60)}
    # those from 20 to 29 came at 35, at once
    predicted = {(0, at): 35.0 if 20 <= at < 30 else at + 0.1 for at in range(60)}
    assert lag(acknowledged, predicted, 0, 60) == (20, 35)
    assert lag(acknowledged, predicted, 25, 60) == (25, 35)
    assert lag(acknowledged, predicted, 40, 60).seconds == 0


def test_a_record_that_is_never_scored_waits_to_the_end() -> None:
    assert lag({(0, 0): 10.0, (0, 1): 11.0}, {(0, 1): 11.1}, 0, 60) == (10, 60)


def test_two_lags_are_not_one() -> None:
    acknowledged = {(0, 0): 10.0, (0, 1): 40.0}
    assert lag(acknowledged, {(0, 0): 15.0, (0, 1): 50.0}, 0, 60) == (40, 50)
