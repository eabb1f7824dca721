"""A period of transactions, scored as the job does, beside what the model was published with."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from clients.drift_alarms import Changed, Foretold, alert_share_bounds
from clients.drift_rows import KINDS, ScoredRows
from clients.drift_source import KnownOn, Labels, LabelsOf, Source
from clients.process import ClientError
from flink_jobs.domain.drift import FEWEST_TRANSACTIONS, SCORE, DriftCounts
from flink_jobs.domain.expected_alerts import ExpectedAlerts
from flink_jobs.domain.feature_batch import fold_only
from flink_jobs.domain.history import DAY_S, KEPT_S
from flink_jobs.domain.manifest import Manifest
from flink_jobs.domain.scoring import Record, Scorer
from flink_jobs.domain.terminal_risk import TerminalRisk
from flink_jobs.domain.transaction import MAX_FUTURE_S, parse_transaction
from training.gate import GateError, learnt_until
from training.label_history import known_after_days

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BATCH = 1_000
_EPOCH = date(1970, 1, 1)

Records = Sequence[tuple[float, bytes]]


class Knowledge(NamedTuple):
    """What is known besides what is served.

    Attributes:
        known_on: tells what was known of terminals on days. Days that the scorer's table does not reach back
            to are scored by it; where the table has a day, the alerts by the two are compared.
        labels_of: tells the labels of transactions.
        first_day: a period begins no earlier, in days since 1970-01-01; labels may be of earlier days.

    """

    known_on: KnownOn | None = None
    labels_of: LabelsOf | None = None
    first_day: int = 0


class _Judged(NamedTuple):
    """The days whose labels are in that frauds are judged on; `why` there are no others."""

    days: range
    why: str = ""

    def since(self, first_day: int) -> "_Judged":
        """Leave out days before the first of which anything is known of terminals."""
        if first_day <= self.days.start:
            return self
        end = self.days.stop
        why = f"labels are in for days before {_day(end)}, and nothing is known of terminals on those"
        return _Judged(range(min(first_day, end), end), why)


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """A period compared with the model's test period.

    Attributes:
        model: its version.
        source: where the transactions came from.
        since: the period's begin; until: its end.
        transactions: that were scored.
        alerts_then: share of transactions that raised an alert in the test period.
        alerts_now: the same in this period.
        alerts_bounds: between which the share lies by chance.
        psi: of each feature and of the score, by name.
        moved: of each, the bin whose share changed most: from, to (None: open), share then, share now.
        risk_age_days: from the last day of the served table of terminal risk to the period's end.
        foretold: frauds as the probabilities foretold them, of "alerts" and of "others", on as many days
            before those whose labels are still due; nothing of those that `untold` has.
        judged: the first and the last of these days, those left out that the model learnt from, or on which
            it is not known what was known of terminals; None where no day is left.
        untold: why labels tell nothing of "alerts", or of "others".
        changed: alerts that change where terminals are as they are known, not as they were served; None
            where that cannot be compared.
        alarms: what rings, a sentence each.

    """

    model: str
    source: str
    since: datetime
    until: datetime
    transactions: int
    alerts_then: float
    alerts_now: float
    alerts_bounds: tuple[float, float]
    psi: dict[str, float]
    moved: dict[str, tuple[float | None, float | None, float, float]]
    risk_age_days: int = 0
    foretold: dict[str, Foretold] = {}
    judged: tuple[date, date] | None = None
    untold: dict[str, str] = {}
    changed: Changed | None = None
    alarms: list[str] = []


def measure(
    scorer: Scorer,
    source: Source,
    number_of_days: int,
    until_s: float | None = None,
    knowledge: Knowledge | None = None,
) -> Drift:
    """Score a period as the job does, and compare it with the model's test period.

    Args:
        scorer: with a model of any kind.
        source: of the period, and of the time before it that histories reach back to.
        number_of_days: length of the period.
        until_s: its end in seconds since 1970; None: just after the last event.
        knowledge: of terminals and transactions; None: none.

    Raises:
        ClientError: the model has nothing to compare with, or there are too few transactions.

    """
    manifest, now_s = scorer.manifest, time.time()
    known_on, labels_of, first_day = knowledge or Knowledge()
    if not manifest.distributions:
        raise ClientError(f"model {manifest.version} was published without distributions: train it again")
    if until_s is None:
        last_s = source.last_event_s(now_s + MAX_FUTURE_S)
        if last_s is None:
            raise ClientError(f"{source.name}: no transactions")
        until_s = last_s + 0.001
    since_s = until_s - number_of_days * DAY_S
    judged = _judged(manifest, until_s, number_of_days) if labels_of else _Judged(range(0))
    replay = _Replay(scorer, source.currency, now_s)
    if known_on is not None and manifest.kind == "history":
        # with a long delay of labels, nothing is asked of the days between
        days = sorted({*judged.days, *range(int(since_s // DAY_S), int(until_s // DAY_S) + 1)})
        replay.know(known_on(days), days)
    if since_s < (first_s := max(replay.first_s, first_day * DAY_S)):
        since_s = first_s
        if since_s >= until_s:
            raise ClientError(
                f"{source.name}: of terminals, the model knows nothing before {_time(since_s)}: choose an "
                "--until after that"
            )
        print(f"from {_time(since_s)} on: of terminals, the model knows nothing before", file=sys.stderr)
    judged = judged.since(int(replay.first_s // DAY_S))
    judged_s, judged_until_s = (
        min(day * DAY_S, since_s) if judged.days else since_s for day in (judged.days.start, judged.days.stop)
    )
    counts = DriftCounts(manifest.distributions, window=None, sampled_share=1)
    reach_s = KEPT_S if manifest.kind == "history" else 0
    for records in source.payloads(judged_s - reach_s, until_s):
        first, second, third = (
            sum(time_s < begin_s for time_s, _ in records) for begin_s in (judged_s, judged_until_s, since_s)
        )
        replay.fold(records[:first])
        replay.score(records[first:second], None)
        replay.fold(records[second:third])
        replay.score(records[third:], counts)
    psi = counts.indexes()
    if counts.transactions < FEWEST_TRANSACTIONS:
        raise ClientError(
            f"{source.name}: {counts.transactions:,.0f} transactions between {_time(since_s)} and "
            f"{_time(until_s)} that the model can score; {FEWEST_TRANSACTIONS} are needed to compare: "
            "choose other --days or another --until"
        )
    alerts_then, alerts_now = counts.share_from(SCORE, manifest.threshold)
    rows = replay.rows()
    in_period = rows.only(rows.times_s >= since_s)
    bounds = alert_share_bounds(_expected(manifest, alerts_then, in_period), in_period.alerts())
    labels = labels_of(judged_s, until_s) if labels_of else None
    due = rows.only((rows.days >= judged.days.start) & (rows.days < judged.days.stop))
    drift = Drift(
        model=manifest.version,
        source=source.name,
        since=datetime.fromtimestamp(since_s, UTC),
        until=datetime.fromtimestamp(until_s, UTC),
        transactions=int(counts.transactions),
        alerts_then=alerts_then,
        alerts_now=alerts_now,
        alerts_bounds=bounds,
        psi=psi,
        moved={name: counts.moved(name) for name in psi},
        risk_age_days=scorer.terminal_risk.age_days(int(in_period.days.max())),
        foretold={} if labels is None else due.foretold(manifest, labels),
        judged=_span(due.days),
        untold={} if labels is None else _untold(manifest, judged, due, labels),
        changed=in_period.changed(),
    )
    missing = [] if labels is None else due.missing_labels(manifest, labels)
    return msgspec.structs.replace(drift, alarms=[*_alarms(drift), *missing])


def _judged(manifest: Manifest, until_s: float, number_of_days: int) -> _Judged:
    """Give the last days whose labels are in, but none that the model learnt from: it knows their frauds."""
    end = int(until_s // DAY_S) - known_after_days(manifest.label_delay_days) + 1
    first = end - number_of_days
    try:
        learnt_day = (learnt_until(manifest) - _EPOCH).days
    except GateError:
        return _Judged(range(first, end))
    why = f"labels are in for days before {_day(end)}, and the model learnt from days to {_day(learnt_day)}"
    return _Judged(range(min(max(first, learnt_day + 1), end), end), why)


def _untold(manifest: Manifest, judged: _Judged, due: ScoredRows, labels: Labels) -> dict[str, str]:
    """Say why frauds are not held to probabilities; nothing of the kinds that are."""
    if manifest.calibration is None:
        return dict.fromkeys(KINDS, "the model was published without probabilities")
    if not judged.days:
        return dict.fromkeys(KINDS, judged.why)
    if not len(due.days):
        first, last = _day(judged.days[0]), _day(judged.days[-1])
        return dict.fromkeys(KINDS, f"there are no transactions from {first} to {last}, whose labels are in")
    return due.untold(labels)


def _span(days: "NDArray[np.int64]") -> tuple[date, date] | None:
    """Give the first and the last of days; None where there is none."""
    return (_day(int(days.min())), _day(int(days.max()))) if len(days) else None


def _expected(manifest: Manifest, share: float, period: ScoredRows) -> ExpectedAlerts:
    """Give what the manifest expects; older ones tell the share only, of about a period."""
    if manifest.expected_alerts is not None:
        return manifest.expected_alerts
    now = period.alerts()
    return ExpectedAlerts(now.transactions, round(share * now.transactions), now.dispersion)


def _alarms(drift: Drift) -> Iterator[str]:
    if drift.risk_age_days:
        yield (
            f"terminal risk ended {drift.risk_age_days} d before the period does, and terminals count as "
            "unknown: is it renewed? (`journalctl -u risk-renewal` on the training host)"
        )
    low, high = drift.alerts_bounds
    if not low <= drift.alerts_now <= high:
        yield (
            f"{drift.alerts_now:.2%} of the transactions raised an alert; by chance it is {low:.2%} to "
            f"{high:.2%} where the model does as its manifest says"
        )
    for name, each in drift.foretold.items():
        if each.rings:
            yield (
                f"of the {each.transactions:,} labelled {name}, {each.frauds:,} were frauds where their "
                f"probabilities foretold {each.expected:,.0f}"
            )
    if drift.changed is not None and drift.changed.rings:
        yield (
            f"of {drift.changed.alerts:,} alerts, {drift.changed.changed:,} come or go where terminals are "
            "as they are known: what is served of terminals is old, whatever days it claims"
        )


class _Histories(dict[str, bytes]):
    """Histories as Flink's state keeps them."""

    put_all = dict.update


class _Unwritten:
    """Histories that are read only."""

    def __init__(self, histories: _Histories) -> None:
        self.get = histories.get

    def put_all(self, histories: Mapping[str, bytes]) -> None:
        """Keep nothing."""


class _Replay:
    """Puts records through what the job does.

    Attributes:
        first_s: when the knowledge of terminals begins, in seconds since 1970.

    """

    def __init__(self, scorer: Scorer, currency: str, now_s: float) -> None:
        self._served = self._knowing = scorer
        self._currency = currency
        self._now_s = now_s
        self._histories = _Histories()
        self._scored: list[list[NDArray[Any]]] = []
        self.first_s = scorer.first_day * DAY_S

    def know(self, risk: TerminalRisk, days: Sequence[int]) -> None:
        """Tell what was known of terminals on these days, where anything was."""
        if len(risk.days):
            self._knowing = self._served.told(risk)
            told = {*self._served.terminal_risk.days.tolist(), *risk.days.tolist()}
            self.first_s = min(told.intersection(days), default=self._knowing.first_day) * DAY_S

    def fold(self, records: Records) -> None:
        """Take records into histories only."""
        if self._served.manifest.kind == "history":
            fold_only(((payload, self._now_s) for _, payload in records), self._histories, self._currency)

    def score(self, records: Records, counts: DriftCounts | None) -> None:
        """Score records; `counts` counts them."""
        for day, of_day in groupby(records, lambda record: int(record[0] // DAY_S)):
            on_day = [
                # of event times, those ahead of the clock are refused: when a record came is not known here
                Record(0, number, int(self._now_s * 1000), len(payload), payload)
                for number, (_, payload) in enumerate(of_day)
            ]
            for first in range(0, len(on_day), _BATCH):
                self._score(on_day[first : first + _BATCH], day, counts)

    def rows(self) -> ScoredRows:
        """Give all that was scored."""
        return ScoredRows([np.concatenate(each) for each in zip(*self._scored, strict=True)])

    def _score(self, batch: list[Record], day: int, counts: DriftCounts | None) -> None:
        """Score records of a day by what was served, and by what is known of terminals where both tell."""
        served, knowing = self._served, self._knowing
        if served is knowing or not _tells(served.terminal_risk, day):
            knowing.drift = counts
            outcomes = knowing.score(batch, self._histories, self._now_s, self._currency)
            known = None
        else:
            served.drift, knowing.drift = counts, None
            outcomes = served.score(batch, _Unwritten(self._histories), self._now_s, self._currency)
            known = knowing.score(batch, self._histories, self._now_s, self._currency)
        comparable = known is not None and all(each.terminal_risk.covers(day) for each in (served, knowing))
        records = {record.offset: record for record in batch}
        alerted = {alert.offset for alert in outcomes.alerts}
        by_known = {alert.offset for alert in known.alerts} if known is not None else set()
        offsets = [each.offset for each in outcomes.predictions]
        transactions = [
            parse_transaction(records[offset].payload, self._now_s, self._currency) for offset in offsets
        ]
        columns = [
            np.array([each.time_s for each in transactions]),
            np.array([each.score for each in outcomes.predictions]),
            np.array([offset in alerted for offset in offsets], dtype=np.bool_),
            np.array([(offset in by_known) if comparable else -1 for offset in offsets], dtype=np.int8),
            np.array([each.transaction_id for each in transactions], dtype=object),
        ]
        if served.manifest.kind == "history":
            columns += [
                np.array([each.terminal_id for each in transactions], dtype=object),
                np.array([each.customer_id for each in transactions], dtype=object),
            ]
        self._scored.append(columns)


def _tells(risk: TerminalRisk, day: int) -> bool:
    """Tell whether a table says how a day is scored: it has the day, or ended before, and none is known."""
    return risk.covers(day) or bool(len(risk.days) and day > risk.days[-1])


def _day(day: int) -> date:
    return _EPOCH + timedelta(days=day)


def _time(time_s: float) -> str:
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%d %H:%M}"
