"""The lake's transactions as a table, read as the scoring job read them."""

import numpy as np
import pandas as pd

from flink_jobs.domain.transaction import InvalidTransaction, parse_transaction
from flink_jobs.store.lake import LakeRecords

_MICROSECONDS = 1_000_000


def transactions_frame(records: LakeRecords) -> tuple[pd.DataFrame, int]:
    """Give the transactions, and how many records were left out.

    Records are left out that were refused, name no customer or terminal, or repeat a transaction.
    """
    rows: dict[str, tuple[str, str, float, int]] = {}
    met = 0
    for payload, time_s in records.timed():
        met += 1
        try:
            read = parse_transaction(payload, time_s)
        except InvalidTransaction:
            continue
        if read.customer_id is not None and read.terminal_id is not None:
            row = (read.customer_id, read.terminal_id, read.amount, round(read.time_s * _MICROSECONDS))
            rows.setdefault(read.transaction_id, row)
    customers, terminals, amounts, times = zip(*rows.values(), strict=True) if rows else ((),) * 4
    frame = pd.DataFrame(
        {
            "transaction_id": list(rows),
            "event_time": np.array(times, dtype=np.int64).astype("datetime64[us]"),
            "customer_id": list(customers),
            "terminal_id": list(terminals),
            "amount": np.array(amounts, dtype=np.float64),
        }
    )
    return frame, met - len(rows)
