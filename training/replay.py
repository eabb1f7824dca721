"""Features of past transactions, by the same code as in the job: `flink_jobs.domain.features`."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flink_jobs.domain.features import FEATURES, compute_features
from flink_jobs.domain.history import DAY_S, KEPT_S, NO_HISTORY, fold
from training.dataset import Dataset
from training.terminal_labels import TerminalLabels

# A row's features reach this far back.
WARM_UP_DAYS = int(KEPT_S // DAY_S)
_ROWS_AT_ONCE = 4096


def replay(
    customer_ids: Sequence[str],
    times_s: Sequence[float],
    amounts: Sequence[float],
    transaction_ids: Sequence[str],
    risks: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Fold transactions into their customers' histories, in the order given.

    Args:
        customer_ids: one a transaction, like all that follow.
        times_s: event times in seconds since 1970.
        amounts: in the card's currency.
        transaction_ids: of the transactions; equal ones are repeats.
        risks: [transactions, TERMINAL_FEATURES] as of each transaction's day, see `TerminalLabels.as_of`.

    Returns:
        [transactions, FEATURES].

    """
    histories: dict[str, bytes] = {}
    matrix = np.empty((len(times_s), len(FEATURES)), dtype=np.float32)
    for first in range(0, len(matrix), _ROWS_AT_ONCE):
        part = slice(first, first + _ROWS_AT_ONCE)
        folded = []
        for customer_id, time_s, amount, transaction_id in zip(
            customer_ids[part], times_s[part], amounts[part], transaction_ids[part], strict=True
        ):
            history = histories.get(customer_id, NO_HISTORY)
            folded.append(fold(history, time_s, amount, transaction_id))
            histories[customer_id] = folded[-1][0]
        after, happened = zip(*folded, strict=True)
        matrix[part] = compute_features(
            after, happened, np.asarray(times_s[part]), np.asarray(amounts[part]), risks[part]
        )
    return matrix


def replay_dataset(dataset: Dataset, labels: TerminalLabels) -> NDArray[np.float32]:
    """Replay a whole dataset of kind `history`: [transactions, features]."""
    frame = dataset.frame
    return replay(
        frame["customer_id"].tolist(),
        dataset.times_s().tolist(),
        frame["amount"].tolist(),
        frame["transaction_id"].tolist(),
        labels.as_of(frame["terminal_id"].tolist(), dataset.days()),
    )
