import numpy as np
import pytest

from training.split import check_classes, split_by_days, split_by_share
from training.tables import DatasetError


def test_training_waits_for_labels_before_each_test() -> None:
    days = np.repeat(np.arange(100, 190, dtype=np.int32), 3)
    split = split_by_days("file", days, train_days=28, delay_days=7, test_days=7)
    spans = {name: (days[rows][0], days[rows][-1]) for name, rows in split._asdict().items()}
    assert spans == {"train": (148, 175), "test": (183, 189), "fit": (134, 161), "validation": (169, 175)}


def test_what_is_served_is_trained_until_its_labels_are_in() -> None:
    """As for a test that begins when the data ends."""
    days = np.repeat(np.arange(100, 190, dtype=np.int32), 3)
    split = split_by_days("file", days, 28, 7, 7, end=197)
    assert (days[split.train][0], days[split.train][-1]) == (155, 182)
    assert split.test == slice(len(days), len(days))


def test_in_little_data_the_gap_before_validation_gives_way_not_the_training() -> None:
    days = np.arange(111, dtype=np.int32)
    split = split_by_days("file", days, 28, 90, 7)
    assert split == (slice(0, 14), slice(104, 111), slice(0, 7), slice(7, 14))


def test_too_few_days_are_refused() -> None:
    with pytest.raises(DatasetError, match=r"file: spans 27 days, training needs 28 at least"):
        split_by_days("file", np.arange(27, dtype=np.int32), 28, 7, 7)
    split_by_days("file", np.arange(28, dtype=np.int32), 28, 7, 7)


def test_shares_keep_equal_times_together() -> None:
    times = np.repeat(np.arange(20.0), 5)
    split = split_by_share(times)
    assert (split.train, split.test) == (slice(0, 80), slice(80, 100))
    assert (split.fit, split.validation) == (slice(0, 60), slice(60, 80))
    assert times[split.train].max() < times[split.test].min()
    assert times[split.fit].max() < times[split.validation].min()
    uneven = split_by_share(np.array([0.0, 1, 2, 3, 3, 3, 3, 3, 3, 9]))
    assert uneven.test == slice(3, 10)


def test_a_part_without_frauds_is_named() -> None:
    labels = np.zeros(100, dtype=np.int8)
    labels[:60:2] = 1
    split, known = split_by_share(np.arange(100.0)), np.ones(100, dtype=bool)
    with pytest.raises(DatasetError, match=r"file: the test part has 20 transactions, 0 of them frauds"):
        check_classes("file", labels, known, split, validate=True)
    labels[80:90] = 1
    with pytest.raises(DatasetError, match="the validation part has 16 transactions, 0 of them frauds"):
        check_classes("file", labels, known, split, validate=True)
    check_classes("file", labels, known, split, validate=False)
    known[labels == 0] = False
    with pytest.raises(DatasetError, match=r"has 30 labelled transactions, 30 .* --unlabelled honest"):
        check_classes("file", labels, known, split, validate=False)
