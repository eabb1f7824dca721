"""The features of a batch of transactions, for either kind of model."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flink_jobs.domain.features import compute_features
from flink_jobs.domain.history import DAY_S
from flink_jobs.domain.reasons import feature_words
from flink_jobs.domain.terminal_risk import TerminalRisk
from flink_jobs.domain.transaction import InvalidTransaction, Transaction, parse_transaction
from flink_jobs.domain.windows import FoldedTransactions
from flink_jobs.domain.words import Words

# Where nothing is scored, histories are put back once they take so much, counted at each fold.
MOST_FOLDED_BYTES = 16 * 1024 * 1024


class Histories(Protocol):
    """Histories by customer id."""

    def get(self, key: str, /) -> bytes | None:
        """Give the customer's history, None for a new one."""

    def put_all(self, histories: Mapping[str, bytes], /) -> None:
        """Keep the customers' histories."""


def fold_only(records: Iterable[tuple[bytes, float]], histories: Histories, currency: str) -> int:
    """Fold transactions into their customers' histories without scoring them.

    Args:
        records: of the topic, each with the time, in seconds since 1970, that its event time must not be a
            day ahead of; those that are refused are passed over.
        histories: read and written seldom for each customer.
        currency: of the amounts.

    Returns:
        How many transactions were folded.

    """
    folded, count, folded_bytes = FoldedTransactions(histories.get), 0, 0
    for payload, now_s in records:
        try:
            transaction = parse_transaction(payload, now_s, currency)
            if transaction.customer_id is not None and transaction.terminal_id is not None:
                folded.pass_by(
                    transaction.customer_id,
                    transaction.time_s,
                    transaction.amount,
                    transaction.transaction_id,
                )
                count += 1
                folded_bytes += len(folded.histories[transaction.customer_id])
        except InvalidTransaction:
            continue
        if folded_bytes > MOST_FOLDED_BYTES:
            histories.put_all(folded.histories)
            folded, folded_bytes = FoldedTransactions(histories.get), 0
    histories.put_all(folded.histories)
    return count


class FoldedBatch:
    """Transactions whose features come from the customer's past and the terminal's risk."""

    def __init__(self, histories: Histories, risk: TerminalRisk) -> None:
        self._store = histories
        self._risk = risk
        self._folded = FoldedTransactions(histories.get)
        self._terminal_ids: list[str] = []
        self._amounts: list[float] = []

    def add(self, transaction: Transaction) -> None:
        """Fold a transaction into its customer's history.

        Raises:
            InvalidTransaction: it does not say who paid, or where.

        """
        customer_id, terminal_id = transaction.customer_id, transaction.terminal_id
        if customer_id is None or terminal_id is None:
            name = "customer_id" if customer_id is None else "terminal_id"
            raise InvalidTransaction("missing_field", f"{name}: this model needs it")
        self._folded.add(customer_id, transaction.time_s, transaction.amount, transaction.transaction_id)
        self._terminal_ids.append(terminal_id)
        self._amounts.append(transaction.amount)

    def features(self) -> NDArray[np.float64]:
        """Keep the histories, and give [transactions, features]."""
        self._store.put_all(self._folded.histories)
        times_s = self._folded.times_s()
        risks = self._risk.as_of(self._terminal_ids, (times_s // DAY_S).astype(np.int64))
        return compute_features(self._folded.windows(), times_s, np.array(self._amounts), risks)

    def words(self, number: int, label_delay_days: int) -> Mapping[str, Words]:
        """Give the words of the features of the transaction of that number, for labels that come so late."""
        day = int(self._folded.times_s()[number] // DAY_S)
        return feature_words(label_delay_days, terminal_known=self._risk.covers(day))

    def exact_from_s(self, number: int) -> float | None:
        """Give the time from which on the windows of that transaction are exact; None: all of them are."""
        return self._folded.exact_from_s.get(number)


class ReadyBatch:
    """Transactions that bring their features along."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._rows: list[list[float]] = []

    def add(self, transaction: Transaction) -> None:
        """Take a transaction's features.

        Raises:
            InvalidTransaction: one is missing.

        """
        given = transaction.features or {}
        try:
            self._rows.append([given[name] for name in self._names])
        except KeyError as missing:
            detail = f"features.{missing.args[0]}: this model needs it"
            raise InvalidTransaction("missing_feature", detail) from None

    def features(self) -> NDArray[np.float64]:
        """Give [transactions, features]."""
        return np.array(self._rows, dtype=np.float64)

    def words(self, number: int, label_delay_days: int) -> Mapping[str, Words]:
        """Give none: nobody told what a column means, also where it has the name of a feature."""
        del number, label_delay_days
        return {}

    def exact_from_s(self, number: int) -> float | None:
        """Give None: this kind of model asks nothing of the customer's past."""
        del number
        return None
