"""`fraud-renew-risk`: makes terminal risk anew of what came into the lake since, and releases it.

Kept in the bucket `features`, below `terminal_days/`: the payments and labels of each day, and what they
counted to. A renewal reads the lake's new files, counts the days anew that these change, sums the windows,
and writes the table of the days that are or are about to be served. The state names all that belongs
together and is written last: a renewal that was broken off has changed nothing, and the next makes up for it.
"""

import argparse
import hashlib
import io
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flink_jobs.domain.label import parse_label
from flink_jobs.domain.lake import LABELS_FOLDER, TRANSACTIONS_FOLDER, is_finished
from flink_jobs.domain.object_store import (
    ObjectStoreError,
    delete_object,
    list_keys,
    list_objects,
    read_object,
    s3_client,
    write_object,
)
from flink_jobs.domain.release import Release, RiskReference
from flink_jobs.domain.settings import Settings, SettingsError, load_settings
from flink_jobs.domain.terminal_risk import TerminalRisk, said_of_table
from flink_jobs.domain.transaction import InvalidTransaction, parse_transaction
from training.lake import Folder, LakeError
from training.promotions import PromotionError, Promotions, with_days
from training.terminal_days import LONGEST_WINDOW_DAYS, PLACE, TerminalDays, count_day
from training.terminal_risk import to_parquet

FOLDER = "terminal_days/"
STATE_KEY = f"{FOLDER}state.json"
TABLES_FOLDER = "terminal_risk/renewed/"

# A table has the day that a stream has come to, one before for what comes late, and two to live on.
DAYS_BEHIND = 1
DAYS_AHEAD = 2
# For what comes late, and for days on which nothing was renewed.
_SPARE_DAYS = 10
# The stream is where most of the records are that came last.
_CAME_LAST = 1_000
# Of tables that are released no more; a job may still be loading one.
_TABLES_KEPT = 5
# What nobody names any more may be another renewal's that has not ended yet.
_UNNAMED_FOR = timedelta(hours=6)

_DAY_US = 86_400_000_000
_EPOCH = date(1970, 1, 1)
_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)
_PAYMENTS = ["transaction_id", "terminal_id", "time_us", *PLACE]
_LABELS = ["transaction_id", "is_fraud", "labelled_us", *PLACE]


class CountedDay(msgspec.Struct, kw_only=True):
    """What is kept of an event day.

    Attributes:
        payments: where they lie, as do `labels` and what they counted to, `counts`.
        first_label_us: when the earliest of the labels was given; None where there is none.
        last_label_us: when the latest was.
        came: the day, by Kafka's clock, on which the last of the payments came; since 1970-01-01.

    """

    payments: str
    labels: str
    counts: str
    first_label_us: int | None
    last_label_us: int | None
    came: int


class State(msgspec.Struct, kw_only=True):
    """`terminal_days/state.json`.

    Attributes:
        files: of the lake that have been read, of the last days.
        days: what is kept, by day since 1970-01-01.
        waiting: where labels lie whose transactions have not come yet.
        stream_day: the event day that the stream has come to.

    """

    files: list[str] = []
    days: dict[int, CountedDay] = {}
    waiting: str = ""
    stream_day: int | None = None


class Renewed(NamedTuple):
    """What a renewal did: records and labels that were new, days counted anew, and the table it released."""

    records: int
    labels: int
    days: list[int]
    risk: TerminalRisk | None
    release: Release | None
    reason: str = ""


class Renewal:
    """Terminal risk of one system, made anew."""

    def __init__(self, settings: Settings, now: datetime) -> None:
        self._client: Any = s3_client(settings.s3)
        self._lake, self._features = settings.buckets.datalake, settings.buckets.features
        self._promotions = Promotions(settings)
        self._now_us = round(now.timestamp() * 1e6)
        self._today = self._now_us // _DAY_US
        self._at = f"{now:%Y%m%dT%H%M%SZ}"

    def run(self, as_of: int | None = None) -> Renewed:
        """Renew, and release what came of it.

        Args:
            as_of: the day, since 1970-01-01, to tell about; by default that of the clock, and that which
                the stream has come to.

        Raises:
            LakeError, ObjectStoreError: the lake cannot be read, or the store does not answer.
            PromotionError: it could not be released.

        """
        base = self._promotions.released()
        if base is None or base.risk is None:
            return Renewed(0, 0, [], None, None, "no model is released that asks for terminal risk")
        delay_days = base.label_delay_days
        state, records, labels, days = self._catch_up(delay_days)
        wanted = {self._today, state.stream_day} if as_of is None else {as_of}
        tables = self._tables(state, sorted(day for day in wanted if day is not None), delay_days)
        if not tables:
            why = "the lake has no label of a payment in the windows of any day that is served"
            return Renewed(records, labels, days, None, None, why)
        tables |= self._still_served(base.risk, state, delay_days, tables.keys())
        said = said_of_table(delay_days, tables)
        content = to_parquet(pa.concat_tables(tables.values()).replace_schema_metadata(said))
        risk = TerminalRisk.from_parquet(content)
        digest = hashlib.sha256(content).hexdigest()
        if digest == base.risk.sha256:
            return Renewed(records, labels, days, risk, None, "it is what is released")
        version = f"{self._at}-{digest[:8]}"
        reference = RiskReference(version, f"{TABLES_FOLDER}{version}.parquet", digest, renewed=True)
        write_object(self._client, self._features, reference.key, content)
        release = self._promotions.release(
            lambda newest: _renewed(newest, with_days(reference, risk), delay_days)
        )
        self._forget_tables(reference.key)
        return Renewed(records, labels, days, risk, release)

    def _catch_up(self, delay_days: int) -> tuple[State, int, int, list[int]]:
        """Read what is new in the lake, and count the days anew that it changes."""
        kept_days = delay_days + LONGEST_WINDOW_DAYS + DAYS_BEHIND + _SPARE_DAYS
        before = self._state()
        files = list(self._files(self._today - kept_days))
        new = sorted(set(files).difference(before.files))
        payments = self._read_payments([key for key in new if key.startswith(TRANSACTIONS_FOLDER)])
        labels = self._read_labels([key for key in new if key.startswith(LABELS_FOLDER)])
        state = State(
            files=files,
            days={day: kept for day, kept in before.days.items() if kept.came >= self._today - kept_days},
            waiting=before.waiting,
            stream_day=_stream_day(payments, before.stream_day),
        )
        days = self._count(state, payments, labels) if len(payments) or len(labels) else []
        if state != before:
            write_object(self._client, self._features, STATE_KEY, msgspec.json.encode(state))
            self._forget_days(state)
        return state, len(payments), len(labels), days

    def _count(self, state: State, payments: pd.DataFrame, labels: pd.DataFrame) -> list[int]:
        """Put new payments and labels to their days; gives those that were counted anew."""
        if state.waiting:
            labels = pd.concat([self._frame(state.waiting), labels], ignore_index=True)
        labels = labels.drop_duplicates(["transaction_id", *PLACE[1:]])
        payments = payments.sort_values(PLACE, kind="stable").drop_duplicates("transaction_id")
        asked = pa.array([*payments["transaction_id"], *labels["transaction_id"]], pa.string())
        changed: dict[int, tuple[pd.DataFrame, pd.DataFrame]] = {}
        for day in state.days:
            found = self._known(state.days[day], asked)
            if len(found):
                # of a transaction that came twice, the first counts, whatever the days of the two
                payments = pd.concat([payments, found], ignore_index=True)
                changed[day] = self._kept(state.days[day])
        payments = payments.sort_values(PLACE, kind="stable").drop_duplicates("transaction_id")
        for day in {int(day) for day in payments["time_us"] // _DAY_US} - changed.keys():
            changed[day] = (
                self._kept(state.days[day]) if day in state.days else (_none(_PAYMENTS), _none(_LABELS))
            )
        # what moved to another day takes its labels along
        labels = pd.concat([labels, *(own for _, own in changed.values())], ignore_index=True)
        labels = labels.drop_duplicates(["transaction_id", *PLACE[1:]])
        all_of = pd.concat([payments, *(own for own, _ in changed.values())], ignore_index=True)
        all_of = all_of.sort_values(PLACE, kind="stable").drop_duplicates("transaction_id")
        days = all_of["time_us"] // _DAY_US
        day_of = pd.Series(days.to_numpy(), index=all_of["transaction_id"].to_numpy())
        label_days = labels["transaction_id"].map(day_of)
        for day in changed:
            self._keep(state, day, all_of[days == day], labels[label_days == day])
        waiting = labels[label_days.isna()]
        waiting = waiting[
            waiting["kafka_time_us"] // _DAY_US >= self._today - LONGEST_WINDOW_DAYS - _SPARE_DAYS
        ]
        state.waiting = self._write("waiting", waiting) if len(waiting) else ""
        return sorted(changed)

    def _known(self, kept: CountedDay, asked: pa.Array) -> pd.DataFrame:
        """Find the payments of a day that were asked for."""
        table = pq.read_table(io.BytesIO(self._read(kept.payments)), columns=["transaction_id"])
        if not pc.any(pc.is_in(table["transaction_id"], value_set=asked)).as_py():
            return _none(_PAYMENTS)
        own = self._frame(kept.payments)
        return own[own["transaction_id"].isin(set(asked.to_pylist()))]

    def _kept(self, kept: CountedDay | None) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Give a day's payments and labels."""
        if kept is None:
            return _none(_PAYMENTS), _none(_LABELS)
        return self._frame(kept.payments), self._frame(kept.labels)

    def _keep(self, state: State, day: int, payments: pd.DataFrame, labels: pd.DataFrame) -> None:
        if payments.empty:
            state.days.pop(day, None)
            return
        name = str(_EPOCH + timedelta(days=day))
        state.days[day] = CountedDay(
            payments=self._write(f"{name}/payments", payments),
            labels=self._write(f"{name}/labels", labels),
            counts=self._write(f"{name}/counts", count_day(payments, labels)),
            first_label_us=int(labels["labelled_us"].min()) if len(labels) else None,
            last_label_us=int(labels["labelled_us"].max()) if len(labels) else None,
            came=int(payments["kafka_time_us"].max()) // _DAY_US,
        )

    def _tables(self, state: State, as_of: list[int], delay_days: int) -> dict[int, pa.Table]:
        """Give the rows of each day that is to be served, as known at the end of the day it is made for."""
        tables: dict[int, pa.Table] = {}
        for known_day in as_of:
            served = range(known_day - DAYS_BEHIND, known_day + DAYS_AHEAD + 1)
            window = range(served[0] - delay_days - LONGEST_WINDOW_DAYS, served[-1] - delay_days)
            kept = {day: state.days[day] for day in window if day in state.days}
            until_us = min(self._now_us, (known_day + 1) * _DAY_US - 1)
            # where nobody labelled anything, nothing is known to be honest either
            if not any((each.first_label_us or until_us + 1) <= until_us for each in kept.values()):
                continue
            days = TerminalDays(
                {day: self._counted(each, until_us) for day, each in kept.items()}, delay_days
            )
            tables |= {day: days.table(day) for day in served}
        return tables

    def _counted(self, kept: CountedDay, until_us: int) -> pd.DataFrame:
        """Give what a day counted to, as far as it was known at a time."""
        if kept.last_label_us is None or kept.last_label_us <= until_us:
            return self._frame(kept.counts)
        payments, labels = self._kept(kept)
        return count_day(payments, labels[labels["labelled_us"] <= until_us])

    def _still_served(
        self, risk: RiskReference, state: State, delay_days: int, told: Collection[int]
    ) -> dict[int, pa.Table]:
        """Give what is served of days around the stream's that the lake's labels tell nothing of."""
        if state.stream_day is None:
            return {}
        content = self._read(risk.key)
        table = pq.read_table(io.BytesIO(content)).replace_schema_metadata()
        near = range(state.stream_day - DAYS_BEHIND, state.stream_day + delay_days + 2)
        days = [
            day for day in TerminalRisk.from_parquet(content).days.tolist() if day in near and day not in told
        ]
        return {day: table.filter(pc.equal(table["day"], day)) for day in days}

    def _files(self, first_day: int) -> Iterator[str]:
        """List the lake's files of the folders from a day on."""
        first = str(_EPOCH + timedelta(days=first_day))
        for folder in (TRANSACTIONS_FOLDER, LABELS_FOLDER):
            for by_day in list_keys(self._client, self._lake, f"{folder}/", folders=True):
                if by_day.rstrip("/").rpartition("=")[2] >= first:
                    yield from filter(is_finished, list_keys(self._client, self._lake, by_day))

    def _read_payments(self, keys: Sequence[str]) -> pd.DataFrame:
        """Read transactions as training does: what is refused, or of nobody or nowhere, is none."""
        rows = []
        for payload, time_us, *place in self._records(keys):
            try:
                read = parse_transaction(payload, time_us / 1e6)
            except InvalidTransaction:
                continue
            if read.customer_id is not None and read.terminal_id is not None:
                happened_us = round(read.time_s * 1e6)
                rows.append((read.transaction_id, read.terminal_id, happened_us, time_us, *place))
        return _frame(rows, _PAYMENTS)

    def _read_labels(self, keys: Sequence[str]) -> pd.DataFrame:
        rows = []
        for payload, time_us, *place in self._records(keys):
            try:
                label = parse_label(payload)
            except ValueError:
                continue
            given_us = (label.labelled_at - _BEGIN) // timedelta(microseconds=1)
            rows.append((label.transaction_id, int(label.is_fraud), given_us, time_us, *place))
        return _frame(rows, _LABELS)

    def _records(self, keys: Iterable[str]) -> Iterator[tuple[bytes, int, int, int]]:
        for key in keys:
            content = read_object(self._client, self._lake, key)
            yield from Folder(f"s3://{self._lake}", [(key, content)]).placed_records()

    def _state(self) -> State:
        content = read_object(self._client, self._features, STATE_KEY, missing_ok=True)
        try:
            return State() if content is None else msgspec.json.decode(content, type=State)
        except msgspec.MsgspecError:
            # of another version: made anew of the lake
            return State()

    def _read(self, key: str) -> bytes:
        return read_object(self._client, self._features, key)

    def _frame(self, key: str) -> pd.DataFrame:
        frame: pd.DataFrame = pq.read_table(io.BytesIO(self._read(key))).to_pandas()
        return frame

    def _write(self, name: str, frame: pd.DataFrame) -> str:
        """Write a table under its digest, so that what is named already is never changed."""
        content = to_parquet(pa.Table.from_pandas(frame, preserve_index=False))
        key = f"{FOLDER}{name}-{hashlib.sha256(content).hexdigest()[:16]}.parquet"
        write_object(self._client, self._features, key, content)
        return key

    def _forget_days(self, state: State) -> None:
        named = {STATE_KEY, state.waiting}
        for kept in state.days.values():
            named |= {kept.payments, kept.labels, kept.counts}
        old = datetime.fromtimestamp(self._now_us / 1e6, UTC) - _UNNAMED_FOR
        for found in list_objects(self._client, self._features, FOLDER):
            if found.key not in named and found.modified < old:
                delete_object(self._client, self._features, found.key)

    def _forget_tables(self, served: str) -> None:
        keys = list(list_keys(self._client, self._features, TABLES_FOLDER))
        for key in keys[:-_TABLES_KEPT]:
            if key != served:
                delete_object(self._client, self._features, key)


def _renewed(newest: Release | None, risk: RiskReference, delay_days: int) -> Release | None:
    """Make a release of the newest that tells what is known of terminals now."""
    if newest is None or newest.risk is None:
        return None
    if newest.label_delay_days != delay_days:
        raise PromotionError("a model of another delay of labels was promoted meanwhile; try again")
    return msgspec.structs.replace(newest, action="renew", risk=risk)


def _stream_day(payments: pd.DataFrame, before: int | None) -> int | None:
    """Tell the event day of most of the records that came last; none or a few others move it nowhere."""
    if payments.empty:
        return before
    last = payments.sort_values(PLACE, kind="stable")["time_us"].to_numpy()[-_CAME_LAST:]
    days, counts = np.unique(last // _DAY_US, return_counts=True)
    return int(days[::-1][counts[::-1].argmax()])


def _frame(rows: list[tuple[Any, ...]], columns: list[str]) -> pd.DataFrame:
    if not rows:
        return _none(columns)
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype({name: np.int64 for name in columns if not name.endswith("_id")})


def _none(columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {name: pd.Series([], dtype=object if name.endswith("_id") else np.int64) for name in columns}
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when what is known of terminals is up to date, or cannot be told."""
    options = _parser().parse_args(argv)
    begun = time.monotonic()
    as_of = None if options.as_of is None else (options.as_of - _EPOCH).days
    try:
        renewed = Renewal(load_settings(options.settings), datetime.now(UTC)).run(as_of)
    except (LakeError, ObjectStoreError, PromotionError, SettingsError) as error:
        print(f"fraud-renew-risk: {error}", file=sys.stderr)
        return 1
    print(
        f"{renewed.records:,} new transactions, {renewed.labels:,} new labels; "
        f"{len(renewed.days)} days counted anew, {time.monotonic() - begun:.1f} s"
    )
    if renewed.release is None:
        print(f"unchanged: {renewed.reason}")
    else:
        print(f"release {renewed.release.number}: terminal risk of {renewed.risk}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fraud-renew-risk", description=(__doc__ or "").partition("\n")[0].partition(": ")[2]
    )
    parser.add_argument(
        "--as-of",
        type=date.fromisoformat,
        metavar="DAY",
        help="tell about this day (default: today, and the day that the stream has come to)",
    )
    parser.add_argument(
        "--settings", metavar="FILE", help="where MinIO is (default: build/settings.json, or $FRAUD_SETTINGS)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
