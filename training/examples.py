"""Examples to train and test on: a matrix of features, labels, and the split of the rows."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flink_jobs.domain.features import FEATURE_NAMES
from training.columns import label_spellings
from training.labelled_data import LabelledData
from training.metrics import known_compromised
from training.replay import WARM_UP_DAYS, reach_days, replay_dataset
from training.sample import Sample, honest_share, sample_weights
from training.split import Split, check_classes, split_by_days, split_by_share
from training.tables import DatasetError
from training.terminal_labels import TerminalLabels

_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Examples:
    """One row a transaction, ordered by event time.

    Attributes:
        matrix: [rows, features].
        labels: [rows], 1 for fraud.
        days: [rows], since 1970-01-01.
        known: [rows], whether it is known that the label is right; else 0 stands for one that has not come.
        known_as_fraud_from: [rows], the day from which on it was known as a fraud.
        customers: [rows]; None where the data names no customers.
        terminals: [rows]; None where the data names no terminals.
        features: names of the matrix' columns.
        split: which rows to train and test on.
        terminal_risk: the snapshot to serve beside the model; None where the data names no terminals.
        weights: [rows], how often a row of `split.train` counts, 0 for those that only choose a threshold;
            None where all are learnt from.
        honest_share: of the honest rows of `split.train`, the share that is learnt from.
        left_out: rows of the training period that have no row here.

    """

    matrix: NDArray[np.float32]
    labels: NDArray[np.int8]
    days: NDArray[np.int32]
    known: NDArray[np.bool_]
    known_as_fraud_from: NDArray[np.int32]
    customers: NDArray[np.object_] | None
    terminals: NDArray[np.object_] | None
    features: tuple[str, ...]
    split: Split
    terminal_risk: pa.Table | None
    weights: NDArray[np.float32] | None = None
    honest_share: float = 1.0
    left_out: int = 0

    def learnt_from(
        self, rows: slice
    ) -> tuple[NDArray[np.float32], NDArray[np.int8], NDArray[np.float32] | None]:
        """Give matrix, labels and weights of a part of the training rows, those with a label."""
        if self.weights is None:
            learnt = self.known[rows]
            return self.matrix[rows][learnt], self.labels[rows][learnt], None
        learnt = self.weights[rows] > 0
        return self.matrix[rows][learnt], self.labels[rows][learnt], self.weights[rows][learnt]

    def known_compromised(self) -> NDArray[np.bool_]:
        """Tell which test rows are of cards that were known to be compromised by then: [test rows]."""
        test = self.split.test
        if self.customers is None:
            return np.zeros(_count(test), dtype=bool)
        # frauds of as many days before the delay as are tested, however long the training: others are settled
        known = slice(self.split.validation.start, test.stop)
        blocked = known_compromised(self.days[known], self.customers[known], self.known_as_fraud_from[known])
        return blocked[-_count(test) :]

    def period(self, part: str, rows: slice) -> dict[str, str | int | float | None]:
        """Describe a part of the rows: days, transactions, frauds, and how many have no label."""
        days = self.days[rows]
        unlabelled = int((~self.known[rows]).sum())
        return {
            f"{part}_from": str(_EPOCH + timedelta(days=int(days[0]))),
            f"{part}_to": str(_EPOCH + timedelta(days=int(days[-1]))),
            f"{part}_transactions": len(days) + (self.left_out if rows == self.split.train else 0),
            f"{part}_frauds": int(self.labels[rows].sum()),
            **({f"{part}_unlabelled": unlabelled} if unlabelled else {}),
        }


class Prepared(NamedTuple):
    """Examples for a model to serve, and for its twin, which is made in the same way before a test period.

    Attributes:
        twin: ends with the test period.
        final: the latest that can be learnt from; it has no test part.

    """

    twin: Examples
    final: Examples


def prepare(
    data: LabelledData,
    train_days: int,
    test_days: int,
    *,
    validate: bool = True,
    max_rows: int | None = None,
) -> Prepared:
    """Compute features and split by time.

    Args:
        data: labelled; it ends where the model's knowledge is to end.
        train_days: length of the training period (kind `history`).
        test_days: length of the test period, the end of the data (kind `history`).
        validate: whether a threshold is chosen; then the parts for its choice need frauds too.
        max_rows: to learn from (kind `history`); None: all. Histories are of all rows either way.

    Raises:
        DatasetError: no labels, too few days, or a part without frauds.

    """
    _check_labelled(data)
    dataset = data.transactions
    if dataset.kind == "columns":
        if max_rows is not None:
            raise DatasetError(f"{dataset.source}: --max-rows is for transactions of customers")
        matrix = dataset.frame[list(dataset.feature_columns)].to_numpy(np.float32)
        return Prepared(
            *(
                Examples(
                    matrix,
                    each.labels,
                    dataset.days(),
                    each.known,
                    data.known_as_fraud_from(),
                    None,
                    None,
                    dataset.feature_columns,
                    each.split,
                    None,
                )
                for each in _splits_ready(data, validate=validate)
            )
        )
    ends = _ends(data, test_days)
    each = prepare_each(data, train_days, test_days, ends, validate=validate, max_rows=max_rows)
    return Prepared(*(each[end] for end in ends))


def _ends(data: LabelledData, test_days: int) -> tuple[int, int]:
    """Give the days after the twin's test period, and after one that begins now and has no rows."""
    end = data.labelled_until_day
    now = int(data.transactions.days()[-1]) + 1
    if data.transactions.label is None:
        # labels may have come after the last transaction
        now = max(now, end + data.label_delay_days)
    return end, now + test_days


def prepare_each(  # noqa: PLR0913 - a protocol has that many numbers
    data: LabelledData,
    train_days: int,
    test_days: int,
    ends: Iterable[int],
    *,
    validate: bool = False,
    max_rows: int | None = None,
) -> dict[int, Examples]:
    """Compute features once, and split them for test periods that end at different times.

    Args:
        data: labelled, of kind `history`.
        train_days: length of each training period.
        test_days: length of each test period.
        ends: the day after each test period, since 1970-01-01.
        validate: as for `prepare`.
        max_rows: to learn from, of each training period.

    Returns:
        Examples by end; they share one matrix.

    Raises:
        DatasetError: as for `prepare`.

    """
    _check_labelled(data)
    dataset = data.transactions
    if dataset.kind != "history":
        raise DatasetError(f"{dataset.source}: ready columns have no customers and days to split by")
    days = dataset.days()
    splits = {end: _split(data, train_days, test_days, end, validate=validate) for end in ends}
    terminals = _terminals(data)
    # Older transactions lie in no customer's window; terminals are told of all.
    earliest = min(each.split.fit.start for each in splits.values())
    first = int(np.searchsorted(days, days[earliest] - WARM_UP_DAYS))
    recent = dataset.tail(first)
    samples = {end: _weights(data, each, max_rows) for end, each in splits.items() if max_rows is not None}
    frauds_from = data.known_as_fraud_from()
    wanted = _wanted(len(days), splits, samples)[first:]
    matrix = replay_dataset(recent, terminals, wanted)
    snapshot = terminals.snapshot(terminals.last_day + 1)
    # where each row went
    at = np.concatenate(([0], np.cumsum(wanted)))
    examples = {}
    for end, (labels, known, split) in splits.items():
        here = Split(*(slice(int(at[rows.start - first]), int(at[rows.stop - first])) for rows in split))
        sample = samples.get(end)
        examples[end] = Examples(
            matrix=matrix,
            labels=labels[first:][wanted],
            days=days[first:][wanted],
            known=known[first:][wanted],
            known_as_fraud_from=frauds_from[first:][wanted],
            customers=recent.frame["customer_id"].to_numpy()[wanted],
            terminals=recent.frame["terminal_id"].to_numpy()[wanted],
            features=FEATURE_NAMES,
            split=here,
            terminal_risk=snapshot,
            weights=None if sample is None else sample.weights[first:][wanted],
            honest_share=1.0 if sample is None else sample.honest_share,
            left_out=_count(split.train) - _count(here.train),
        )
    return examples


class _Labelled(NamedTuple):
    """Labels as known when a test begins, those of the test as known now; and the split."""

    labels: NDArray[np.int8]
    known: NDArray[np.bool_]
    split: Split


class Rows(NamedTuple):
    """Labelled transactions of a span of days: [rows, features], and [rows] of each other."""

    matrix: NDArray[np.float32]
    labels: NDArray[np.int8]
    days: NDArray[np.int32]
    customers: NDArray[np.object_]


def rows_from(data: LabelledData, first_day: int, end_day: int) -> Rows:
    """Compute features of the transactions with a label from a day on to before another."""
    dataset, days = data.transactions, data.transactions.days()
    begin, stop = np.searchsorted(days, (first_day, max(first_day, end_day)))
    wanted = np.zeros(len(days), dtype=np.bool_)
    wanted[begin:stop] = data.labelled_by_now()[begin:stop]
    if not wanted.any():
        nothing = np.zeros(0, np.int32)
        return Rows(
            np.zeros((0, len(FEATURE_NAMES)), np.float32),
            nothing.astype(np.int8),
            nothing,
            np.zeros(0, object),
        )
    terminals = _terminals(data)
    first = int(np.searchsorted(days, first_day - WARM_UP_DAYS))
    matrix = replay_dataset(dataset.tail(first), terminals, wanted[first:])
    customers = dataset.frame["customer_id"].to_numpy()
    return Rows(matrix, data.known_by_now()[wanted], days[wanted], customers[wanted])


def _terminals(data: LabelledData) -> TerminalLabels:
    return TerminalLabels(
        data.transactions.frame["terminal_id"].tolist(),
        data.transactions.days(),
        data.known_in_time(),
        data.found_out_later(),
        data.label_delay_days,
    )


def _weights(data: LabelledData, labelled: _Labelled, max_rows: int) -> Sample:
    """Choose what is learnt from of the training periods, the same share of both; 0 for all other rows."""
    labels, known, split = labelled
    ids = data.transactions.frame["transaction_id"]
    share = honest_share(labels[split.train][known[split.train]], max_rows, data.transactions.source)
    weights = np.zeros(len(labels), dtype=np.float32)
    for rows in (split.fit, split.train):
        weights[rows] = np.where(known[rows], sample_weights(ids.iloc[rows], labels[rows], share), 0)
    return Sample(weights, share)


def _wanted(rows: int, splits: dict[int, _Labelled], samples: dict[int, Sample]) -> NDArray[np.bool_]:
    """Tell whose features are needed: all, or what is learnt from, chooses the threshold or comes after."""
    if not samples:
        return np.ones(rows, dtype=np.bool_)
    wanted = np.zeros(rows, dtype=np.bool_)
    for end, (_, _, split) in splits.items():
        wanted[split.validation] = wanted[split.train.stop : split.test.stop] = True
        wanted |= samples[end].weights > 0
    return wanted


def days_to_prepare(train_days: int, test_days: int, delay_days: int) -> int:
    """Give the number of days of data that `prepare` reads at most, today included."""
    # what chooses the twin's threshold learns as long before; its oldest features reach further back
    return 3 * delay_days + 2 * test_days + train_days + reach_days(delay_days) + 2


def check(data: LabelledData, train_days: int, test_days: int, *, validate: bool = True) -> None:
    """Check that `prepare` would succeed, without features; DatasetError as for `prepare`."""
    _check_labelled(data)
    if data.transactions.kind == "columns":
        _splits_ready(data, validate=validate)
        return
    for end in _ends(data, test_days):
        _split(data, train_days, test_days, end, validate=validate)


def _splits_ready(data: LabelledData, *, validate: bool) -> list[_Labelled]:
    """Split for the twin, and for what is served."""
    labels, known, times_s = data.known_by_now(), data.labelled_by_now(), data.transactions.times_s()
    splits = [split_by_share(times_s), split_by_share(times_s, test=False)]
    for split in splits:
        check_classes(data.transactions.source, labels, known, split, validate=validate)
    return [_Labelled(labels, known, split) for split in splits]


def _split(data: LabelledData, train_days: int, test_days: int, end: int, *, validate: bool) -> _Labelled:
    source, days = data.transactions.source, data.transactions.days()
    split = split_by_days(source, days, train_days, data.label_delay_days, test_days, end=end)
    labels, known = data.known_by_now(), data.labelled_by_now()
    if split.test.start < split.test.stop:
        # what is tested has learnt from what was known when the test began
        before, begin = slice(0, split.train.stop), end - test_days
        labels[before] = data.known_on(begin)[before]
        known[before] = data.labelled_on(begin)[before]
    check_classes(source, labels, known, split, validate=validate)
    return _Labelled(labels, known, split)


def _check_labelled(data: LabelledData) -> None:
    dataset = data.transactions
    if dataset.frame.empty:
        raise DatasetError(f"{dataset.source}: no transactions in the period asked for (--since, --until)")
    if not data.is_labelled:
        names = label_spellings(dataset.kind)
        raise DatasetError(
            f"{dataset.source}: missing column {names}. Training needs labels: 0 or 1, 1 for fraud; "
            "or those that came back, by --labels s3://datalake/labels"
        )


def _count(rows: slice) -> int:
    return int(rows.stop - rows.start)
