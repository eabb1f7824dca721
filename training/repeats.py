"""Rows that tell a transaction twice, or give two transactions one id."""

import pandas as pd

from training.columns import LABEL
from training.printable import printable
from training.tables import DatasetError

_NAMED_ROWS = 3


def without_repeats(frame: pd.DataFrame, source: str) -> tuple[pd.DataFrame, list[str]]:
    """Leave out rows that repeat an earlier one, as a history does that has the transaction already.

    Rows of one id that differ stay, as the job scores each and puts it into its customer's history.

    Args:
        frame: in the order of the file; what tells a transaction, and LABEL where it is known.
        source: names the file in messages.

    Returns:
        The other rows, and a note on repeats and one on ids that stand for several transactions.

    Raises:
        DatasetError: one transaction is a fraud in one row and honest in another.

    """
    shared = frame["transaction_id"].duplicated(keep=False)
    if not shared.any():
        return frame, []
    among = frame[shared]
    told = [name for name in frame.columns if name != LABEL]
    if LABEL in frame.columns:
        _check_labels(among.drop_duplicates(), told, source)
    notes = []
    repeats = among[among.duplicated(told)]
    if len(repeats):
        notes.append(
            f"{source}: left out {len(repeats):,} rows that repeat an earlier one; the first is "
            f"row {repeats.index[0] + 1}, transaction {_first_id(repeats)}"
        )
        among = among.drop(repeats.index)
        frame = frame.drop(repeats.index)
    conflicting = among[among["transaction_id"].duplicated(keep=False)]
    if len(conflicting):
        ids = conflicting["transaction_id"].unique().tolist()
        notes.append(conflict_note(source, ids, f" for those of rows {_rows(conflicting)}"))
    return frame, notes


def conflict_note(source: str, ids: list[str], rows: str = "") -> str:
    """Say that ids stand for several transactions each, and, of the first, in which rows these are."""
    return (
        f"{source}: {len(ids):,} ids stand for several transactions each, {printable(ids[0])}"
        f"{rows or ' among them'}. A label goes to all of them, and only the first alert is shown: give each "
        "transaction an id of its own"
    )


def _check_labels(among: pd.DataFrame, told: list[str], source: str) -> None:
    contradicting = among[among.duplicated(told, keep=False)]
    if len(contradicting):
        raise DatasetError(
            f"{source}: transaction {_first_id(contradicting)} is a fraud by one row and honest by another, "
            f"rows {_rows(contradicting)}; leave out the one that is wrong (the first data row is row 1)"
        )


def _first_id(frame: pd.DataFrame) -> str:
    return printable(frame["transaction_id"].iloc[0])


def _rows(frame: pd.DataFrame) -> str:
    """Name the rows of the first id."""
    rows = frame.index[frame["transaction_id"] == frame["transaction_id"].iloc[0]] + 1
    more = " …" if len(rows) > _NAMED_ROWS else ""
    return ", ".join(map(str, rows[:_NAMED_ROWS])) + more
