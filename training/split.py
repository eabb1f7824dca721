"""Earlier transactions to train on, later ones to test on; never at random."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.tables import DatasetError, TooLittleDataError

# Ready columns have no protocol for splits: the test part is the last fifth.
TEST_SHARE = 0.2
_FEWEST_FRAUDS = 2
_UNLABELLED = (
    ". Where all frauds are labelled, others count as honest by --unlabelled honest, or by "
    "unlabelled_is_honest in the settings"
)


class Split(NamedTuple):
    """Parts of a dataset, as spans of its rows.

    The threshold is chosen on `validation`, the end of `train`, by a model trained on `fit`, earlier days.
    """

    train: slice
    test: slice
    fit: slice
    validation: slice


def split_by_days(  # noqa: PLR0913 - a protocol has that many numbers
    source: str,
    days: NDArray[np.int32],
    train_days: int,
    delay_days: int,
    test_days: int,
    *,
    end: int | None = None,
) -> Split:
    """Split as the Fraud Detection Handbook does: train, wait for the labels, test.

    Args:
        source: names the data in errors.
        days: ascending, since 1970-01-01.
        train_days: length of the training period.
        delay_days: length of the gap, for as long as labels take to arrive.
        test_days: length of the test period; also of the validation period.
        end: the day after the test period; by default the one after the last. Where the test period begins
            after the data, nothing is tested, and training ends as it would today.

    Raises:
        TooLittleDataError: the data spans too few days.

    """
    if end is None:
        end = int(days[-1]) + 1
    first_day = int(days[0])
    shortest = 3 * test_days + delay_days
    if end - first_day < shortest:
        raise TooLittleDataError(
            f"{source}: spans {end - first_day} days, training needs {shortest} at least: "
            f"{test_days} each to train, validate and test on, and {delay_days} until labels are in; "
            "give more data or fewer --test-days"
        )

    def rows(first: int, last: int) -> slice:
        begin, stop = np.searchsorted(days, (first, last))
        return slice(int(begin), int(stop))

    test_begin = end - test_days
    train_end = test_begin - delay_days
    train_begin = train_end - train_days
    validation_begin = train_end - test_days
    # as long as the training period, and as long before what it scores; in little data the gap gives way
    fit_end = min(validation_begin, max(validation_begin - delay_days, first_day + test_days))
    return Split(
        train=rows(train_begin, train_end),
        test=rows(test_begin, end),
        fit=rows(fit_end - train_days, fit_end),
        validation=rows(validation_begin, train_end),
    )


def split_by_share(times_s: NDArray[np.float64], *, test: bool = True) -> Split:
    """Test on the last TEST_SHARE of the rows, validate on the last of the rest.

    Args:
        times_s: ascending; rows of equal time stay together.
        test: whether rows are left to test on.

    """

    def cut(stop: int) -> int:
        return int(np.searchsorted(times_s, times_s[int((1 - TEST_SHARE) * stop)]))

    test_begin = cut(len(times_s)) if test else len(times_s)
    validation_begin = cut(test_begin)
    return Split(
        train=slice(0, test_begin),
        test=slice(test_begin, len(times_s)),
        fit=slice(0, validation_begin),
        validation=slice(validation_begin, test_begin),
    )


def check_classes(
    source: str, labels: NDArray[np.int8], known: NDArray[np.bool_], split: Split, *, validate: bool
) -> None:
    """Check that each part in use has frauds and honest transactions; a test part without rows is not.

    Args:
        source: names the data in errors.
        labels: of all rows of `split`.
        known: of which of them it is known whether they were fraud.
        split: the parts.
        validate: whether the parts that choose a threshold are in use.

    Raises:
        TooLittleDataError: names a part with too few.
        DatasetError: it has frauds only, as nobody labels the rest.

    """
    parts = {"training": split.train}
    if split.test.start < split.test.stop:
        parts |= {"test": split.test}
    if validate:
        parts |= {"first training": split.fit, "validation": split.validation}
    for name, rows in parts.items():
        frauds, total = int(labels[rows][known[rows]].sum()), int(known[rows].sum())
        if frauds < _FEWEST_FRAUDS or total - frauds < _FEWEST_FRAUDS:
            frauds_only = 0 < frauds == total and not known.all()
            raise (DatasetError if frauds_only else TooLittleDataError)(
                f"{source}: the {name} part has {total} {'' if known.all() else 'labelled '}transactions, "
                f"{frauds} of them frauds; {_FEWEST_FRAUDS} of each kind are needed: give more data, other "
                "--train-days and --test-days, or choose the --threshold yourself"
                f"{_UNLABELLED if frauds_only else ''}"
            )
