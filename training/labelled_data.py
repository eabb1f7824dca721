"""Transactions with their labels: which transactions were known to be frauds on a day."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flink_jobs.domain.features import LABEL_DELAY_DAYS
from training.dataset import Dataset
from training.label_history import Changes, LabelHistory, known_after_days


@dataclass(frozen=True)
class LabelledData:
    """Transactions with the labels of their file, and with the labels that came back.

    The latest label of a transaction counts; without one, the file's; without that, it is honest.

    Attributes:
        transactions: as they happened.
        history: the labels that came back; None where the file's own column says all.
        label_delay_days: how late labels come; an earlier label counts only when the delay is over.

    """

    transactions: Dataset
    history: LabelHistory | None = None
    label_delay_days: int = LABEL_DELAY_DAYS

    @property
    def is_labelled(self) -> bool:
        """Whether anything says which transactions were fraud."""
        return self.transactions.label is not None or self.history is not None

    @property
    def sha256(self) -> str:
        """Digest of transactions and labels."""
        if self.history is None:
            return self.transactions.sha256
        return hashlib.sha256(f"{self.transactions.sha256} {self.history.sha256}".encode()).hexdigest()

    def known_on(self, day: int) -> NDArray[np.int8]:
        """Give each transaction's label as known when a day begins; honest if none is known yet."""
        over = self.transactions.days() + known_after_days(self.label_delay_days) <= day
        known = np.where(over, self.known_in_time(), 0).astype(np.int8)
        changes = self.found_out_later()
        if changes is not None:
            by_then = changes.known_days <= day
            known[changes.rows[by_then]] = changes.frauds[by_then]
        return known

    def known_in_time(self) -> NDArray[np.int8]:
        """Give each transaction's label as known when its delay is over."""
        known = self._by_file()
        if self.history is not None:
            soon = ~self._late
            known[self._changes.rows[soon]] = self._changes.frauds[soon]
        return known

    def known_by_now(self) -> NDArray[np.int8]:
        """Give each transaction's label as known today."""
        known = self._by_file()
        if self.history is not None:
            # of several labels of a row, the last stays
            known[self._changes.rows] = self._changes.frauds
        return known

    def found_out_later(self) -> Changes | None:
        """Give the labels that became known after the delay, in the order of their days; None without any."""
        if self.history is None or not self._late.any():
            return None
        late = self._late
        order = np.argsort(self._changes.known_days[late], kind="stable")
        return Changes(*(column[late][order] for column in self._changes))  # type: ignore[arg-type] # each of its own

    def _by_file(self) -> NDArray[np.int8]:
        frame, label = self.transactions.frame, self.transactions.label
        return np.zeros(len(frame), np.int8) if label is None else frame[label].to_numpy(np.int8, copy=True)

    @cached_property
    def _changes(self) -> Changes:
        if self.history is None:
            raise ValueError(f"{self.transactions.source}: no labels came back")
        transactions = self.transactions
        return self.history.on(
            transactions.frame["transaction_id"], transactions.days(), self.label_delay_days
        )

    @cached_property
    def _late(self) -> NDArray[np.bool_]:
        changes = self._changes
        late: NDArray[np.bool_] = changes.known_days > self.transactions.days()[
            changes.rows
        ] + known_after_days(self.label_delay_days)
        return late
