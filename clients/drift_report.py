"""fraud-drift: tells how far recent transactions have moved from those that the model was tested on."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from clients.command import argument_parser, instant, positive_int, run
from clients.drift_alarms import FALSE_ALARMS, TESTS
from clients.drift_measure import Drift, Knowledge, measure
from clients.drift_source import File, Source, lake_labels
from clients.process import ClientError
from flink_jobs.domain.drift import LARGE, SCORE, SOME, reading
from flink_jobs.domain.manifest import Manifest
from flink_jobs.domain.model import ONNX_FILE, ServedModel
from flink_jobs.domain.scoring import Scorer
from flink_jobs.domain.terminal_risk import RISK_FILE, TerminalRisk
from flink_jobs.store.lake import LABELS_FOLDER, open_lake
from flink_jobs.store.model_registry import MANIFEST_FILE, ModelRegistry
from flink_jobs.store.object_store import ObjectMissingError
from flink_jobs.store.settings import Settings, load_settings
from training.column_option import add_columns, location
from training.printable import warn
from training.risk_renewal import Renewal

EXIT_DRIFTED = 1
_EPILOG = f"""\
examples:
  fraud-drift                                         the last 7 days in the lake, the promoted model
  fraud-drift --days 28 --until 2018-08-01            the 28 days before August
  fraud-drift --model build/model --data july.csv     a model and transactions on disk

The period is replayed through what the job does: histories reach back before it, and terminals' frauds are
those that were known when each day began, as far as the lake still tells, else those that the job looks up.
Each feature's PSI (population stability index) compares the shares of its values with those of the test
period that the model was published with. Below {SOME} is read as no change, up to {LARGE} as some, above as
large. Whole weeks are worth comparing: habits differ by day and hour.

It rings where terminal risk ended a day before the period does; where labels are missing that should be in;
where the share of alerts, or of frauds where labels are in, is not what the manifest promises; and where
alerts come or go once terminals are as they are known, not as they were served. By chance, a week of a model
that does as its manifest says rings about once in {round(1 / (TESTS * FALSE_ALARMS))} weeks.

Ends with 0; with 1 where it rings or a PSI is large; with 2 where nothing could be measured.
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    parser = argument_parser(
        "fraud-drift", "Compare recent transactions with the model's test period.", _EPILOG
    )
    parser.add_argument(
        "--model", type=Path, metavar="DIR", help="a model that fraud-train wrote (default: the promoted one)"
    )
    parser.add_argument(
        "--data",
        type=location,
        metavar="FILE",
        help="CSV or Parquet, a path or s3://bucket/key (default: the lake)",
    )
    add_columns(parser)
    parser.add_argument(
        "--days", type=positive_int, default=7, metavar="N", help="length of the period (default: 7)"
    )
    parser.add_argument(
        "--until", type=instant, metavar="TIME", help="end of the period (default: the last event time)"
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    return run(_command, parser, argv)


def _command(args: argparse.Namespace) -> int:
    if args.columns and not args.data:
        raise ClientError("--columns needs --data, whose columns it tells")
    settings = None if args.model and args.data else load_settings(args.settings)
    scorer = local_scorer(args.model) if args.model or settings is None else promoted_scorer(settings)
    delay_days = scorer.manifest.label_delay_days
    source: Source
    knowledge = Knowledge()
    if args.data or settings is None:
        source = file = File(args.data, args.settings, args.columns, args.columns_option)
        warn(file.notes)
        if file.is_labelled:
            knowledge = Knowledge(file.known_on(delay_days), file.labels(delay_days), scorer.first_day)
    else:
        source = open_lake(settings)
        labels = lake_labels(
            open_lake(settings, LABELS_FOLDER),
            unlabelled_is_honest=settings.unlabelled_is_honest,
            control_share=settings.control_share,
        )
        # a table that is served has few days, what it was made of has more
        known_on = None if args.model else Renewal(settings, datetime.now(UTC)).replayed
        knowledge = Knowledge(known_on, labels)
    until_s = args.until.timestamp() if args.until else None
    drift = measure(scorer, source, args.days, until_s, knowledge)
    print(msgspec.json.encode(drift).decode() if args.json else drift_table(drift), flush=True)
    return EXIT_DRIFTED if drift.alarms or max(drift.psi.values()) > LARGE else 0


def drift_table(drift: Drift) -> str:
    """Write the result for people: the score, then features, the most changed first."""
    names = sorted(drift.psi, key=lambda name: (name != SCORE, -drift.psi[name]))
    width = max(map(len, names)) + 2
    period = f"{drift.since:%Y-%m-%d %H:%M} to {drift.until:%Y-%m-%d %H:%M}"
    lines = [
        f"model {drift.model} on {drift.transactions:,} transactions, {period}, {drift.source}",
        "",
        f"{'':<{width}}{'PSI':>7}  {'change':<8}what changed most",
    ]
    for name in names:
        index = drift.psi[name]
        low, high, then, now = drift.moved[name]
        line = f"{name:<{width}}{index:>7.3f}  {reading(index):<8}"
        if index >= SOME:
            line += f"{_interval(low, high)}: {then:.1%} then, {now:.1%} now"
        lines.append(line.rstrip())
    low, high = drift.alerts_bounds
    lines.append(
        f"{'alerts':<{width}}{drift.alerts_then:.2%} of transactions then, {drift.alerts_now:.2%} now; "
        f"{low:.2%} to {high:.2%} is chance"
    )
    judged = f", {' to '.join(map(str, drift.judged))}" if drift.judged else ""
    for name, each in drift.foretold.items():
        lines.append(
            f"{f'frauds in {name}':<{width}}{each.frauds:,} of {each.transactions:,} labelled{judged}; "
            f"{each.expected:,.0f} were foretold"
        )
    lines += [f"{f'frauds in {name}':<{width}}unknown: {reason}" for name, reason in drift.untold.items()]
    if drift.alarms:
        lines += ["", *(f"rings: {alarm}" for alarm in drift.alarms)]
    return "\n".join(lines)


def promoted_scorer(settings: Settings) -> Scorer:
    """Load what the job serves; ClientError or ObjectStoreError where there is nothing that can be."""
    registry = ModelRegistry(settings)
    try:
        return registry.load_newest()
    except ObjectMissingError as error:
        raise ClientError(
            f"what is released cannot be loaded: {error}. docs/models.md says how the file is brought back; "
            "--model DIR measures a model on disk"
        ) from None
    except ValueError as error:
        raise ClientError(str(error)) from None


def local_scorer(folder: Path) -> Scorer:
    """Load what fraud-train wrote; ClientError where it did not."""
    try:
        manifest = Manifest.from_json((folder / MANIFEST_FILE).read_bytes())
        model = ServedModel.from_onnx(manifest, (folder / ONNX_FILE).read_bytes())
        if manifest.kind == "columns":
            return Scorer(model, TerminalRisk.empty())
        return Scorer(model, TerminalRisk.from_parquet((folder / RISK_FILE).read_bytes()))
    except OSError as error:
        raise ClientError(f"{error.filename}: {error.strerror}; fraud-train writes models") from None
    except ValueError as error:
        raise ClientError(f"{folder}: {error}") from None


def _interval(low: float | None, high: float | None) -> str:
    if low is None:
        return f"below {high:,.4g}"
    return f"{low:,.4g} and more" if high is None else f"{low:,.4g} to {high:,.4g}"


if __name__ == "__main__":
    sys.exit(main())
