import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_store import MemoryStore

from flink_jobs.domain.transaction import parse_transaction
from training import tables
from training.columns import HANDBOOK_COLUMNS
from training.dataset import READY_COLUMNS, from_frame, load
from training.messages import iter_transactions
from training.tables import DatasetError

NOW_S = 4e9


def project_frame(**columns: object) -> pd.DataFrame:
    rows = {
        "transaction_id": ["b", "a"],
        "event_time": ["2024-03-01T12:00:01Z", "2024-03-01T13:00:00+02:00"],
        "customer_id": ["c1", "c2"],
        "terminal_id": ["t1", "t2"],
        "amount": [10.5, 0.0],
    }
    return pd.DataFrame({**rows, **columns})


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_handbook_columns_are_read_from_either_format(
    tmp_path: Path, handbook_frame: pd.DataFrame, suffix: str
) -> None:
    path = tmp_path / f"data.{suffix}"
    if suffix == "csv":
        handbook_frame.to_csv(path, index=False)
    else:
        handbook_frame.to_parquet(path)
    data = load(path)
    assert data.kind == "history"
    assert data.label == "is_fraud"
    assert list(data.frame.columns) == [*HANDBOOK_COLUMNS.values(), "is_fraud"]
    assert data.frame["customer_id"].tolist() == handbook_frame["CUSTOMER_ID"].astype(str).tolist()
    assert data.frame["is_fraud"].tolist() == handbook_frame["TX_FRAUD"].tolist()
    assert np.array_equal(data.frame["event_time"], handbook_frame["TX_DATETIME"])
    assert len(data.sha256) == 64


def test_own_columns_are_read_in_event_time_order_and_in_utc() -> None:
    data = from_frame(project_frame(), "own", "")
    assert data.label is None
    assert data.frame["transaction_id"].tolist() == ["a", "b"]
    assert [message["event_time"] for message, _ in iter_transactions(data)] == [
        "2024-03-01T11:00:00Z",
        "2024-03-01T12:00:01Z",
    ]


def test_equal_times_keep_the_order_of_the_file() -> None:
    data = from_frame(project_frame(event_time="2024-03-01T00:00:00Z"), "own", "")
    assert data.frame["transaction_id"].tolist() == ["b", "a"]


def test_identifiers_stay_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    project_frame(customer_id=["007", "08"]).to_csv(path, index=False)
    assert load(path).frame["customer_id"].tolist() == ["08", "007"]


def test_a_row_of_ready_columns_becomes_a_message(ready_frame: pd.DataFrame) -> None:
    data = from_frame(ready_frame, "ready", "0123456789abcdef01")
    assert data.kind == "columns"
    message, label = next(iter_transactions(data))
    first = ready_frame.iloc[0]
    assert message["transaction_id"] == "0123456789abcdef-1"
    when = datetime(2013, 9, 1, tzinfo=UTC) + timedelta(seconds=first["Time"])
    assert message["event_time"] == when.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert message["amount"] == first["Amount"]
    assert message["features"] == {name: first[name] for name in READY_COLUMNS}
    assert label == first["Class"]


@pytest.mark.parametrize("kind", ["history", "columns"])
def test_messages_are_transactions_for_whoever_serves(
    handbook_frame: pd.DataFrame, ready_frame: pd.DataFrame, kind: str
) -> None:
    data = from_frame(handbook_frame.head(500) if kind == "history" else ready_frame, kind, "")
    messages = [message for message, _ in iter_transactions(data)]
    parsed = [parse_transaction(json.dumps(message).encode(), NOW_S) for message in messages]
    assert [each.transaction_id for each in parsed] == data.frame["transaction_id"].tolist()
    assert [each.time_s for each in parsed] == data.times_s().tolist()


@settings(deadline=None)  # other work may hold the machine up
@given(st.datetimes(datetime(1970, 1, 2), datetime(2090, 1, 1)))  # noqa: DTZ001 - the zone is left out on purpose
def test_event_times_are_the_same_number_in_training_and_on_the_wire(moment: datetime) -> None:
    data = from_frame(project_frame(event_time=pd.Timestamp(moment)), "own", "")
    message = next(iter_transactions(data))[0]
    assert parse_transaction(json.dumps(message).encode(), NOW_S).time_s == data.times_s()[0]


def test_between_takes_its_start_and_not_its_end(handbook_frame: pd.DataFrame) -> None:
    data = from_frame(handbook_frame, "simulated", "")
    cut = data.between("2024-03-05", datetime(2024, 3, 8, tzinfo=UTC))
    assert cut.days().min() == np.datetime64("2024-03-05").astype(int)
    assert cut.days().max() == np.datetime64("2024-03-07").astype(int)
    instant = pd.Timestamp(data.frame["event_time"].iloc[10])
    assert (data.frame["event_time"].iloc[[0, 9]] < instant).all()
    assert data.between(instant.isoformat(), None).frame["event_time"].iloc[0] == instant
    assert (data.between(None, instant.isoformat()).frame["event_time"] < instant).all()
    assert data.between("2030-01-01", None).frame.empty
    assert len(data.between(None, None).frame) == len(data.frame)


@pytest.mark.parametrize("column", ["TX_DATETIME", "TERMINAL_ID"])
def test_a_missing_column_is_named(tmp_path: Path, handbook_frame: pd.DataFrame, column: str) -> None:
    path = tmp_path / "without.csv"
    handbook_frame.drop(columns=column).to_csv(path, index=False)
    with pytest.raises(
        DatasetError,
        match=rf"without\.csv: missing column {column}\. Expected.*found \(separated by commas\): T",
    ):
        load(path)


def test_a_missing_ready_column_is_named(ready_frame: pd.DataFrame) -> None:
    with pytest.raises(
        DatasetError, match=r"missing columns V7, Amount\. Expected for ready numeric columns"
    ):
        from_frame(ready_frame.drop(columns=["V7", "Amount"]), "file", "")


def test_an_unknown_table_is_told_what_is_known() -> None:
    with pytest.raises(DatasetError, match=r"none of the expected columns.*TX_AMOUNT.*customer_id.*V28"):
        from_frame(pd.DataFrame({"x": [1]}), "file", "")


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("TX_AMOUNT", float("nan"), "is empty; expected a number"),
        ("TX_AMOUNT", float("inf"), "is inf; expected a number"),
        ("TX_AMOUNT", -0.01, "is -0.01; expected a number not below 0"),
        ("TX_AMOUNT", "12,50", "is '12,50'; expected a number"),
        ("TX_DATETIME", "yesterday", "is 'yesterday'; expected a date and time"),
        ("TX_DATETIME", None, "is empty; expected a date and time"),
        ("CUSTOMER_ID", None, "is empty; expected an id of 1 to 64 characters"),
        ("TX_FRAUD", 2, "is 2; expected 0 or 1"),
        ("TX_FRAUD", None, "is empty; expected 0 or 1"),
    ],
)
def test_a_bad_value_is_named_by_column_and_row(
    tmp_path: Path, handbook_frame: pd.DataFrame, column: str, value: object, said: str
) -> None:
    frame = handbook_frame.head(9).astype({column: object})
    if isinstance(value, str):
        frame[column] = frame[column].astype(str)
    frame.loc[[4, 7], column] = value
    frame.to_csv(tmp_path / "bad.csv", index=False)
    frame.to_parquet(tmp_path / "bad.parquet")
    for name in ("bad.csv", "bad.parquet"):
        with pytest.raises(DatasetError) as caught:
            load(tmp_path / name)
        assert f"{name}: column {column}, row 5 {said}" in str(caught.value)
        assert "2 such rows" in str(caught.value)


def test_times_as_numbers_are_refused() -> None:
    with pytest.raises(DatasetError, match="column event_time, row 1 is 12; expected a date and time"):
        from_frame(project_frame(event_time=[12, 13]), "own", "")


@pytest.mark.parametrize("content", [b"", b"PAR1 broken", b"\xff\xfe\x00\x01"])
def test_a_file_that_is_neither_format_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"data\.bin: "):
        load(path)


def test_a_table_without_rows_is_refused(handbook_frame: pd.DataFrame) -> None:
    with pytest.raises(DatasetError, match="no rows"):
        from_frame(handbook_frame.head(0), "file", "")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nothing\.csv: no such file"):
        load(tmp_path / "nothing.csv")


def test_an_object_is_read_by_bucket_and_key(
    monkeypatch: pytest.MonkeyPatch, handbook_frame: pd.DataFrame, settings_file: Path, store: MemoryStore
) -> None:
    monkeypatch.setattr(tables, "s3_client", lambda _settings: store)
    content = handbook_frame.head(3).to_csv(index=False).encode()
    store.put_object(Bucket="datalake", Key="labelled/march.csv", Body=content)
    assert len(load("s3://datalake/labelled/march.csv", settings_file).frame) == 3
    with pytest.raises(DatasetError, match="expected s3://bucket/key"):
        load("s3://datalake", settings_file)
    with pytest.raises(DatasetError, match=r"cannot read s3://datalake/other\.csv"):
        load("s3://datalake/other.csv", settings_file)


def test_an_object_without_settings_is_told_what_makes_them(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no settings file at .*none\.json"):
        load("s3://datalake/march.csv", tmp_path / "none.json")
