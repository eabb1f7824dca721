"""Customers' histories, folded anew from the lake."""

import logging
import time
from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flink_jobs.domain.buckets import bucket_of
from flink_jobs.domain.feature_batch import Histories, fold_only
from flink_jobs.domain.history import DAY_S, KEPT_S
from flink_jobs.lost_state import Beginning
from flink_jobs.store.lake import Lake
from flink_jobs.store.lake_files import MICROSECONDS, came_us, records_of

_COLUMNS = ("kafka_time", "payload", "customer_id")
_TOLD_EVERY_S = 10.0

# as warnings, because TaskManagers log nothing lower of Python
_log = logging.getLogger(__name__)


def fold_lake(lake: Lake, beginning: Beginning, histories: Histories, buckets: Collection[int]) -> int:
    """Fold what came in the lake's last 37 days into the histories of customers.

    A history does not depend on the order in which its transactions come, so files are read as they lie.

    Args:
        lake: of transactions.
        beginning: of the job; what it reads from the topic is left out.
        histories: of these buckets.
        buckets: whose customers are wanted.

    Returns:
        How many transactions were folded.

    Raises:
        LakeError: the lake cannot be read.

    """
    since_day = _first_day(lake.last_day(), beginning.found_ms)
    began_s = told_s = time.monotonic()
    read = folded = 0
    for batch in lake.batches(_COLUMNS, since_day):
        read += len(batch)
        wanted = _not_in_topic(batch, beginning) & _in_buckets(batch["customer_id"], buckets)
        if wanted.any():
            folded += fold_only(_records(batch.filter(pa.array(wanted))), histories, lake.currency)
        if time.monotonic() > told_s + _TOLD_EVERY_S:
            told_s = time.monotonic()
            _log.warning("%d of the lake's records read, %d of them folded", read, folded)
    seconds = max(time.monotonic() - began_s, 1e-9)
    _log.warning(
        "histories made anew: %d records of the lake since %s, %d folded, in %.1f s: %.0f records/s",
        read,
        since_day,
        folded,
        seconds,
        read / seconds,
    )
    return folded


def _first_day(last_day: str, found_ms: int) -> str:
    """Give the day from which on histories are folded; "" where the lake has none.

    A day that is yet to come has records of a broker whose clock was wrong, and is not what others end with.
    """
    if not last_day:
        return ""
    tomorrow = datetime.fromtimestamp(found_ms / 1000, UTC).date() + timedelta(days=1)
    if date.fromisoformat(last_day) > tomorrow:
        _log.warning("the lake has records of %s, which is yet to come by the clock of this host", last_day)
    last = min(date.fromisoformat(last_day), tomorrow)
    return f"{last - timedelta(days=1 + int(KEPT_S // DAY_S))}"


def _not_in_topic(batch: pa.RecordBatch, beginning: Beginning) -> NDArray[np.bool_]:
    """Tell which records the job does not read from the topic."""
    partitions, offsets = batch["kafka_partition"].to_numpy(), batch["kafka_offset"].to_numpy()
    known, codes = np.unique(partitions, return_inverse=True)
    starts = np.array([beginning.start.get(each, 0) for each in known.tolist()], dtype=np.int64)
    # where the topic had no record, what came later it has
    firsts_ms = np.array(
        [beginning.first_ms.get(each, beginning.found_ms) for each in known.tolist()], dtype=np.int64
    )
    found: NDArray[np.bool_] = (offsets < starts[codes]) | (came_us(batch) // 1000 < firsts_ms[codes])
    return found


def _in_buckets(customer_ids: pa.Array, buckets: Collection[int]) -> NDArray[np.bool_]:
    """Tell which customers are wanted; where the column has none, the record was refused, or has none."""
    coded = customer_ids.dictionary_encode()
    wanted = [bucket_of(customer_id) in buckets for customer_id in coded.dictionary.to_pylist()]
    codes = coded.indices.fill_null(len(wanted)).to_numpy()
    found: NDArray[np.bool_] = np.array([*wanted, False])[codes]
    return found


def _records(batch: pa.RecordBatch) -> Iterator[tuple[bytes, float]]:
    for record in records_of(batch):
        yield record.payload, record.time_us / MICROSECONDS
