"""A file whose columns have other names is read by a mapping; of a public set, the message gives it."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

from training.columns import Column, parse_columns
from training.dataset import Dataset, load
from training.label_history import read_label_history
from training.label_table import read_label_table
from training.tables import DatasetError

SPARKOV = (
    ",trans_date_trans_time,cc_num,merchant,category,amt,first,trans_num,unix_time,is_fraud",
    "0,2019-01-01 00:00:18,4992346398065154184,fraud_Okafor Ltd,misc_net,4.97,Zoë,0a1b2c,1325376018,0",
    "1,2019-01-01 00:00:44,4992346398065154185,fraud_Sosa Inc,misc_net,107.23,Ana,0a1b2d,1325376044,1",
)
PAYSIM = (
    "step,type,amount,nameOrig,oldbalanceOrg,newbalanceOrig,nameDest,oldbalanceDest,newbalanceDest,isFraud",
    "1,TRANSFER,181.0,C130,181.0,0.0,C553,0.0,0.0,1",
    "26,PAYMENT,5.5,C131,181.0,0.0,M979,0.0,0.0,0",
)


OURS = ("transaction_id", "event_time", "customer_id", "terminal_id", "amount", "is_fraud")


def write(tmp_path: Path, *lines: str) -> str:
    path = tmp_path / "data.csv"
    path.write_text("\n".join([*lines, ""]))
    return str(path)


def read(location: str, mapping: str) -> Dataset:
    return load(location, columns=parse_columns(mapping))


def proposed(location: str) -> str:
    """Give the mapping that the message proposes."""
    with pytest.raises(DatasetError) as refused:
        load(location)
    words = shlex.split(str(refused.value))
    return words[words.index("--columns") + 1]


def test_the_mapping_proposed_for_sparkov_works(tmp_path: Path) -> None:
    data = read(write(tmp_path, *SPARKOV), proposed(write(tmp_path, *SPARKOV)))
    assert data.frame.iloc[1].to_dict() == {
        "transaction_id": "0a1b2d",
        "event_time": pd.Timestamp("2019-01-01 00:00:44"),
        "customer_id": "4992346398065154185",
        "terminal_id": "fraud_Sosa Inc",
        "amount": 107.23,
        "is_fraud": 1,
    }
    assert not data.notes


def test_the_mapping_proposed_for_paysim_works_and_rows_get_ids(tmp_path: Path) -> None:
    location = write(tmp_path, *PAYSIM)
    data = read(location, proposed(location))
    assert data.frame["event_time"].tolist() == [
        pd.Timestamp("2017-01-01 01:00"),
        pd.Timestamp("2017-01-02 02:00"),
    ]
    assert data.frame["terminal_id"].tolist() == ["C553", "M979"]
    assert data.frame["is_fraud"].tolist() == [1, 0]
    assert data.frame["transaction_id"].nunique() == 2
    # labels of the same file are of the same transactions
    labels = read_label_table(location, columns=parse_columns(proposed(location)))
    assert labels.transaction_ids == data.frame["transaction_id"].tolist()


def test_ieee_cis_is_refused_as_it_has_no_customer(tmp_path: Path) -> None:
    names = ",".join(
        ["TransactionID,isFraud,TransactionDT,TransactionAmt,card1", *(f"V{n}" for n in range(1, 340))]
    )
    location = write(tmp_path, names, ",".join(["1"] * 344))
    for reading in (load, read_label_history):
        with pytest.raises(DatasetError, match=r"looks like IEEE-CIS, .*: it has no customer") as refused:
            reading(location)
        assert "V339" not in str(refused.value)


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("at*1s", ["1777885200", "1777885200.5"], ["2026-05-04 09:00:00", "2026-05-04 09:00:00.5"]),
        ("at*1ms", ["1777885200000", "1777885200001"], ["2026-05-04 09:00:00", "2026-05-04 09:00:00.001"]),
        (
            "at*1us",
            ["1777885200000000", "1777885200000001"],
            ["2026-05-04 09:00", "2026-05-04 09:00:00.000001"],
        ),
        ("at*15min@2026-01-01", ["0", "5"], ["2026-01-01", "2026-01-01 01:15"]),
        ("at*1d@2026-01-01T12:00:00+02:00", ["0", "1"], ["2026-01-01 10:00", "2026-01-02 10:00"]),
    ],
)
def test_a_time_that_is_a_number_has_a_unit(
    tmp_path: Path, column: str, values: list[str], expected: list[str]
) -> None:
    rows = (f"t{n},{value},c,p,1" for n, value in enumerate(values))
    data = read(
        write(tmp_path, "transaction_id,at,customer_id,terminal_id,amount", *rows), f"event_time={column}"
    )
    assert data.frame["event_time"].tolist() == [pd.Timestamp(moment) for moment in expected]


def test_labels_have_a_mapping_and_units_as_well(tmp_path: Path) -> None:
    location = write(tmp_path, "tx,bad,when", "288062.0,1,1777885200")
    mapping = parse_columns("transaction_id=tx,is_fraud=bad,labelled_at=when*1s")
    frame = read_label_history(location, columns=mapping).frame
    assert frame.to_dict("records") == [
        {"transaction_id": "288062", "is_fraud": 1, "labelled_at": pd.Timestamp("2026-05-04 09:00")}
    ]
    with pytest.raises(DatasetError, match=r"needs its unit, such as --label-columns labelled_at=when\*1s"):
        read_label_history(location, columns=mapping | {"labelled_at": Column("when")})


@pytest.mark.parametrize("at", ["1e30", "-1", "4102444800"])
def test_a_number_past_the_calendar_is_refused(tmp_path: Path, at: str) -> None:
    location = write(tmp_path, "transaction_id,at,customer_id,terminal_id,amount", f"t,{at},c,p,1")
    with pytest.raises(DatasetError, match=r"column at, row 1 is .*; expected a time"):
        read(location, "event_time=at*1s")


@pytest.mark.parametrize(
    "spelt",
    [
        ("TransactionId", "EventTime", "CustomerId", "TerminalId", "Amount", "IsFraud"),
        ("TRANSACTION_ID", "EVENT_TIME", "CUSTOMER_ID", "TERMINAL_ID", "AMOUNT", "is_fraud"),
        ("transaction_id", "tx_datetime", "customer-id", "terminal id", "tx_amount", "tx_fraud"),
    ],
)
def test_a_mapping_is_proposed_for_names_of_other_case_and_punctuation(
    tmp_path: Path, spelt: tuple[str, ...]
) -> None:
    location = write(tmp_path, ",".join(spelt), "t,2026-05-04,c,p,1.5,1")
    with pytest.raises(DatasetError, match="it is read with --columns ") as refused:
        load(location)
    mapping = str(refused.value).partition("--columns ")[2]
    assert mapping == ",".join(f"{ours}={name}" for ours, name in zip(OURS, spelt, strict=True))
    assert read(location, mapping).frame.iloc[0].tolist() == [
        "t",
        pd.Timestamp("2026-05-04"),
        "c",
        "p",
        1.5,
        1,
    ]


def test_ready_rows_may_have_ids(tmp_path: Path, ready_frame: pd.DataFrame) -> None:
    ready_frame.head(3).assign(transaction_id=["a", "b", "c"]).to_csv(tmp_path / "own.csv", index=False)
    assert load(tmp_path / "own.csv").frame["transaction_id"].tolist() == ["a", "b", "c"]
    ready_frame.head(3).assign(id=["a", "b", "c"]).to_csv(tmp_path / "told.csv", index=False)
    assert read(str(tmp_path / "told.csv"), "transaction_id=id").frame["transaction_id"].tolist() == [
        "a",
        "b",
        "c",
    ]


def test_messages_name_what_their_user_types(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="it is read with COLUMNS=transaction_id=trans_num,"):
        load(write(tmp_path, *SPARKOV), option="COLUMNS=")
    location = write(
        tmp_path, "transaction_id,event_time,customer_id,terminal_id,amount", "t,1777885200,c,p,1"
    )
    with pytest.raises(DatasetError, match=r"such as COLUMNS=event_time=event_time\*1s for seconds"):
        load(location, option="COLUMNS=")
    location = write(tmp_path, "transaction_id,at,customer_id,terminal_id,amount", "t,1,c,p,1")
    with pytest.raises(DatasetError, match="; COLUMNS= tells columns of other names"):
        load(location, option="COLUMNS=")


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"has no column cc_nr, which --columns says is customer_id; found .*cc_num"
    ):
        read(write(tmp_path, *SPARKOV), "customer_id=cc_nr")
    with pytest.raises(DatasetError, match="missing columns event_time, terminal_id, amount"):
        read(write(tmp_path, *SPARKOV), "customer_id=cc_num")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cc_num", "'cc_num' is no pair such as customer_id=cc_num"),
        ("customer=cc_num", "'customer' is none of our columns: transaction_id, "),
        ("amount=a,amount=b", "amount is there twice"),
        ("amount=amt*1s", "amount has no unit, only event_time and labelled_at have"),
        ("event_time=step*1h@May", "'May' is no date such as 2017-01-01"),
        ("event_time=step*1h@9999-12-31T23:59:59-01:00", "is no date such as"),
    ],
)
def test_a_mapping_that_cannot_be_read_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_columns(text)
