"""A lake that fills as time goes: transactions when they happen, labels of frauds when the delay is over."""

import io
import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from flink_jobs.store.lake import LABELS_FOLDER, TRANSACTIONS_FOLDER
from flink_jobs.store.object_store import s3_client, write_object
from flink_jobs.store.settings import Settings
from training.dataset import Dataset
from training.label_history import LabelHistory
from training.labelled_data import LabelledData
from training.messages import iter_transactions

_SCHEMA = pa.schema(
    [
        ("kafka_partition", pa.int32()),
        ("kafka_offset", pa.int64()),
        ("kafka_time", pa.timestamp("ms", "UTC")),
        ("payload", pa.binary()),
    ]
)


class FillingLake:
    """A lake in a store, and what is known of its transactions at any time.

    Each transaction comes when it happens; whoever labels tells of frauds only, the delay later.
    """

    def __init__(self, dataset: Dataset, settings: Settings, since: datetime) -> None:
        """Take labelled transactions.

        Args:
            dataset: of kind `history`, with labels in its file.
            settings: where the lake is, and how late labels come.
            since: the lake has nothing that came before (UTC, without a zone).

        """
        self._client: Any = s3_client(settings.s3)
        self._bucket = settings.buckets.datalake
        self._delay = timedelta(days=settings.label_delay_days)
        self._dataset = dataset
        self._unlabelled = replace(dataset, label=None)
        frauds = dataset.frame[dataset.frame[str(dataset.label)] == 1]
        given = pd.DataFrame(
            {
                "transaction_id": frauds["transaction_id"],
                "is_fraud": np.ones(len(frauds), np.int8),
                "labelled_at": frauds["event_time"] + self._delay,
            }
        )
        self._labels = LabelHistory(given.reset_index(drop=True), dataset.source, dataset.sha256)
        self._come = since
        self._offsets = itertools.count()

    def known_at(self, time: datetime) -> LabelledData:
        """Give what has come by a time; a transaction without a label is honest once the delay is over."""
        return LabelledData(
            self._unlabelled.between(None, time),
            self._labels.before(time),
            self._delay.days,
            unlabelled_is_honest=True,
        )

    def fill(self, until: datetime) -> None:
        """Write what came since the last call and before a time, a file for each day.

        Raises:
            ObjectStoreError: the store does not answer.

        """
        while self._come < until:
            midnight = datetime.combine(self._come.date(), datetime.min.time()) + timedelta(days=1)
            end = min(midnight, until)
            self._write(TRANSACTIONS_FOLDER, *self._payments(end))
            self._write(LABELS_FOLDER, *self._given(end))
            self._come = end

    def terminals(self, since: datetime, until: datetime) -> tuple[list[str], NDArray[np.int64]]:
        """Give terminal and day of each transaction with since <= event time < until."""
        found = self._dataset.between(since, until)
        return found.frame["terminal_id"].tolist(), found.days().astype(np.int64)

    def _payments(self, end: datetime) -> tuple[Iterator[dict[str, Any]], NDArray[Any]]:
        come = self._unlabelled.between(self._come, end)
        return (message for message, _ in iter_transactions(come)), come.frame["event_time"].to_numpy()

    def _given(self, end: datetime) -> tuple[Iterator[dict[str, Any]], NDArray[Any]]:
        frame = self._labels.frame
        given = frame[(frame["labelled_at"] >= self._come) & (frame["labelled_at"] < end)]
        times = given["labelled_at"].to_numpy()
        texts = np.datetime_as_string(times.astype("datetime64[us]"), unit="us").tolist()
        messages = (
            {"transaction_id": name, "is_fraud": True, "labelled_by": "lifecycle", "labelled_at": f"{at}Z"}
            for name, at in zip(given["transaction_id"].tolist(), texts, strict=True)
        )
        return messages, times

    def _write(self, folder: str, messages: Iterator[dict[str, Any]], came: NDArray[Any]) -> None:
        if not len(came):
            return
        offsets = list(itertools.islice(self._offsets, len(came)))
        table = pa.table(
            {
                "kafka_partition": np.zeros(len(came), np.int32),
                "kafka_offset": offsets,
                "kafka_time": came.astype("datetime64[ms]"),
                "payload": [msgspec.json.encode(message) for message in messages],
            }
        ).cast(_SCHEMA)
        content = io.BytesIO()
        pq.write_table(table, content)
        day = str(came[0].astype("datetime64[D]"))
        write_object(
            self._client, self._bucket, f"{folder}/dt={day}/part-{offsets[0]:010}", content.getvalue()
        )
