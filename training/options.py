"""Command line options that `fraud-train` and `fraud-evaluate` have in common."""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from flink_jobs.domain.features import LABEL_DELAY_DAYS
from flink_jobs.store.settings import MAX_LABEL_DELAY_DAYS, NoSettingsError, load_settings
from training.dataset import LABEL, Dataset, load, parse_instant
from training.forest import Forest
from training.label_history import read_label_history, with_labels
from training.simulate import simulated_dataset


def add_data(parser: argparse.ArgumentParser, *, train_days: int, tested: str) -> None:
    """Add what data there is and how it is split.

    Args:
        parser: the command's.
        train_days: the default.
        tested: says in the help where the test period lies.

    """
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        metavar="FILE",
        help="CSV or Parquet, a path or s3://bucket/key, or the lake's folder "
        "s3://datalake/raw/transactions (default: a simulation)",
    )
    data.add_argument(
        "--labels",
        metavar="FILE",
        help="labels that came back, joined by transaction_id: the lake's folder s3://datalake/labels, or "
        "CSV or Parquet with transaction_id, is_fraud and labelled_at; none counts before it was known",
    )
    data.add_argument(
        "--since", type=instant_text, metavar="TIME", help="leave out what came before (ISO 8601, UTC)"
    )
    data.add_argument(
        "--until", type=instant_text, metavar="TIME", help="know nothing from this time on, labels included"
    )
    data.add_argument(
        "--train-days",
        type=positive,
        default=train_days,
        metavar="N",
        help="length of the training period (default: %(default)s)",
    )
    data.add_argument(
        "--test-days",
        type=positive,
        default=7,
        metavar="N",
        help=f"length of the test period, {tested} (default: %(default)s)",
    )
    data.add_argument(
        "--label-delay",
        type=delay_days,
        metavar="DAYS",
        help=f"how late labels come (default: the settings' label_delay_days, else {LABEL_DELAY_DAYS})",
    )
    data.add_argument(
        "--settings",
        metavar="FILE",
        help="where MinIO is (default: $FRAUD_SETTINGS, build/lab/settings.json)",
    )


def add_forest(parser: argparse.ArgumentParser) -> None:
    """Add the forest's parameters."""
    group = parser.add_argument_group("forest")
    for name, standard in Forest()._asdict().items():
        group.add_argument(
            f"--{name.replace('_', '-')}",
            type=int if name == "seed" else positive,
            default=standard,
            metavar="N",
            help="(default: %(default)s)",
        )


def read(options: argparse.Namespace) -> Dataset:
    """Read what the options of `add_data` ask for; DatasetError as for `training.dataset.load`.

    Afterwards `options.label_delay` is a number, whoever said it; SettingsError where the settings cannot.
    """
    if options.label_delay is None:
        options.label_delay = _label_delay_days(options.settings)
    with step(f"Reading {options.data or 'a simulation'}"):
        dataset = load(options.data, options.settings) if options.data else simulated_dataset()
        dataset = replace(dataset.between(options.since, options.until), label_delay_days=options.label_delay)
    if dataset.left_out:
        print(f"  left out {dataset.left_out:,} records that are refused, repeated, or of no customer")
    return _join_labels(dataset, options) if options.labels else dataset


def _label_delay_days(settings_file: str | None) -> int:
    try:
        return load_settings(settings_file).label_delay_days
    except NoSettingsError:
        if settings_file:
            raise
        return LABEL_DELAY_DAYS


def _join_labels(dataset: Dataset, options: argparse.Namespace) -> Dataset:
    with step(f"Reading labels from {options.labels}"):
        labels = read_label_history(options.labels, options.settings).before(options.until)
        labelled = with_labels(dataset, labels)
    of_these = labelled.frame["transaction_id"].isin(labels.frame["transaction_id"])
    frauds = int((of_these & (labelled.frame[LABEL] == 1)).sum())
    print(
        f"  {len(labels.frame):,} labels; {int(of_these.sum()):,} of {len(of_these):,} transactions have "
        f"one, {frauds:,} of these are frauds"
    )
    if labels.left_out:
        print(f"  left out {labels.left_out:,} records that are no labels")
    return labelled


def forest_of(options: argparse.Namespace) -> Forest:
    """Give the parameters of `add_forest`."""
    return Forest(options.trees, options.max_depth, options.min_samples_leaf, options.seed)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Say what is being done, and how long it took."""
    print(f"{name} …", end="", flush=True)
    begun = time.monotonic()
    try:
        yield
    except BaseException:
        print()
        raise
    print(f" {time.monotonic() - begun:.1f} s")


def instant_text(text: str) -> str:
    """Read an argument that is a time."""
    try:
        return parse_instant(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date or time such as 2018-07-01") from None


def delay_days(text: str) -> int:
    """Read an argument that is a number of days, which may be none."""
    if not text.isdecimal() or int(text) > MAX_LABEL_DELAY_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {MAX_LABEL_DELAY_DAYS}")
    return int(text)


def positive(text: str) -> int:
    """Read an argument that is a whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def share(text: str) -> float:
    """Read an argument that is a share."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value
