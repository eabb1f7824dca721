"""Features of past transactions, by the same code as in the job: `flink_jobs.domain.features`."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flink_jobs.domain.features import FEATURES, compute_features
from flink_jobs.domain.history import DAY_S, KEPT_S
from flink_jobs.domain.windows import FoldedTransactions
from training.dataset import Dataset
from training.terminal_days import LONGEST_WINDOW_DAYS
from training.terminal_labels import TerminalLabels

# What a row's features tell of its customer reaches this far back.
WARM_UP_DAYS = int(KEPT_S // DAY_S)
_ROWS_AT_ONCE = 4096
# What is known of terminals is made anew for each part.
_DATASET_ROWS_AT_ONCE = 65_536


def reach_days(label_delay_days: int) -> int:
    """Give how many days a row's features reach back; windows of terminals lie before the delay of labels."""
    return max(WARM_UP_DAYS, label_delay_days + LONGEST_WINDOW_DAYS)


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
        folded = FoldedTransactions(histories.get)
        for transaction in zip(
            customer_ids[part], times_s[part], amounts[part], transaction_ids[part], strict=True
        ):
            folded.add(*transaction)
        histories |= folded.histories
        matrix[part] = compute_features(
            folded.windows(), folded.times_s(), np.asarray(amounts[part]), risks[part]
        )
    return matrix


def replay_dataset(
    dataset: Dataset, labels: TerminalLabels, wanted: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """Replay a whole dataset of kind `history`.

    Args:
        dataset: its rows are folded in their order, some thousand at a time.
        labels: of its terminals.
        wanted: [rows], whose features are asked for; None: of all.

    Returns:
        [wanted rows, features].

    """
    frame, times_s, days = dataset.frame, dataset.times_s(), dataset.days()
    wanted = np.ones(len(frame), dtype=np.bool_) if wanted is None else wanted
    histories: dict[str, bytes] = {}
    matrix = np.empty((np.count_nonzero(wanted), len(FEATURES)), dtype=np.float32)
    done = 0
    for first in range(0, len(frame), _DATASET_ROWS_AT_ONCE):
        part = slice(first, first + _DATASET_ROWS_AT_ONCE)
        rows = frame.iloc[part]
        names = ("customer_id", "amount", "transaction_id", "terminal_id")
        customers, amounts, ids, terminals = (rows[name].tolist() for name in names)
        asked = wanted[part]
        folded = FoldedTransactions(histories.get)
        for transaction, is_asked in zip(
            zip(customers, times_s[part].tolist(), amounts, ids, strict=True), asked.tolist(), strict=True
        ):
            (folded.add if is_asked else folded.pass_by)(*transaction)
        histories |= folded.histories
        at = np.flatnonzero(asked)
        if len(at):
            matrix[done : done + len(at)] = compute_features(
                folded.windows(),
                folded.times_s(),
                np.asarray(amounts)[at],
                labels.as_of([terminals[row] for row in at.tolist()], days[part][at]),
            )
        done += len(at)
    return matrix
