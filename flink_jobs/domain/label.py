"""What somebody found out about a transaction, as it travels on the topic `fraud_labels`."""

import time
from datetime import datetime
from typing import Annotated

import msgspec

from flink_jobs.domain.json_errors import NOT_THE_JSON
from flink_jobs.domain.transaction import Identifier, id_problem, time_problem


class Label(msgspec.Struct, frozen=True, gc=False):
    """Whether a transaction was fraud, who says so, and since when that is known.

    Attributes:
        transaction_id: as in the transaction.
        is_fraud: fraud or honest.
        labelled_by: a person, a team or a system; an id as well.
        labelled_at: RFC 3339 with an offset; the latest label of a transaction counts.

    """

    transaction_id: Identifier
    is_fraud: bool
    labelled_by: Identifier
    labelled_at: Annotated[datetime, msgspec.Meta(tz=True)]


_decoder = msgspec.json.Decoder(Label)


def parse_label(payload: bytes, now_s: float | None = None) -> Label:
    """Read one record of the topic; ValueError says what is wrong with it.

    Args:
        payload: the record's value as it lies in Kafka.
        now_s: the reader's clock, in seconds since 1970, by default now; `labelled_at` may lie a day past it.

    """
    if not payload:
        raise ValueError("no label: the record has no value, or one without a byte")
    try:
        # the decoder does not look at fields that it skips
        payload.decode()
        label = _decoder.decode(payload)
    except NOT_THE_JSON as error:
        raise ValueError(f"no label: {error}") from None
    problems = {
        "transaction_id": id_problem(label.transaction_id),
        "labelled_by": id_problem(label.labelled_by),
        "labelled_at": time_problem(label.labelled_at, time.time() if now_s is None else now_s),
    }
    for name, problem in problems.items():
        if problem:
            raise ValueError(f"no label: {name} {problem}")
    return label
