"""Which rows of a training period are learnt from, where it has more than fit into memory.

All frauds are, and of the honest ones a share, which count as often as they stand for others. A hash of the
transaction's id decides: the same rows whenever and wherever a model is trained. Histories and terminal risk
are of all rows.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.tables import DatasetError

_ROWS_AT_ONCE = 65_536
# Fewer would be a model of the frauds alone.
_FEWEST_HONEST_A_FRAUD = 1


class Sample(NamedTuple):
    """What is learnt from.

    Attributes:
        weights: [rows], how often each counts; 0 where it is not learnt from.
        honest_share: of the honest rows, the share that is.

    """

    weights: NDArray[np.float32]
    honest_share: float


def honest_share(frauds: NDArray[np.int8], most_rows: int, source: str) -> float:
    """Give the share of honest rows that makes, with all frauds, about so many.

    Args:
        frauds: [rows], 1 for fraud.
        most_rows: to learn from.
        source: names the data in errors.

    Raises:
        DatasetError: there are too many frauds for that.

    """
    bad = int((frauds == 1).sum())
    honest, room = len(frauds) - bad, most_rows - bad
    if room < honest and room < _FEWEST_HONEST_A_FRAUD * bad:
        raise DatasetError(
            f"{source}: {bad:,} of the training rows are frauds, which leave too few of "
            f"{most_rows:,} rows for honest transactions; allow more --max-rows, or fewer --train-days"
        )
    return min(1.0, room / max(honest, 1))


def sample_weights(ids: "pd.Series[str]", frauds: NDArray[np.int8], share: float) -> NDArray[np.float32]:
    """Choose all frauds, and this share of the others, which count for the rest."""
    return np.where(frauds == 1, 1, np.where(_draws(ids) < share, 1 / share, 0)).astype(np.float32)


def _draws(ids: "pd.Series[str]") -> NDArray[np.float64]:
    """Give each id its number from 0 to below 1."""
    draws = np.empty(len(ids))
    for first in range(0, len(ids), _ROWS_AT_ONCE):
        part = ids.iloc[first : first + _ROWS_AT_ONCE].to_numpy(dtype=object)
        draws[first : first + _ROWS_AT_ONCE] = pd.util.hash_array(part, categorize=False) / 2.0**64
    return draws
