"""The lake's payments and labels by event day, kept in the bucket `features` below `terminal_days/`.

Each day's payments, labels and what they counted to lie under names by content, and hashes of the payments'
ids, so that of a day that has none of the ids that are new nothing else is read. The state names all that
belongs together and is written last: what was broken off has changed nothing, and the next run makes up for
it.
"""

import hashlib
import io
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from flink_jobs.domain.json_errors import NOT_THE_JSON
from flink_jobs.store.lake import day_of_file
from flink_jobs.store.object_store import (
    delete_object,
    list_keys,
    list_objects,
    read_object,
    s3_client,
    write_object,
)
from flink_jobs.store.settings import Settings
from training.lake_days import LABEL_COLUMNS, PAYMENT, PAYMENT_COLUMNS, LakeDays, no_rows
from training.terminal_days import PLACE, count_day
from training.terminal_labels import to_parquet

DAYS_FOLDER = "terminal_days/"
# An earlier version kept less of a payment, below another name.
STATE_KEY = f"{DAYS_FOLDER}state-2.json"

# The stream is where most of the records are that came last.
_CAME_LAST = 1_000
# A day's files are merged in the night after it, and once more in the next, when the first may be gone.
_MERGED_AGAIN_DAYS = 2
# What nobody names any more may be another run's that has not ended yet.
_UNNAMED_FOR = timedelta(hours=6)
# As these lie in the bucket; pandas' hash, which has to stay as it is.
_HASH = np.dtype("<u8")
_DAY_US = 86_400_000_000
_EPOCH = date(1970, 1, 1)


class CountedDay(msgspec.Struct, kw_only=True):
    """What is kept of an event day.

    Attributes:
        payments: where they lie, as do `labels` and what they counted to, `counts`.
        first_label_us: when the earliest of the labels was given; None where there is none.
        last_label_us: when the latest was.
        came: the day, by Kafka's clock, on which the last of the payments came; since 1970-01-01.
        ids: where hashes of the payments' transaction ids lie; "" where a former version kept the day.

    """

    payments: str
    labels: str
    counts: str
    first_label_us: int | None
    last_label_us: int | None
    came: int
    ids: str = ""


class State(msgspec.Struct, kw_only=True):
    """`terminal_days/state-2.json`.

    Attributes:
        files: of the lake whose rows have been read: all that are there, and of the last days those that were
            merged into others as well.
        days: what is kept, by day since 1970-01-01.
        waiting: where labels lie whose transactions have not come yet.
        forgotten_day: up to this event day, something may have been forgotten; None where nothing was.
        since_day: all that came from this day on is kept; None where a former version wrote this.
        came_last: of the payments that came last, where each lies (PLACE) and its event day, ascending.

    """

    files: list[str] = []
    days: dict[int, CountedDay] = {}
    waiting: str = ""
    forgotten_day: int | None = None
    since_day: int | None = None
    came_last: list[tuple[int, int, int, int]] = []

    def named(self) -> set[str]:
        """Give all that has to be there for this to be true."""
        days = self.days.values()
        keys = {key for day in days for key in (day.payments, day.labels, day.counts, day.ids)}
        return (keys | {self.waiting}) - {""}

    @property
    def stream_day(self) -> int | None:
        """The event day that the stream has come to: that of most of those that came last."""
        if not self.came_last:
            return None
        days, counts = np.unique([day for *_, day in self.came_last], return_counts=True)
        return int(days[::-1][counts[::-1].argmax()])


class CaughtUp(NamedTuple):
    """The state after what was new in the lake: so many records and labels, and days counted anew."""

    state: State
    records: int
    labels: int
    days: list[int]


class KeptDays:
    """What is kept of one system's lake."""

    def __init__(self, settings: Settings, now_us: int) -> None:
        self._client: Any = s3_client(settings.s3)
        self._lake = LakeDays(self._client, settings.buckets.datalake, settings.currency)
        self._features = settings.buckets.features
        self._now_us = now_us
        self._today = now_us // _DAY_US
        self._first_day = self._open_days = 0

    def catch_up(self, kept_days: int, open_days: int) -> CaughtUp:
        """Read what is new in the lake, and count the days anew that it changes.

        Args:
            kept_days: what came longer ago is forgotten.
            open_days: when a record comes, labels and repeats are looked for among days of which some payment
                came no longer before it. Fewer than are kept, as all that is kept has to be looked through.

        Raises:
            LakeError: the lake cannot be read.
            ObjectStoreError: the store does not answer.

        """
        self._first_day = self._today - kept_days
        self._open_days = open_days
        before = self.state()
        if before.forgotten_day is not None and self._first_day < (before.since_day or self._today):
            # more is to be kept than was, and what was read is not read again: made anew of the lake
            before = State()
        read = set(before.files)
        state = State(
            days={day: kept for day, kept in before.days.items() if kept.came >= self._first_day},
            waiting=before.waiting,
            forgotten_day=self._forgotten_day(before),
            since_day=self._first_day,
            came_last=before.came_last,
        )
        records = labelled = 0
        days: set[int] = set()
        merged_again = _day_name(self._today - _MERGED_AGAIN_DAYS)
        # a day at a time, so that a lake that is read for the first time need not lie in memory whole
        for payments, labels, there in self._lake.arrivals(_day_name(self._first_day), read):
            days.update(self._count(state, payments, labels) if len(payments) or len(labels) else ())
            state.files = sorted(key for key in read if key in there or day_of_file(key) >= merged_again)
            state.came_last = _last(payments, state.came_last)
            if state != before:
                write_object(self._client, self._features, STATE_KEY, msgspec.json.encode(state))
            records, labelled = records + len(payments), labelled + len(labels)
        if state != before:
            self._forget_days(state)
        return CaughtUp(state, records, labelled, sorted(days))

    def _forgotten_day(self, before: State) -> int | None:
        forgotten = [day for day, kept in before.days.items() if kept.came < self._first_day]
        if not before.files and self._lake.has_payments_before(_day_name(self._first_day)):
            # never read; what happened on a day has come by its end, but for what was late
            forgotten.append(self._first_day - 1)
        if before.forgotten_day is not None:
            forgotten.append(before.forgotten_day)
        return max(forgotten, default=None)

    def _count(self, state: State, payments: pd.DataFrame, labels: pd.DataFrame) -> list[int]:
        """Put new payments and labels to their days; gives those that were counted anew."""
        # by when they came, so that a lake that is read anew is counted as it was in its time
        came = pd.concat([payments["kafka_time_us"], labels["kafka_time_us"]]).min() // _DAY_US
        open_from = int(came) - self._open_days
        if state.waiting:
            labels = pd.concat([self._frame(state.waiting), labels], ignore_index=True)
        asked = pd.concat([payments["transaction_id"], labels["transaction_id"]])
        hashes = _hashes(asked)
        touched = {int(day) for day in payments["time_us"] // _DAY_US}
        for day, kept in state.days.items():
            if kept.came < open_from or not self._may_have(day, kept, hashes):
                continue
            found = self._found(kept, asked)
            if len(found):
                touched.add(day)
                # a label goes to all payments of its transaction's id, whatever their days
                shared = found[found.isin(payments["transaction_id"])]
                labels = _distinct([labels, self._labels_of(kept, shared)]) if len(shared) else labels
        days, waits = payments["time_us"] // _DAY_US, np.ones(len(labels), dtype=bool)
        # a day at a time, as labels of a year may come at once
        for day in sorted(touched):
            own, own_labels = self._kept(state.days.get(day))
            all_of = _firsts(pd.concat([payments[days == day], own], ignore_index=True))
            told = labels["transaction_id"].isin(all_of["transaction_id"])
            self._keep(state, day, all_of, _distinct([labels[told], own_labels]))
            waits &= ~told.to_numpy()
        waiting = labels[waits]
        waiting = waiting[waiting["kafka_time_us"] // _DAY_US >= open_from]
        state.waiting = self._write("waiting", waiting) if len(waiting) else ""
        return sorted(touched)

    def _may_have(self, day: int, kept: CountedDay, hashes: NDArray[np.uint64]) -> bool:
        """Tell whether a day has any id of these hashes, which ascend; reads 8 bytes for each of its ids."""
        if not kept.ids:
            kept.ids = self._write_hashes(day, self._ids(kept))
        ids = np.frombuffer(self._read(kept.ids), dtype=_HASH)
        return bool((np.searchsorted(ids, hashes) < np.searchsorted(ids, hashes, "right")).any())

    def _found(self, kept: CountedDay, asked: pd.Series) -> pd.Series:
        """Give those of the transactions that are asked for that are a day's."""
        ids = self._ids(kept)
        found: pd.Series = ids.filter(pc.is_in(ids, pa.array(asked, pa.string()))).to_pandas()
        return found

    def _ids(self, kept: CountedDay) -> pa.ChunkedArray:
        """Give the transaction ids of a day's payments."""
        columns = ["transaction_id"]
        return pq.read_table(io.BytesIO(self._read(kept.payments)), columns=columns)["transaction_id"]

    def _labels_of(self, kept: CountedDay, ids: pd.Series) -> pd.DataFrame:
        """Give some transactions' labels of a day."""
        labels = self._frame(kept.labels)
        return labels[labels["transaction_id"].isin(ids)]

    def _kept(self, kept: CountedDay | None) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Give a day's payments and labels."""
        if kept is None:
            return no_rows(PAYMENT_COLUMNS), no_rows(LABEL_COLUMNS)
        return self._frame(kept.payments), self._frame(kept.labels)

    def _keep(self, state: State, day: int, payments: pd.DataFrame, labels: pd.DataFrame) -> None:
        name = _day_name(day)
        state.days[day] = CountedDay(
            payments=self._write(f"{name}/payments", payments),
            labels=self._write(f"{name}/labels", labels),
            counts=self._write(f"{name}/counts", count_day(payments, labels)),
            first_label_us=int(labels["labelled_us"].min()) if len(labels) else None,
            last_label_us=int(labels["labelled_us"].max()) if len(labels) else None,
            came=int(payments["kafka_time_us"].max()) // _DAY_US,
            ids=self._write_hashes(day, payments["transaction_id"]),
        )

    def counted(self, kept: CountedDay, until_us: int) -> pd.DataFrame:
        """Give what a day counted to, as far as it was known at a time, in microseconds since 1970."""
        if kept.last_label_us is None or kept.last_label_us <= until_us:
            return self._frame(kept.counts)
        payments, labels = self._kept(kept)
        return count_day(payments, labels[labels["labelled_us"] <= until_us])

    def state(self) -> State:
        """Read the state; ObjectStoreError as for `catch_up`."""
        content = read_object(self._client, self._features, STATE_KEY, missing_ok=True)
        try:
            state = State() if content is None else msgspec.json.decode(content, type=State)
        except NOT_THE_JSON:
            # of another version: made anew of the lake
            return State()
        # so is one of which a part is gone, such as one from a backup that was made during a renewal
        kept = set(list_keys(self._client, self._features, DAYS_FOLDER))
        return state if state.named() <= kept else State()

    def _read(self, key: str) -> bytes:
        return read_object(self._client, self._features, key)

    def _frame(self, key: str) -> pd.DataFrame:
        frame: pd.DataFrame = pq.read_table(io.BytesIO(self._read(key))).to_pandas()
        return frame

    def _write(self, name: str, frame: pd.DataFrame) -> str:
        """Write a table; gives its whole name."""
        content = to_parquet(pa.Table.from_pandas(frame, preserve_index=False))
        return self._write_content(name, content, ".parquet")

    def _write_hashes(self, day: int, ids: pd.Series | pa.ChunkedArray) -> str:
        return self._write_content(f"{_day_name(day)}/ids", _hashes(ids).astype(_HASH).tobytes())

    def _write_content(self, name: str, content: bytes, ending: str = "") -> str:
        """Write under a digest, so that what is named already is never changed; gives the whole name."""
        key = f"{DAYS_FOLDER}{name}-{hashlib.sha256(content).hexdigest()[:16]}{ending}"
        write_object(self._client, self._features, key, content)
        return key

    def _forget_days(self, state: State) -> None:
        named = {STATE_KEY} | state.named()
        old = datetime.fromtimestamp(self._now_us / 1e6, UTC) - _UNNAMED_FOR
        for found in list_objects(self._client, self._features, DAYS_FOLDER):
            if found.key not in named and found.modified < old:
                delete_object(self._client, self._features, found.key)


def _firsts(payments: pd.DataFrame) -> pd.DataFrame:
    """Give the first of each payment, in the order in which they came."""
    return payments.sort_values(PLACE, kind="stable").drop_duplicates(PAYMENT)


def _distinct(labels: list[pd.DataFrame]) -> pd.DataFrame:
    """Give each label once."""
    return pd.concat(labels, ignore_index=True).drop_duplicates(["transaction_id", *PLACE[1:]])


def _hashes(ids: pd.Series | pa.ChunkedArray) -> NDArray[np.uint64]:
    """Give the hash of each id, ascending and once; two ids of one hash cost time, and nothing else."""
    return np.unique(pd.util.hash_array(np.asarray(ids, dtype=object), categorize=False))


def _day_name(day: int) -> str:
    return str(_EPOCH + timedelta(days=day))


def _last(
    payments: pd.DataFrame, before: Iterable[tuple[int, int, int, int]]
) -> list[tuple[int, int, int, int]]:
    """Give what State.came_last is after these payments, of which some may have been read before."""
    last = payments.sort_values(PLACE, kind="stable").tail(_CAME_LAST)
    columns = (*(last[name] for name in PLACE), last["time_us"] // _DAY_US)
    came = zip(*(column.tolist() for column in columns), strict=True)
    return sorted({*before, *came})[-_CAME_LAST:]
