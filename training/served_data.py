"""What the lake says of a period: transactions, how they were scored, and what was labelled since."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from flink_jobs.domain.history import DAY_S
from flink_jobs.domain.transaction import MAX_FUTURE_S
from flink_jobs.store.lake import (
    LABELS_FOLDER,
    PREDICTIONS_FOLDER,
    TRANSACTIONS_FOLDER,
    Lake,
    LakeError,
    find_lake,
)
from training.label_history import LabelHistory, read_label_history
from training.lake_predictions import read_predictions
from training.lake_transactions import read_lake_transactions
from training.performance import ServedScores

_ROWS_AT_ONCE = 10_000
CHAMPION, CHALLENGER = "champion", "challenger"


class Model(NamedTuple):
    """A model in a role, `champion` or `challenger`, and the transactions that it scored in it."""

    version: str
    role: str
    served: ServedScores


class ServedData(NamedTuple):
    """A period of the lake.

    Attributes:
        frame: transactions in event-time order, with their predictions and `verdict` (1 fraud, 0 honest, -1
            unknown); see `read_predictions` for the other columns.
        left_out: records that are no transactions of a customer, or repeat one.
        notes: what a user should know, a sentence each.

    """

    frame: pd.DataFrame
    left_out: int
    notes: tuple[str, ...]

    @property
    def predicted(self) -> NDArray[np.bool_]:
        """Which of the transactions have a prediction."""
        return self.frame["score"].notna().to_numpy()

    def models(self, threshold_of: Callable[[str], float | None]) -> Iterator[Model]:
        """Give each model in each of its roles, champions first.

        Args:
            threshold_of: tells a model's threshold where its predictions do not; None: it is not known.

        """
        frame = self.frame[self.predicted]
        thresholds = _filled(frame["threshold"].to_numpy(), frame["model_version"], threshold_of)
        scores = frame["score"].to_numpy()
        days = frame["event_time"].to_numpy().astype("datetime64[D]").astype(np.int32)
        cards, amounts = (
            frame["customer_id"].cat.codes.to_numpy().astype(np.int64),
            frame["amount"].to_numpy(),
        )
        judged = (scores >= thresholds, frame["control_probability"].to_numpy(), frame["verdict"].to_numpy())
        challenging = frame["challenger_score"].to_numpy()
        unknown = np.full(len(frame), np.nan)
        theirs = _filled(unknown, frame["challenger_version"], threshold_of)
        for role, column, its_scores, its_thresholds in (
            (CHAMPION, "model_version", scores, thresholds),
            (CHALLENGER, "challenger_version", challenging, theirs),
        ):
            served = ServedScores(days, cards, amounts, its_scores, its_thresholds, *judged)
            scored = ~np.isnan(its_scores)
            for version in frame[column].cat.categories:
                rows = scored & (frame[column] == version).to_numpy()
                if rows.any():
                    yield Model(version, role, served.where(rows))


def open_served(lake: str, settings_file: str | None = None) -> tuple[Lake, Lake]:
    """Open transactions and predictions of a lake, a folder or `s3://bucket`.

    Raises:
        LakeError: one of them is not there.

    """
    transactions, predictions = (
        find_lake(f"{lake}/{folder}", settings_file) for folder in (TRANSACTIONS_FOLDER, PREDICTIONS_FOLDER)
    )
    if transactions is None:
        raise LakeError(f"{lake}/{TRANSACTIONS_FOLDER}: there are no transactions")
    if predictions is None:
        raise LakeError(
            f"{lake}/{PREDICTIONS_FOLDER}: there are no predictions yet. kafka_to_minio_job of this version "
            "writes them, minutes after the next transactions; a deployment of an earlier version has none "
            "before it is upgraded"
        )
    return transactions, predictions


def period(
    transactions: Lake, days: int, since: datetime | None, until: datetime | None
) -> tuple[datetime, datetime]:
    """Give begin and end: by default, so many days to the end of the last day with a transaction.

    Raises:
        LakeError: there is no transaction.

    """
    if until is None:
        last_s = transactions.last_event_s(datetime.now(UTC).timestamp() + MAX_FUTURE_S)
        if last_s is None:
            raise LakeError(f"{transactions.name}: there are no transactions")
        until = datetime.fromtimestamp(last_s // DAY_S * DAY_S + DAY_S, UTC)
    if since is None:
        since = until - timedelta(days=days)
    return since, until


def known_labels(
    lake: str, labels: str | None, settings_file: str | None, since: datetime, as_of: datetime
) -> LabelHistory | None:
    """Read what was labelled before a time; None where the lake has no labels.

    Args:
        lake: a folder or `s3://bucket`.
        labels: a folder or file instead of the lake's.
        settings_file: says where `s3://` is.
        since: no transaction happened before, so no label came.
        as_of: later labels are left out.

    Raises:
        DatasetError: as for `read_label_history`.
        LakeError: as for `Lake`.

    """
    if labels is None and find_lake(f"{lake}/{LABELS_FOLDER}", settings_file) is None:
        return None
    history = read_label_history(labels or f"{lake}/{LABELS_FOLDER}", settings_file, since=since)
    return history.before(as_of)


def read_served(
    transactions: Lake, predictions: Lake, history: LabelHistory | None, since: datetime, until: datetime
) -> ServedData:
    """Read the transactions with since <= event time < until; some 250 bytes each are in memory in all.

    Raises:
        LakeError: as for `Lake`.

    """
    read = read_lake_transactions(transactions, since, until, places=True)
    frame = read.frame
    scored = read_predictions(
        predictions,
        frame.pop("kafka_partition").to_numpy(),
        frame.pop("kafka_offset").to_numpy(),
        since.timestamp(),
    )
    frame = pd.concat([frame, scored], axis=1)
    frame["verdict"] = _verdicts(frame["transaction_id"], history)
    return ServedData(frame, read.left_out, read.notes)


def _verdicts(ids: "pd.Series[str]", history: LabelHistory | None) -> NDArray[np.int8]:
    """Give the latest label of each transaction, -1 where there is none."""
    verdicts = np.full(len(ids), -1, np.int8)
    if history is None:
        return verdicts
    latest = history.frame.drop_duplicates("transaction_id", keep="last")
    index, frauds = pd.Index(latest["transaction_id"]), np.append(latest["is_fraud"].to_numpy(np.int8), -1)
    for first in range(0, len(ids), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        verdicts[rows] = frauds[index.get_indexer(pd.Index(ids.iloc[rows].to_numpy(dtype=object)))]
    return verdicts


def _filled(
    thresholds: NDArray[np.float64],
    versions: "pd.Series[str]",
    threshold_of: Callable[[str], float | None],
) -> NDArray[np.float64]:
    """Fill in thresholds that predictions do not tell."""
    filled = thresholds.copy()
    for version in versions.cat.categories:
        rows = np.isnan(filled) & (versions == version).to_numpy()
        if rows.any():
            known = threshold_of(version)
            filled[rows] = np.nan if known is None else known
    return filled
