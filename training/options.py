"""Command line options of `fraud-train` and `fraud-evaluate`, and the data and parameters that they name."""

import argparse
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime

import numpy as np
from numpy.typing import NDArray

from flink_jobs.domain.features import LABEL_DELAY_DAYS
from flink_jobs.domain.history import DAY_S
from flink_jobs.store.lake import EmptyLakeError, LakeError, find_lake
from flink_jobs.store.settings import MAX_LABEL_DELAY_DAYS, NoSettingsError, defaults_named, load_settings
from training.column_option import add_columns, columns_given, location
from training.dataset import Dataset, load
from training.examples import Prepared, prepare
from training.forest import Forest
from training.instants import parse_instant
from training.label_history import LabelHistory, read_label_history
from training.labelled_data import NEVER, LabelledData
from training.printable import warn
from training.procedure import TEST_DAYS, TRAIN_DAYS
from training.simulate import simulated_dataset
from training.steps import step
from training.tables import DatasetError
from training.threshold import Rule

# If fewer of the labels are of a transaction, ids may be written in different ways.
_FEW_JOINED = 0.5


def add_data(parser: argparse.ArgumentParser, *, tested: str, unless_given: str = "a simulation") -> None:
    """Add the options of the data and of its split.

    Args:
        parser: the command's.
        unless_given: says in the help what data is used without `--data`.
        tested: says in the help where the test period lies.

    """
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        type=location,
        metavar="FILE",
        help="CSV or Parquet, a path or s3://bucket/key, or the lake's folder "
        f"s3://datalake/raw/transactions (default: {unless_given})",
    )
    data.add_argument(
        "--labels",
        type=location,
        metavar="FILE",
        help="labels that came back, joined by transaction_id: the lake's folder s3://datalake/labels, or "
        "CSV or Parquet with transaction_id, is_fraud and labelled_at; none counts before it was known",
    )
    add_columns(data)
    data.add_argument(
        "--label-columns",
        type=columns_given,
        metavar="MAP",
        help="the same of a file of labels: labelled_at=decided*1s",
    )
    data.add_argument(
        "--since", type=instant_text, metavar="TIME", help="leave out earlier transactions (ISO 8601, UTC)"
    )
    data.add_argument(
        "--until", type=instant_text, metavar="TIME", help="leave out what came from then on, labels included"
    )
    data.add_argument(
        "--train-days",
        type=positive,
        default=TRAIN_DAYS,
        metavar="N",
        help="length of the training period (default: %(default)s)",
    )
    data.add_argument(
        "--test-days",
        type=positive,
        default=TEST_DAYS,
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
        "--unlabelled",
        choices=("honest", "unknown"),
        help="what a transaction without any label counts as once the delay is over (default: honest where "
        "the settings' unlabelled_is_honest says so, else unknown)",
    )
    data.add_argument(
        "--max-rows",
        type=positive,
        metavar="N",
        help="learn from all frauds and, by a hash of the id, as many honest transactions as make N rows, "
        "each counted for those that it stands for; histories, threshold and test are of all "
        "(default: from all)",
    )
    data.add_argument(
        "--settings",
        metavar="FILE",
        help=f"where MinIO is (default: {defaults_named()})",
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


def read(options: argparse.Namespace) -> LabelledData:
    """Read the data that the options of `add_data` name.

    Raises:
        DatasetError: as for `training.dataset.load`; or `--columns` without a file.
        SettingsError: only the settings can say how late labels come, and they cannot be read.

    """
    for file, columns in (("data", "columns"), ("labels", "label_columns")):
        if getattr(options, columns) and not getattr(options, file):
            raise DatasetError(f"--{columns.replace('_', '-')} needs --{file}, whose columns it tells")
    delay_days, unlabelled_is_honest = _of_labels(options)
    with step(f"Reading {options.data or 'a simulation'}"):
        if options.data:
            dataset = load(
                options.data,
                options.settings,
                options.since,
                options.until,
                options.columns,
                options.columns_option,
            )
        else:
            dataset = simulated_dataset().between(options.since, options.until)
    warn(dataset.notes)
    if dataset.left_out:
        print(f"  left out {dataset.left_out:,} records that are refused, repeated, or of no customer")
    today = _day_begun(options.until)
    if not options.labels:
        return LabelledData(dataset, label_delay_days=delay_days, today=today)
    with step(f"Reading labels from {options.labels}"):
        # no label comes before its payment
        since = parse_instant(options.since) if options.since else None
        history = read_label_history(options.labels, options.settings, options.label_columns, since)
        history = history.before(options.until)
        data = LabelledData(dataset, history, delay_days, unlabelled_is_honest, today)
        frauds = data.known_by_now() == 1
    warn(history.notes)
    labelled = dataset.frame["transaction_id"].isin(history.frame["transaction_id"]).to_numpy()
    _tell_labels(history, labelled, frauds)
    warn(_unjoined(history, dataset, cut=options.since is not None))
    warn(_late(data))
    return data


def lake_data(
    settings_file: str | None, data: str | None, labels: str | None, first: Callable[[date], date]
) -> LabelledData:
    """Read transactions and labels of files, or else of the lake.

    Args:
        settings_file: says where the lake is.
        data: a file; None for the lake.
        labels: a file; None for the lake's, or for those of the file.
        first: gives the first day that is needed of the lake, whose last day it is given.

    Raises:
        DatasetError: as for `read`.
        SettingsError: there are no settings, or they cannot be read.

    """
    none = ("columns", "label_columns", "since", "until", "label_delay", "unlabelled")
    options = argparse.Namespace(settings=settings_file, data=data, labels=labels, **dict.fromkeys(none))
    options.columns_option = "--columns"
    if not data:
        name_lake(options)
        read_from(options, first)
    return read(options)


def read_from(options: argparse.Namespace, first: Callable[[date], date]) -> None:
    """Read the lake, which grows for ever, from a day on, unless the options say since when.

    Args:
        options: name the lake.
        first: gives that day, from the last day on which a transaction happened.

    Raises:
        DatasetError: the lake cannot be read.

    """
    if options.since:
        return
    now_s = datetime.now(UTC).timestamp()
    before_s = min(now_s, parse_instant(options.until).timestamp()) if options.until else now_s
    try:
        lake = find_lake(options.data, options.settings)
        last_s = lake and lake.last_event_s(before_s)
    except EmptyLakeError:
        return
    except LakeError as error:
        raise DatasetError(str(error)) from None
    if last_s:
        options.since = first(datetime.fromtimestamp(last_s, UTC).date()).isoformat()


def delay_of(options: argparse.Namespace) -> int:
    """Tell how late labels come, in days; SettingsError as for `read`."""
    return _of_labels(options)[0]


def name_lake(options: argparse.Namespace) -> None:
    """Name the lake's transactions and labels where the options name no data."""
    if not options.data:
        lake = f"s3://{load_settings(options.settings).buckets.datalake}"
        options.data, options.labels = f"{lake}/raw/transactions", options.labels or f"{lake}/labels"


def _of_labels(options: argparse.Namespace) -> tuple[int, bool]:
    """Tell how late labels come, and whether a transaction without one is honest then."""
    delay_days, unlabelled = options.label_delay, options.unlabelled
    if delay_days is None or (unlabelled is None and options.labels):
        try:
            settings = load_settings(options.settings)
        except NoSettingsError:
            if options.settings:
                raise
        else:
            delay_days = settings.label_delay_days if delay_days is None else delay_days
            unlabelled = unlabelled or ("honest" if settings.unlabelled_is_honest else "unknown")
    return LABEL_DELAY_DAYS if delay_days is None else delay_days, unlabelled == "honest"


def _day_begun(until: str | None) -> int:
    """Give the day that is not over, in days since 1970-01-01: that of `until`, today's at the latest."""
    now = datetime.now(UTC)
    moment = now if until is None else min(now, parse_instant(until))
    return int(moment.timestamp() // DAY_S)


def _late(data: LabelledData) -> Iterator[str]:
    """Say so where most frauds become known after the delay, when they are taken for honest."""
    known, days = data.known_as_fraud_from(), data.transactions.days()
    frauds = known < NEVER
    waited = known[frauds] - days[frauds] - 1
    if len(waited) and np.median(waited) > data.label_delay_days:
        yield (
            f"half of the frauds became known {int(np.median(waited))} days after they happened or later, "
            f"but labels are said to come {data.label_delay_days} days late; --label-delay or "
            "label_delay_days of the settings tells how late they are"
        )


def _tell_labels(history: LabelHistory, labelled: NDArray[np.bool_], frauds: NDArray[np.bool_]) -> None:
    print(
        f"  {len(history.frame):,} labels; {int(labelled.sum()):,} of {len(labelled):,} transactions have "
        f"one, {int((labelled & frauds).sum()):,} of these are frauds"
    )
    if history.left_out:
        print(f"  left out {history.left_out:,} records that are no labels")


def _unjoined(history: LabelHistory, dataset: Dataset, *, cut: bool) -> Iterator[str]:
    """Say so where few labels are of a transaction; of data that is cut, where none is."""
    ours, theirs = dataset.frame["transaction_id"], history.frame["transaction_id"]
    if ours.empty or theirs.empty:
        return
    joined = int(theirs.isin(ours).sum())
    if joined == 0 or (joined < _FEW_JOINED * len(theirs) and not cut):
        yield (
            f"{history.source}: {joined:,} of {len(theirs):,} labels belong to a transaction of the data. "
            f"Are ids written alike? Labels have {theirs.iloc[0]!r}, transactions {ours.iloc[0]!r}"
        )


def forest_of(options: argparse.Namespace) -> Forest:
    """Give the parameters of `add_forest`."""
    return Forest(**{name: getattr(options, name) for name in Forest._fields})


def add_threshold(parser: argparse.ArgumentParser) -> None:
    """Add the choice of a rule."""
    group = parser.add_argument_group(
        "threshold", "by default the one of best F1 on the end of the training period"
    ).add_mutually_exclusive_group()
    group.add_argument("--threshold", type=share, metavar="SCORE", help="raise an alert from this score on")
    group.add_argument("--alerts-per-day", type=positive, metavar="N", help="as many as can be looked into")
    group.add_argument(
        "--max-false-positive-rate",
        type=share,
        metavar="R",
        help="the share of honest transactions that may raise an alert, such as 0.001",
    )


def prepare_for(options: argparse.Namespace, data: LabelledData) -> Prepared:
    """Prepare the data for training as the options say, and say so; errors are those of `prepare`."""
    with step(f"Preparing features of {len(data.transactions.frame):,} transactions"):
        return prepare(
            data,
            options.train_days,
            options.test_days,
            validate=options.threshold is None,
            max_rows=options.max_rows,
        )


def rule_of(options: argparse.Namespace) -> Rule:
    """Give the rule that the options of `add_threshold` name."""
    if options.threshold is not None:
        return Rule("given", options.threshold)
    if options.alerts_per_day is not None:
        return Rule("alerts_per_day", options.alerts_per_day)
    if options.max_false_positive_rate is not None:
        return Rule("false_positive_rate", options.max_false_positive_rate)
    return Rule("best_f1")


def instant_text(text: str) -> str:
    """Read an argument that is a time."""
    try:
        return parse_instant(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date or time such as 2018-07-01") from None


def delay_days(text: str) -> int:
    """Read an argument that is a number of days, 0 included."""
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
