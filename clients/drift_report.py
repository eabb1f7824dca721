"""fraud-drift: tells how far recent transactions have moved from those that the model was tested on."""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from clients.command import argument_parser, instant, positive_int, run
from clients.process import ClientError
from clients.transaction_source import read_transactions
from flink_jobs.domain.drift import FEWEST_TRANSACTIONS, LARGE, SCORE, SOME, DriftCounts, reading
from flink_jobs.domain.history import DAY_S, KEPT_S
from flink_jobs.domain.manifest import Manifest
from flink_jobs.domain.model import ONNX_FILE, ServedModel
from flink_jobs.domain.scoring import Record, Scorer
from flink_jobs.domain.terminal_risk import RISK_FILE, TerminalRisk
from flink_jobs.domain.transaction import DEFAULT_CURRENCY, MAX_FUTURE_S
from flink_jobs.store.lake import open_lake
from flink_jobs.store.model_registry import MANIFEST_FILE, ModelRegistry
from flink_jobs.store.settings import Settings, load_settings
from training.column_option import add_columns, location
from training.columns import Mapping
from training.printable import warn
from training.risk_renewal import Renewal

EXIT_DRIFTED = 1
_BATCH = 1_000

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

Ends with 0; with 1 where a PSI is large; with 2 where nothing could be measured.
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


class File:
    """Transactions of a file, as the producer would send them.

    Attributes:
        notes: what a user should know of the file, a sentence each.

    """

    def __init__(
        self,
        location: str,
        settings_file: Path | None = None,
        columns: Mapping | None = None,
        option: str = "--columns",
    ) -> None:
        """Read a file; arguments and ClientError as for `read_transactions`."""
        self.name, self.currency = location, DEFAULT_CURRENCY
        data = read_transactions(location, None, None, None, settings_file, columns, option)
        self.notes = data.notes
        self._payloads = [(record.event_time_s, record.value) for record in data.records]

    def last_event_s(self, before_s: float) -> float | None:
        """Find the latest event time before a time."""
        return max((time_s for time_s, _ in self._payloads if time_s < before_s), default=None)

    def payloads(self, since_s: float, until_s: float) -> Iterable[list[tuple[float, bytes]]]:
        """Give event times and records of a period."""
        yield [each for each in self._payloads if since_s <= each[0] < until_s]


class Drift(msgspec.Struct, frozen=True):
    """A period compared with the model's test period.

    Attributes:
        model: its version.
        source: where the transactions came from.
        since: the period's begin; until: its end.
        transactions: that were scored.
        alerts_then: share of transactions that raised an alert in the test period.
        alerts_now: the same in this period.
        psi: of each feature and of the score, by name.
        moved: of each, the bin whose share changed most: from, to (None: open), share then, share now.

    """

    model: str
    source: str
    since: datetime
    until: datetime
    transactions: int
    alerts_then: float
    alerts_now: float
    psi: dict[str, float]
    moved: dict[str, tuple[float | None, float | None, float, float]]


def _command(args: argparse.Namespace) -> int:
    if args.columns and not args.data:
        raise ClientError("--columns needs --data, whose columns it tells")
    scorer = local_scorer(args.model) if args.model else promoted_scorer(load_settings(args.settings))
    source: Source
    if args.data:
        source = file = File(args.data, args.settings, args.columns, args.columns_option)
        warn(file.notes)
    else:
        source = open_lake(load_settings(args.settings))
    until_s = args.until.timestamp() if args.until else None
    # a table that is served has few days, what it was made of has more
    kept = (
        None if args.model or args.data else Renewal(load_settings(args.settings), datetime.now(UTC)).replayed
    )
    drift = measure(scorer, source, args.days, until_s, kept)
    print(msgspec.json.encode(drift).decode() if args.json else drift_table(drift), flush=True)
    return EXIT_DRIFTED if max(drift.psi.values()) > LARGE else 0


def measure(
    scorer: Scorer,
    source: Source,
    number_of_days: int,
    until_s: float | None = None,
    known_on: Callable[[range], TerminalRisk] | None = None,
) -> Drift:
    """Score a period as the job does, and compare it with the model's test period.

    Args:
        scorer: with a model of any kind.
        source: of the period, and of the time before it that histories reach back to.
        number_of_days: length of the period.
        until_s: its end in seconds since 1970; None: just after the last event.
        known_on: tells what was known of terminals on days; None: what the scorer knows.

    Raises:
        ClientError: the model has nothing to compare with, or there are too few transactions.

    """
    manifest, now_s = scorer.manifest, time.time()
    if not manifest.distributions:
        raise ClientError(f"model {manifest.version} was published without distributions: train it again")
    if until_s is None:
        last_s = source.last_event_s(now_s + MAX_FUTURE_S)
        if last_s is None:
            raise ClientError(f"{source.name}: no transactions")
        until_s = last_s + 0.001
    since_s = until_s - number_of_days * DAY_S
    if known_on is not None and manifest.kind == "history":
        known = known_on(range(int(since_s // DAY_S), int(until_s // DAY_S) + 1))
        scorer = scorer.told(known) if len(known.days) else scorer
    if since_s < scorer.first_day * DAY_S:
        since_s = scorer.first_day * DAY_S
        print(f"from {_time(since_s)} on: of terminals, the model knows nothing before", file=sys.stderr)
    counts = DriftCounts(manifest.distributions, window=None, sampled_share=1)
    histories = _Histories()
    scorer.drift = None  # what comes before the period is in histories only
    for records in source.payloads(since_s - (KEPT_S if manifest.kind == "history" else 0), until_s):
        before = sum(time_s < since_s for time_s, _ in records)
        _score(scorer, records[:before], histories, now_s, source.currency)
        if before < len(records):
            scorer.drift = counts
        _score(scorer, records[before:], histories, now_s, source.currency)
    psi = counts.indexes()
    if counts.transactions < FEWEST_TRANSACTIONS:
        raise ClientError(
            f"{source.name}: {counts.transactions:,.0f} transactions between {_time(since_s)} and "
            f"{_time(until_s)} that the model can score; {FEWEST_TRANSACTIONS} are needed to compare: "
            "choose other --days or another --until"
        )
    alerts_then, alerts_now = counts.share_from(SCORE, manifest.threshold)
    return Drift(
        manifest.version,
        source.name,
        datetime.fromtimestamp(since_s, UTC),
        datetime.fromtimestamp(until_s, UTC),
        int(counts.transactions),
        alerts_then,
        alerts_now,
        psi,
        {name: counts.moved(name) for name in psi},
    )


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
    lines.append(
        f"{'alerts':<{width}}{drift.alerts_then:.2%} of transactions then, {drift.alerts_now:.2%} now"
    )
    return "\n".join(lines)


class _Histories(dict[str, bytes]):
    """Histories as Flink's state keeps them."""

    put_all = dict.update


def _score(
    scorer: Scorer,
    records: Sequence[tuple[float, bytes]],
    histories: _Histories,
    now_s: float,
    currency: str,
) -> None:
    for first in range(0, len(records), _BATCH):
        batch = [Record(0, 0, 0, len(payload), payload) for _, payload in records[first : first + _BATCH]]
        # what comes of it is counted in the scorer
        scorer.score(batch, histories, now_s, currency)


def promoted_scorer(settings: Settings) -> Scorer:
    """Load what the job serves; ClientError or ObjectStoreError where there is nothing that can be."""
    registry = ModelRegistry(settings)
    try:
        return registry.load_newest()
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


def _time(time_s: float) -> str:
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%d %H:%M}"


if __name__ == "__main__":
    sys.exit(main())
