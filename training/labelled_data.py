"""Transactions with their labels: which transactions were known to be frauds on a day."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flink_jobs.domain.features import LABEL_DELAY_DAYS
from training.dataset import Dataset
from training.label_history import Changes, LabelHistory, known_after_days

# A day that does not come.
NEVER = int(np.iinfo(np.int32).max)


@dataclass(frozen=True)
class LabelledData:
    """Transactions with the labels of their file, and with the labels that came back.

    The latest label of a transaction counts; without one, the file's; without that, it is unknown. Terminal
    risk counts the frauds that are known, among all payments.

    Attributes:
        transactions: as they happened.
        history: the labels that came back; None where the file's own column says all.
        label_delay_days: how late labels come; an earlier label counts only when the delay is over.
        unlabelled_is_honest: whether a transaction without any label counts as honest once the delay is over.
        today: the day that is not over, in days since 1970-01-01; None: all days of the data are.

    """

    transactions: Dataset
    history: LabelHistory | None = None
    label_delay_days: int = LABEL_DELAY_DAYS
    unlabelled_is_honest: bool = False
    today: int | None = None

    @property
    def is_labelled(self) -> bool:
        """Whether anything says which transactions were fraud."""
        return self.transactions.label is not None or self.history is not None

    @property
    def unlabelled(self) -> str:
        """What a transaction without a label counts as once the delay is over: `honest` or `unknown`."""
        return "honest" if self.unlabelled_is_honest else "unknown"

    @property
    def sha256(self) -> str:
        """Digest of transactions and labels."""
        if self.history is None:
            return self.transactions.sha256
        return hashlib.sha256(f"{self.transactions.sha256} {self.history.sha256}".encode()).hexdigest()

    @property
    def as_of_day(self) -> int:
        """The day after the last on which anything was heard, a payment or a label; today at the latest."""
        last = int(self.transactions.days()[-1])
        if self.history is not None and len(self.history.frame):
            given = self.history.frame["labelled_at"].to_numpy().astype("datetime64[D]").astype(np.int64)
            last = max(last, int(given.max()))
        return last + 1 if self.today is None else min(last + 1, self.today)

    @property
    def labelled_until_day(self) -> int:
        """The first day whose labels' delay is not over; the day after the data where all are."""
        end = int(self.transactions.days()[-1]) + 1
        if self.transactions.label is not None:
            # a file's own labels are of all its days
            return end
        return min(end, self.as_of_day - self.label_delay_days)

    def labelled_on(self, day: int) -> NDArray[np.bool_]:
        """Tell of which transactions it is known when a day begins whether they were fraud."""
        if self.transactions.label is not None or self.unlabelled_is_honest:
            return self._delay_is_over(day)
        return self._given(day)

    def labelled_by_now(self) -> NDArray[np.bool_]:
        """Tell of which transactions it is known now whether they were fraud; labels given today count."""
        if self.transactions.label is not None:
            return np.ones(len(self.transactions.frame), dtype=np.bool_)
        over = self._delay_is_over(self.as_of_day)
        return over if self.unlabelled_is_honest else over & self._given(NEVER)

    def known_as_fraud_from(self) -> NDArray[np.int32]:
        """Give the day from whose beginning on each transaction is known as a fraud, else NEVER."""
        days = self.transactions.days()
        known = np.where(self.known_in_time() == 1, days + known_after_days(self.label_delay_days), NEVER)
        later = self.found_out_later()
        if later is not None:
            frauds = later.frauds == 1
            np.minimum.at(known, later.rows[frauds], later.known_days[frauds])
        return known.astype(np.int32)

    def known_on(self, day: int) -> NDArray[np.int8]:
        """Give each transaction's label as known when a day begins; 0 if none is known yet."""
        known = np.where(self._delay_is_over(day), self.known_in_time(), 0).astype(np.int8)
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

    def _delay_is_over(self, day: int) -> NDArray[np.bool_]:
        """Tell of which transactions the delay of labels is over when a day begins."""
        over: NDArray[np.bool_] = self.transactions.days() + known_after_days(self.label_delay_days) <= day
        return over

    def _given(self, day: int) -> NDArray[np.bool_]:
        """Tell which transactions have a label that counts when a day begins."""
        given = np.zeros(len(self.transactions.frame), dtype=np.bool_)
        if self.history is not None:
            given[self._changes.rows[self._changes.known_days <= day]] = True
        return given

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
