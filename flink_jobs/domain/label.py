"""What somebody found out about a transaction, as it travels on the topic `fraud_labels`."""

from datetime import datetime
from typing import Annotated

import msgspec

from flink_jobs.domain.transaction import Identifier


class Label(msgspec.Struct, frozen=True, gc=False):
    """Whether a transaction was fraud, who says so, and since when that is known.

    Attributes:
        transaction_id: as in the transaction.
        is_fraud: fraud or honest.
        labelled_by: a person, a team or a system; 1 to 64 characters.
        labelled_at: RFC 3339 with an offset; the latest label of a transaction counts.

    """

    transaction_id: Identifier
    is_fraud: bool
    labelled_by: Identifier
    labelled_at: Annotated[datetime, msgspec.Meta(tz=True)]


_decoder = msgspec.json.Decoder(Label)


def parse_label(payload: bytes) -> Label:
    """Read one record of the topic; ValueError says what is wrong with it."""
    try:
        return _decoder.decode(payload)
    except (UnicodeDecodeError, msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"no label: {error}") from None
