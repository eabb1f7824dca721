"""What came into the lake, day by day: tables of payments and of labels, with the place of each."""

import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from flink_jobs.domain.label import parse_label
from flink_jobs.domain.transaction import InvalidTransaction, parse_transaction
from flink_jobs.store.folders import BucketFolder
from flink_jobs.store.lake import (
    LABELS_FOLDER,
    TRANSACTIONS_FOLDER,
    LakeError,
    LakeRecord,
    day_of_file,
    list_day_folders,
    read_records,
)
from flink_jobs.store.lake_files import LISTINGS, FileGoneError, LakeFiles
from flink_jobs.store.merges import unread
from flink_jobs.store.object_store import ObjectMissingError, read_object
from training.terminal_days import PLACE

# What tells a payment from others of its transaction's id, as training does.
PAYMENT = ["transaction_id", "customer_id", "terminal_id", "amount", "time_us"]
PAYMENT_COLUMNS = [*PAYMENT, *PLACE]
LABEL_COLUMNS = ["transaction_id", "is_fraud", "labelled_us", *PLACE]

_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)


class Arrived(NamedTuple):
    """Payments and labels of one day by Kafka's clock, and the names of all files that are there."""

    payments: pd.DataFrame
    labels: pd.DataFrame
    there: set[str]


class LakeDays:
    """The lake's files, by the day on which their records came."""

    def __init__(self, client: Any, bucket: str, currency: str) -> None:  # noqa: ANN401 - boto3 makes its classes at run time
        self._client = client
        self._bucket = bucket
        self._currency = currency

    def arrivals(self, first_day: str, read: set[str]) -> Iterator[Arrived]:
        """Give what was not read yet, a day at a time, the first day first; at least once.

        Args:
            first_day: such as 2026-06-15; what came before is left out.
            read: names of files that were read. Those that are read now are added, and those of which nothing
                is new then, as they were merged into others or of others.

        Raises:
            LakeError: the lake cannot be read.
            ObjectStoreError: as for `list_keys`.

        """
        for listing in range(1, LISTINGS + 1):
            try:
                there, new = self._unread(first_day, read)
                for keys in by_day(new) or [[]]:
                    arrived = Arrived(self.payments(keys), self.labels(keys), there)
                    read.update(*(new[key] for key in keys))
                    yield arrived
            except FileGoneError as error:
                # it was merged and deleted meanwhile; days that were given are not given again
                if listing == LISTINGS:
                    raise LakeError(f"cannot read the lake: {error}") from None
            else:
                return

    def _unread(self, first_day: str, read: set[str]) -> tuple[set[str], dict[str, set[str]]]:
        """Give all files there are, and `Unread.files` of all days; notes in `read` what is known."""
        there: set[str] = set()
        new: dict[str, set[str]] = {}
        for folder in (TRANSACTIONS_FOLDER, LABELS_FOLDER):
            files = LakeFiles(BucketFolder(self._client, self._bucket, folder))
            known = {key.removeprefix(f"{folder}/") for key in read if key.startswith(f"{folder}/")}
            # the first is the folder itself, in which a job writes no files
            for day in files.days(first_day)[1:]:
                found, merges = files.finished(day, known)
                names = {file.key for file in found}
                there |= _keys(folder, names)
                if not names <= known:
                    told = unread(names, merges, known)
                    read |= _keys(folder, told.known)
                    new |= {f"{folder}/{name}": _keys(folder, told.files[name]) for name in told.files}
        return there, new

    def has_payments_before(self, first_day: str) -> bool:
        """Tell whether transactions came before a day; ObjectStoreError as for `list_keys`."""
        folders = list_day_folders(self._client, self._bucket, TRANSACTIONS_FOLDER)
        return any(day < first_day for _, day in folders)

    def payments(self, keys: Iterable[str]) -> pd.DataFrame:
        """Read transactions as training does: what is refused, or of nobody or nowhere, is none.

        Raises:
            LakeError: a file that is not the lake's.
            FileGoneError: one that is there no more.
            ObjectStoreError: as for `list_keys`.

        """
        rows = []
        for payload, time_us, *place in self._records(keys, TRANSACTIONS_FOLDER):
            try:
                read = parse_transaction(payload, time_us / 1e6, self._currency)
            except InvalidTransaction:
                continue
            if read.customer_id is not None and read.terminal_id is not None:
                happened_us = round(read.time_s * 1e6)
                told = (read.transaction_id, read.customer_id, read.terminal_id, read.amount, happened_us)
                rows.append((*told, time_us, *place))
        return _frame(rows, PAYMENT_COLUMNS)

    def labels(self, keys: Iterable[str]) -> pd.DataFrame:
        """Read labels; errors as for `payments`."""
        rows = []
        for payload, time_us, *place in self._records(keys, LABELS_FOLDER):
            try:
                label = parse_label(payload, time_us / 1e6)
            except ValueError:
                continue
            given_us = (label.labelled_at - _BEGIN) // timedelta(microseconds=1)
            rows.append((label.transaction_id, int(label.is_fraud), given_us, time_us, *place))
        return _frame(rows, LABEL_COLUMNS)

    def _records(self, keys: Iterable[str], folder: str) -> Iterator[LakeRecord]:
        for key in keys:
            if key.startswith(folder):
                try:
                    content = read_object(self._client, self._bucket, key)
                except ObjectMissingError as error:
                    raise FileGoneError(str(error)) from None
                yield from read_records(io.BytesIO(content), f"s3://{self._bucket}/{key}")


def by_day(keys: Iterable[str]) -> list[list[str]]:
    """Put the lake's files together by the day on which they came, the first day first."""
    ordered = sorted(keys, key=lambda key: (day_of_file(key), key))
    return [list(group) for _, group in groupby(ordered, day_of_file)]


def _keys(folder: str, names: Iterable[str]) -> set[str]:
    return {f"{folder}/{name}" for name in names}


def no_rows(columns: list[str]) -> pd.DataFrame:
    """Give an empty table of payments or labels."""
    return pd.DataFrame({name: pd.Series([], dtype=_kind(name)) for name in columns})


def _frame(rows: list[tuple[Any, ...]], columns: list[str]) -> pd.DataFrame:
    if not rows:
        return no_rows(columns)
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype({name: _kind(name) for name in columns})


def _kind(name: str) -> type:
    if name.endswith("_id"):
        return object
    return np.float64 if name == "amount" else np.int64
