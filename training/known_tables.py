"""Tables that many people have: how they are told, and which of their columns is whose, a line each.

A mapping is written as the option `--columns` takes it.
"""

from typing import NamedTuple


class PublicTable(NamedTuple):
    """A public set that is read by a mapping, or not at all.

    Attributes:
        title: its name.
        told_by: columns that tell it from other tables.
        columns: the mapping; empty where none makes transactions of it.
        lacks: what no mapping makes up for.

    """

    title: str
    told_by: tuple[str, ...]
    columns: str
    lacks: str = ""


# These names are understood without a mapping.
HANDBOOK = (
    "transaction_id=TRANSACTION_ID,event_time=TX_DATETIME,customer_id=CUSTOMER_ID,terminal_id=TERMINAL_ID,"
    "amount=TX_AMOUNT,is_fraud=TX_FRAUD"
)
# creditcard.csv counts seconds from an unnamed day of September 2013.
READY = "transaction_id=transaction_id,event_time=Time*1s@2013-09-01,is_fraud=Class"
READY_COLUMNS = (*(f"V{n}" for n in range(1, 29)), "Amount")

# These mappings are proposed where a file cannot be read as it is.
PUBLIC_TABLES = (
    PublicTable(
        "Sparkov",
        ("trans_date_trans_time", "cc_num", "merchant", "amt", "trans_num"),
        "transaction_id=trans_num,event_time=trans_date_trans_time,customer_id=cc_num,terminal_id=merchant,"
        "amount=amt",
    ),
    PublicTable(
        "PaySim",
        ("step", "nameOrig", "nameDest", "amount"),
        "event_time=step*1h@2017-01-01,customer_id=nameOrig,terminal_id=nameDest,is_fraud=isFraud",
    ),
    PublicTable(
        "IEEE-CIS",
        ("TransactionID", "TransactionDT", "TransactionAmt"),
        "",
        "it has no customer: card1 to card6 describe a kind of card that many people have, so there is no "
        "history to compute features from",
    ),
)
