"""The transactions to send: from a file, or simulated."""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from clients.delivery import KeyedMessage
from clients.process import ClientError

if TYPE_CHECKING:
    from training.columns import Mapping
    from training.dataset import Dataset


class Input(NamedTuple):
    """Records in event-time order.

    Attributes:
        records: each is made when it is taken.
        total: how many records.
        first_event_s: event time of the first, seconds since 1970.
        last_event_s: of the last.
        source: the file, or "simulation"; for messages.
        notes: what a user should know of the file, a sentence each.

    """

    records: Iterator[KeyedMessage]
    total: int
    first_event_s: float
    last_event_s: float
    source: str
    notes: tuple[str, ...]


def read_transactions(  # noqa: PLR0913, PLR0917 - each cuts or tells the data
    data: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int | None,
    settings_file: Path | None = None,
    columns: "Mapping | None" = None,
    option: str = "--columns",
) -> Input:
    """Read `data` (simulate without one), cut to since <= event time < until and at most `limit` records.

    Args:
        data: CSV or Parquet, a path or `s3://bucket/key`.
        since: leave out what happened before.
        until: leave out what happened at or after.
        limit: of records.
        settings_file: says where `s3://` is.
        columns: of the file, by our names, where its own names do not tell.
        option: by which a user tells them, for messages.

    Raises:
        ClientError: the data cannot be used, or nothing is left of it.

    """
    try:
        from training.dataset import load  # noqa: PLC0415 - pandas is slow to load and an extra
        from training.simulate import simulated_dataset  # noqa: PLC0415 - as above
        from training.tables import DatasetError  # noqa: PLC0415 - as above
    except ImportError as error:
        raise ClientError(
            f"reading data needs {error.name}; pip install 'fraud-detection[training,clients]'"
        ) from None
    try:
        dataset = load(data, settings_file, columns=columns, option=option) if data else simulated_dataset()
        cut = dataset.between(since, until)
    except DatasetError as error:
        raise ClientError(str(error)) from None
    total = len(cut.frame) if limit is None else min(limit, len(cut.frame))
    if total == 0:
        times = dataset.frame["event_time"]
        raise ClientError(
            f"{dataset.source}: no transaction between {since or 'its start'} and {until or 'its end'}; "
            f"its event times are {times.iloc[0]} to {times.iloc[-1]} (UTC)"
        )
    times_s = cut.times_s()
    return Input(
        islice(_records(cut), total),
        total,
        float(times_s[0]),
        float(times_s[total - 1]),
        dataset.source,
        dataset.notes,
    )


def _records(dataset: "Dataset") -> Iterator[KeyedMessage]:
    from training.messages import iter_transactions  # noqa: PLC0415 - as above

    encode = msgspec.json.Encoder().encode
    for (message, label), time_s in zip(iter_transactions(dataset), dataset.times_s().tolist(), strict=True):
        transaction_id = message["transaction_id"]
        key = message.get("customer_id") or transaction_id
        yield KeyedMessage(
            key.encode(), encode(message), time_s, transaction_id, None if label is None else bool(label)
        )
