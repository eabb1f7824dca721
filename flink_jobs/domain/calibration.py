"""From a score to the probability of fraud: a line through knots, which never falls."""

import msgspec
import numpy as np


class Calibration(msgspec.Struct, frozen=True):
    """Knots of a line that never falls; before the first and after the last it is level.

    Attributes:
        scores: ascending.
        probabilities: of fraud at these scores, never falling.

    """

    scores: list[float]
    probabilities: list[float]

    def probability(self, score: float) -> float:
        """Give the probability that a transaction of this score is a fraud."""
        return float(np.interp(score, self.scores, self.probabilities))
