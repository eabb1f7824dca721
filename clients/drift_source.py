"""Where `fraud-drift` takes transactions and labels from: the lake, or a file."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np

from clients.transaction_source import read_transactions
from flink_jobs.domain.history import DAY_S
from flink_jobs.domain.terminal_risk import TerminalRisk
from flink_jobs.domain.transaction import DEFAULT_CURRENCY, InvalidTransaction, parse_transaction
from flink_jobs.store.lake import Lake
from flink_jobs.store.settings import CONTROL_SHARE
from training.columns import Mapping as Columns
from training.label_history import known_after_days, label_history_of
from training.terminal_days import LONGEST_WINDOW_DAYS
from training.terminal_labels import TerminalLabels


class Source(Protocol):
    """Where transactions come from; the lake is one."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def currency(self) -> str:
        """Of the amounts; transactions that name another are left out."""

    def last_event_s(self, before_s: float) -> float | None:
        """Find the latest event time before a time; None where there is none."""

    def payloads(self, since_s: float, until_s: float) -> Iterable[list[tuple[float, bytes]]]:
        """Give event times and records of a period, in event-time order, some at a time."""


class Labels(msgspec.Struct, frozen=True):
    """What is known of transactions.

    Attributes:
        frauds: by transaction id, whether it was one.
        unlabelled_is_honest: whether one without a label is honest once the delay is over.
        control_share: with which transactions without an alert are chosen to be labelled.

    """

    frauds: Mapping[str, bool]
    unlabelled_is_honest: bool = False
    control_share: float = CONTROL_SHARE


# Tells what was known of terminals on days.
KnownOn = Callable[[Sequence[int]], TerminalRisk]
# Tells the labels of what happened since a time that were known at another.
LabelsOf = Callable[[float, float], Labels]


class File:
    """Transactions of a file, as the producer would send them.

    Attributes:
        notes: what a user should know of the file, a sentence each.
        is_labelled: whether it says which were frauds.

    """

    def __init__(
        self,
        location: str,
        settings_file: Path | None = None,
        columns: Columns | None = None,
        option: str = "--columns",
    ) -> None:
        """Read a file; arguments and ClientError as for `read_transactions`."""
        self.name, self.currency = location, DEFAULT_CURRENCY
        data = read_transactions(location, None, None, None, settings_file, columns, option)
        self.notes = data.notes
        records = list(data.records)
        self._payloads = [(record.event_time_s, record.value) for record in records]
        self._labels = [(record.event_time_s, record.transaction_id, record.is_fraud) for record in records]
        self.is_labelled = any(is_fraud is not None for *_, is_fraud in self._labels)

    def last_event_s(self, before_s: float) -> float | None:
        """Find the latest event time before a time."""
        return max((time_s for time_s, _ in self._payloads if time_s < before_s), default=None)

    def payloads(self, since_s: float, until_s: float) -> Iterable[list[tuple[float, bytes]]]:
        """Give event times and records of a period."""
        yield [each for each in self._payloads if since_s <= each[0] < until_s]

    def labels(self, delay_days: int) -> LabelsOf:
        """Take the file's labels as known when their delay is over."""

        def known(since_s: float, until_s: float) -> Labels:
            end_s = (until_s // DAY_S - known_after_days(delay_days) + 1) * DAY_S
            return Labels(
                {
                    transaction_id: is_fraud
                    for time_s, transaction_id, is_fraud in self._labels
                    if since_s <= time_s < end_s and is_fraud is not None
                }
            )

        return known

    def known_on(self, delay_days: int) -> KnownOn:
        """Count terminals' frauds anew, by the file's labels as known when their delay is over.

        Of a day of whose windows the file has only a part, nothing is told.
        """
        begin_s = min((time_s for time_s, _ in self._payloads), default=0.0)
        first_day = int(begin_s // DAY_S) + delay_days + LONGEST_WINDOW_DAYS

        def known(asked: Sequence[int]) -> TerminalRisk:
            days = [day for day in asked if day >= first_day]
            terminals, paid_days, frauds = [], [], []
            for (time_s, payload), (*_, is_fraud) in zip(self._payloads, self._labels, strict=True):
                try:
                    terminal = parse_transaction(payload, time_s, self.currency).terminal_id
                except InvalidTransaction:
                    continue
                if terminal is not None:
                    terminals.append(terminal)
                    paid_days.append(int(time_s // DAY_S))
                    frauds.append(bool(is_fraud))
            if not terminals or not days:
                return TerminalRisk.empty()
            counted = TerminalLabels(
                terminals,
                np.array(paid_days, dtype=np.int32),
                np.array(frauds, dtype=np.int8),
                label_delay_days=delay_days,
            )
            return TerminalRisk(counted.snapshot(days[0], days[-1] + 1 - days[0]))

        return known


def lake_labels(lake: Lake, *, unlabelled_is_honest: bool, control_share: float) -> LabelsOf:
    """Take the labels that lie in a folder of the lake; the other arguments are those of `Labels`."""

    def known(since_s: float, until_s: float) -> Labels:
        history = label_history_of(lake, lake.name, since_s).before(datetime.fromtimestamp(until_s, UTC))
        # the latest of a transaction comes last
        frauds = zip(history.frame["transaction_id"], history.frame["is_fraud"] == 1, strict=True)
        return Labels(dict(frauds), unlabelled_is_honest, control_share)

    return known
