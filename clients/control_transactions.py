"""Control transactions that nobody has labelled yet, for whoever labels.

Chance chooses them among the transactions that raised no alert; what comes of them tells how many frauds are
missed.
"""

import csv
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import IO, NamedTuple

import numpy as np
import pyarrow as pa

from clients.process import ClientError
from flink_jobs.domain.history import DAY_S
from flink_jobs.domain.transaction import MAX_FUTURE_S, InvalidTransaction, parse_transaction
from flink_jobs.store.lake import (
    LABELS_FOLDER,
    PREDICTIONS_FOLDER,
    TRANSACTIONS_FOLDER,
    Lake,
    day_before,
    open_lake,
)
from flink_jobs.store.lake_files import PLACE_COLUMNS, records_of
from flink_jobs.store.settings import Settings
from training.label_history import label_history_of
from training.lake_predictions import control_places, read_predictions


class ControlTransaction(NamedTuple):
    """What a labeller sees of one; the fields are columns of the list."""

    transaction_id: str
    event_time: str
    customer_id: str | None
    terminal_id: str | None
    amount: float
    score: float


class ControlList(NamedTuple):
    """Control transactions that are still open, in event-time order, and how many there are in all."""

    still_open: list[ControlTransaction]
    chosen: int
    since: datetime


def read_control_list(settings: Settings, since: datetime | None, days: int) -> ControlList:
    """Read them from the lake, those that happened since a time; None: so many days before the last event.

    Raises:
        ClientError: there are no transactions, or no predictions.
        LakeError: as for `Lake`.

    """
    transactions, predictions, labels = (
        open_lake(settings, folder) for folder in (TRANSACTIONS_FOLDER, PREDICTIONS_FOLDER, LABELS_FOLDER)
    )
    if predictions.is_empty():
        raise ClientError(
            f"{predictions.name}: there are no predictions yet. kafka_to_minio_job of this version writes "
            "them, minutes after the next transactions"
        )
    since_s = _last_s(transactions) - days * DAY_S if since is None else since.timestamp()
    scores = _scores(predictions, since_s)
    chosen = sorted(_chosen(transactions, scores, since_s), key=lambda each: each[0])
    # a transaction that was sent twice was chosen twice
    by_id = {each.transaction_id: each for time_s, each in reversed(chosen) if time_s >= since_s}
    labelled = set(label_history_of(labels, labels.name, since_s).frame["transaction_id"])
    still_open = [each for each in reversed(by_id.values()) if each.transaction_id not in labelled]
    return ControlList(still_open, len(by_id), datetime.fromtimestamp(since_s, UTC))


def write_control_list(transactions: Iterable[ControlTransaction], file: IO[str]) -> None:
    """Write CSV with an empty column is_fraud, which `fraud-label --data` reads when it is filled in."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow((*ControlTransaction._fields, "is_fraud"))
    writer.writerows((*each, "") for each in transactions)


def _last_s(transactions: Lake) -> float:
    last_s = transactions.last_event_s(datetime.now(UTC).timestamp() + MAX_FUTURE_S)
    if last_s is None:
        raise ClientError(f"{transactions.name}: there are no transactions")
    return last_s


def _scores(predictions: Lake, since_s: float) -> dict[tuple[int, int], float]:
    """Give scores of control transactions by partition and offset."""
    places = control_places(predictions, since_s)
    scored = read_predictions(predictions, *places, since_s)
    # what was chosen by a later prediction only was an alert before, or scored without control transactions
    chosen = scored["control_probability"].notna().to_numpy()
    rows = zip(*(column[chosen].tolist() for column in (*places, scored["score"].to_numpy())), strict=True)
    return {(partition, offset): score for partition, offset, score in rows}


def _chosen(
    transactions: Lake, scores: dict[tuple[int, int], float], since_s: float
) -> Iterable[tuple[float, ControlTransaction]]:
    """Give those transactions with their event times."""
    offsets = np.array([offset for _, offset in scores], dtype=np.int64)
    for batch in transactions.batches(["kafka_time", "payload"], day_before(since_s)):
        # of another partition, a few besides
        likely = np.isin(batch[PLACE_COLUMNS[1]].to_numpy(), offsets)
        for record in records_of(batch.filter(pa.array(likely))):
            score = scores.get((record.partition, record.offset))
            if score is None:
                continue
            try:
                read = parse_transaction(record.payload, record.time_us / 1e6, transactions.currency)
            except InvalidTransaction:
                continue
            happened = f"{read.event_time.astimezone(UTC).replace(tzinfo=None).isoformat()}Z"
            shown = (read.transaction_id, happened, read.customer_id, read.terminal_id, read.amount, score)
            yield read.time_s, ControlTransaction(*shown)
