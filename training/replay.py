"""Features of past transactions, by the very fold that serves: `flink_jobs.domain.features`."""

from array import array
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flink_jobs.domain.features import FEATURE_NAMES, compute_features
from flink_jobs.domain.history import DAY_S, KEPT_S, History
from training.dataset import Dataset
from training.terminal_risk import TerminalLabels

# A row's features reach this far back.
WARM_UP_DAYS = int(KEPT_S // DAY_S)


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
        transaction_ids: tell repeats.
        risks: [transactions, TERMINAL_FEATURES] as of each transaction's day, see `TerminalLabels.as_of`.

    Returns:
        [transactions, features] in the order of FEATURE_NAMES.

    """
    histories: defaultdict[str, History] = defaultdict(History)
    values = array("f")
    rows = zip(customer_ids, times_s, amounts, transaction_ids, _tuples(risks), strict=True)
    for customer_id, time_s, amount, transaction_id, risk in rows:
        values.extend(compute_features(histories[customer_id], risk, time_s, amount, transaction_id))
    return np.frombuffer(values, dtype=np.float32).reshape(-1, len(FEATURE_NAMES))


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


def _tuples(risks: NDArray[np.float32]) -> list[tuple[float, ...]]:
    return list(map(tuple, risks.tolist()))
