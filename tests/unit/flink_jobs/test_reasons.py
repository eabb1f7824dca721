"""The strongest reasons come first, in either direction; ready columns are compared with the usual."""

import numpy as np
import pytest

from flink_jobs.domain.drift import distribution
from flink_jobs.domain.reasons import strongest_reasons

USUAL = {"V14": distribution(np.linspace(-5, 5, 1001, dtype=np.float32))}


def test_reasons_are_the_three_that_moved_the_score_most_in_either_direction() -> None:
    features = {"V1": 1.0, "V2": 2.0, "V3": 3.0, "V4": 4.0, "V5": 5.0}
    reasons = strongest_reasons(features, [0.1, -0.4, 0.0, 0.05, 0.2])
    assert [(each.feature, each.contribution, each.direction) for each in reasons] == [
        ("V2", -0.4, "lowers"),
        ("V5", 0.2, "raises"),
        ("V1", 0.1, "raises"),
    ]
    assert strongest_reasons(features, [0.0] * 5) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-9.7312, "V14 is -9.731, lower than in 90% of transactions"),
        (4.9, "V14 is 4.9, higher than in 90% of transactions"),
        (0.5, "V14 is 0.5"),
    ],
)
def test_a_ready_column_is_compared_with_its_usual_values(value: float, text: str) -> None:
    (reason,) = strongest_reasons({"V14": value}, [0.3], USUAL)
    assert reason.text == text
