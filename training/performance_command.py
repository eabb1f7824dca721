"""`fraud-performance`: what scores were worth while they served, by labels that came since; page and JSON."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from flink_jobs.domain.features import LABEL_DELAY_DAYS
from flink_jobs.domain.history import DAY_S
from flink_jobs.store.lake import LakeError
from flink_jobs.store.object_store import ObjectStoreError
from flink_jobs.store.settings import NoSettingsError, SettingsError, defaults_named, load_settings
from training.column_option import location
from training.metrics import CARDS_A_DAY
from training.options import delay_days, instant_text, positive
from training.performance import TIMES
from training.performance_page import performance_page
from training.performance_weeks import performance_of
from training.printable import printable, warn
from training.promotions import Promotions
from training.release_writer import PromotionError
from training.served_data import ServedData, known_labels, open_served, period, read_served
from training.steps import step
from training.tables import DatasetError

_EPILOG = """\
examples:
  fraud-performance                              the last 28 days in the lake, labels as known now
  fraud-performance --until 2018-08-01 --as-of 2018-08-08
                                                 the 28 days before August, labels as known a week later
  fraud-performance --cards 50                   CardPrecision@50: as many cards a day as somebody looks into

Predictions, transactions and labels come from the lake. Transactions count on the day on which they
happened, labels from when they were given. What nobody labelled is unknown: label the alerts, and what
`fraud-label --control` lists. Ends with 0 when page and numbers were written, else with 1.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when page and numbers were written."""
    options = _parser().parse_args(argv)
    try:
        return _run(options)
    except (DatasetError, LakeError, ObjectStoreError, OSError, SettingsError) as error:
        print(f"fraud-performance: {printable(str(error))}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    lake = options.lake or f"s3://{load_settings(options.settings).buckets.datalake}"
    as_of = _instant(options.as_of) or datetime.now(UTC)
    transactions, predictions = open_served(lake, options.settings)
    since, until = period(transactions, options.days, _instant(options.since), _instant(options.until))
    with step(f"Reading labels of {lake}"):
        history = known_labels(lake, options.labels, options.settings, since, as_of)
    with step(f"Reading transactions and predictions from {since:%Y-%m-%d} to {until:%Y-%m-%d}"):
        data = read_served(transactions, predictions, history, since, until)
    if not data.predicted.any():
        raise LakeError(
            f"{predictions.name}: none of {len(data.frame):,} transactions from {since:%Y-%m-%d} to "
            f"{until:%Y-%m-%d} has a prediction; choose another --until or more --days"
        )
    delay_days = _label_delay(options)
    notes = [*data.notes, *([] if history else [f"{lake}/labels: there are no labels yet"])]
    due = as_of.date() - timedelta(days=delay_days)
    if since.date() >= due:
        notes.append(
            f"no label of this period is due yet, as labels come {delay_days} days late: --until {due} ends "
            "it with the last day whose labels are due"
        )
    warn(notes)
    models = _models(options, data, as_of, delay_days)
    numbers: dict[str, Any] = {
        "lake": lake,
        "since": f"{since:%Y-%m-%dT%H:%MZ}",
        "until": f"{until:%Y-%m-%dT%H:%MZ}",
        "as_of": f"{as_of:%Y-%m-%dT%H:%MZ}",
        "transactions": len(data.frame),
        "predicted": int(data.predicted.sum()),
        "left_out": data.left_out,
        "cards_a_day": options.cards,
        "draws": TIMES,
        "interval": 0.9,
        "notes": notes,
        "models": models,
    }
    with step(f"Writing {options.output}/performance.html and performance.json"):
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "performance.json").write_text(json.dumps(numbers, indent=2) + "\n")
        (options.output / "performance.html").write_text(performance_page(numbers))
    _report(models)
    return 0


def _models(
    options: argparse.Namespace, data: ServedData, as_of: datetime, delay_days: int
) -> list[dict[str, Any]]:
    found = []
    as_of_day = int(as_of.timestamp() // DAY_S)
    for model in data.models(_thresholds(options.settings)):
        with step(f"Measuring {model.role} {model.version} on {len(model.served.scores):,} transactions"):
            found.append(performance_of(model, options.cards, delay_days, as_of_day, TIMES))
    return found


def _thresholds(settings_file: str | None) -> Callable[[str], float | None]:
    """Give what tells a model's threshold by its manifest; None where that is not to be had."""

    @cache
    def threshold_of(version: str) -> float | None:
        try:
            return Promotions(load_settings(settings_file)).manifest(version).threshold
        except (ObjectStoreError, PromotionError, SettingsError) as error:
            warn([f"the threshold of model {version} is not known: {error}"])
            return None

    return threshold_of


def _label_delay(options: argparse.Namespace) -> int:
    if options.label_delay is not None:
        return int(options.label_delay)
    try:
        return load_settings(options.settings).label_delay_days
    except NoSettingsError:
        return LABEL_DELAY_DAYS


def _report(models: Sequence[dict[str, Any]]) -> None:
    print()
    for model in models:
        print(f"  {model['role']} {model['version']}")
        for words, name, form in (
            ("alerts", "alerts", ",.0f"),
            ("alerts that are frauds", "precision", ".0%"),
            ("frauds caught", "recall", ".0%"),
            ("average precision", "average_precision", ".3f"),
            ("CardPrecision", "card_precision", ".3f"),
            ("money caught", "money_caught", ",.0f"),
            ("money missed", "money_missed", ",.0f"),
        ):
            figure = model["period"][name]
            if figure["value"] is None:
                print(f"    {words:<24}unknown: {figure['reason']}")
                continue
            ends = [figure[end] for end in ("lower", "upper")]
            between = "" if None in ends else f"   {ends[0]:{form}} to {ends[1]:{form}}"
            print(f"    {words:<24}{figure['value']:>10{form}}{between}")
        for words, name in (
            ("alerts labelled", "alerts_labelled_share"),
            ("controls labelled", "control_labelled_share"),
        ):
            share = model["period"][name]
            print(f"    {words:<24}{'-' if share is None else f'{share:.0%}':>10}")
    print()


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fraud-performance",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--lake",
        type=location,
        metavar="DIR",
        help="a copy of the lake, or s3://bucket (default: the settings' bucket)",
    )
    parser.add_argument(
        "--labels",
        type=location,
        metavar="FILE",
        help="CSV or Parquet with transaction_id, is_fraud and labelled_at (default: the lake's labels)",
    )
    parser.add_argument(
        "--days", type=positive, default=28, metavar="N", help="length of the period (default: %(default)s)"
    )
    parser.add_argument(
        "--since", type=instant_text, metavar="TIME", help="begin of the period, instead of --days"
    )
    parser.add_argument(
        "--until",
        type=instant_text,
        metavar="TIME",
        help="its end (default: the last day with a transaction)",
    )
    parser.add_argument(
        "--as-of",
        type=instant_text,
        metavar="TIME",
        help="leave out labels given from then on (default: now)",
    )
    parser.add_argument(
        "--label-delay",
        type=delay_days,
        metavar="DAYS",
        help=f"how late labels come (default: the settings' label_delay_days, else {LABEL_DELAY_DAYS})",
    )
    parser.add_argument(
        "--cards",
        type=positive,
        default=CARDS_A_DAY,
        metavar="K",
        help="for CardPrecision@K, cards a day (default: %(default)s)",
    )
    parser.add_argument("--settings", metavar="FILE", help=f"where MinIO is (default: {defaults_named()})")
    parser.add_argument(
        "--output", type=Path, default=Path("build"), metavar="DIR", help="(default: %(default)s)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
