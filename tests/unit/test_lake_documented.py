"""What docs/data.md says of the lake: its columns are those that the job writes, and what it shows runs."""

import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from s3_server import s3_server

from flink_jobs.domain.scoring import Prediction
from flink_jobs.store.lake import (
    ALERTS_FOLDER,
    DEAD_LETTERS_FOLDER,
    FOLDERS,
    PREDICTIONS_FOLDER,
    TRANSACTIONS_FOLDER,
)
from flink_jobs.store.merges import Merge, record_name
from flink_jobs.store.object_store import s3_client, write_object

PAGE = (Path(__file__).parents[2] / "docs/data.md").read_text()
JOB = (Path(__file__).parents[2] / "flink_jobs/kafka_to_minio_job.py").read_text()
TIME = datetime(2018, 7, 4, 12, tzinfo=UTC)


def test_the_columns_that_are_told_are_those_that_the_job_writes() -> None:
    told: dict[str, set[str]] = {}
    for folder, columns in re.findall(
        r"^\| (all|all but `predictions`|`[a-z_/]+`) \| ((?:`\w+`(?:, )?)+) \| .+ \|$", PAGE, re.MULTILINE
    ):
        told.setdefault(folder.replace("`", ""), set()).update(re.findall(r"\w+", columns))
    ddl = dict(re.findall(r'^(\w+)_COLUMNS? = """(.*?)"""', JOB, re.MULTILINE | re.DOTALL))
    written = {
        folder: set(re.findall(r"^ {2}(\w+) [A-Z]", ddl[name], re.MULTILINE))
        for folder, name in zip(
            FOLDERS, ("TRANSACTION", "LABEL", "ALERT", "DEAD_LETTER", "PREDICTION"), strict=True
        )
    }
    written["all but predictions"] = set(re.findall(r"^ {2}(\w+) [A-Z]", ddl["PAYLOAD"], re.MULTILINE))
    common = JOB.partition("({columns}")[2].partition(") PARTITIONED")[0]
    assert told == written | {"all": set(re.findall(r"^ {2}(\w+) [A-Z]", common, re.MULTILINE))}


@pytest.fixture
def minio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A store that answers by HTTP; the settings name it."""
    with s3_server() as settings:
        (tmp_path / "settings.json").write_bytes(msgspec.json.encode(settings))
        monkeypatch.setenv("FRAUD_SETTINGS", str(tmp_path / "settings.json"))
        client = s3_client(settings.s3)
        client.create_bucket(Bucket="datalake")
        yield client


def put(client: Any, name: str, columns: dict[str, list[Any]], rows: int) -> None:  # noqa: ANN401 - boto3's
    """Write a file as Flink does."""
    buffer = io.BytesIO()
    table = {
        "kafka_partition": pa.array([0] * rows, pa.int32()),
        "kafka_offset": pa.array(range(rows), pa.int64()),
        "kafka_time": [TIME] * rows,
        "payload": [b"{}"] * rows,
    }
    pq.write_table(pa.table(table | columns), buffer, use_deprecated_int96_timestamps=True)
    write_object(client, "datalake", name, buffer.getvalue())


def test_what_is_shown_runs_and_counts_each_record_once(
    minio: Any,  # noqa: ANN401 - boto3's
    capsys: pytest.CaptureFixture[str],
) -> None:
    payments = {"terminal_id": ["shop", "bar"], "amount": [10.5, 2.0], "event_time": [TIME] * 2}
    alerts = {"customer_id": ["anna", "bert"], "score": [0.75, 0.5]}
    letters = {
        "reason": ["bad_amount"] * 2,
        "detail": ["amount is negative"] * 2,
        "transaction_partition": [0, 0],
        "transaction_offset": [7, 8],
    }
    # the second was scored again, by a model that alerts
    predictions = [
        Prediction("control", 0.1, "v", 0, 7, 0, control_probability=0.125, features={"amount": 10.5}),
        Prediction("plain", 0.1, "v", 0, 8, 0),
        Prediction("plain", 0.9, "w", 0, 8, 0, features={"amount": 2.0}),
        Prediction("alert", 0.9, "v", 0, 9, 0, features={"amount": 4.5}),
    ]
    scored = {
        "transaction_id": [each.transaction_id for each in predictions],
        "model_version": [each.model_version for each in predictions],
        "control_probability": [each.control_probability for each in predictions],
        "transaction_partition": [each.partition for each in predictions],
        "transaction_offset": [each.offset for each in predictions],
        "features": pa.array(
            [each.features and list(each.features.items()) for each in predictions],
            pa.map_(pa.string(), pa.float64()),
        ),
    }
    for folder, columns in (
        (TRANSACTIONS_FOLDER, payments),
        (PREDICTIONS_FOLDER, scored),
        (ALERTS_FOLDER, alerts),
        (DEAD_LETTERS_FOLDER, letters),
    ):
        # what was merged is still there
        for name in ("part-0", "merged-0.parquet"):
            put(minio, f"{folder}/dt=2018-07-04/{name}", columns, len(next(iter(columns.values()))))
        record = msgspec.json.encode(Merge("dt=2018-07-04/merged-0.parquet", ["dt=2018-07-04/part-0"]))
        write_object(minio, "datalake", f"{folder}/{record_name('dt=2018-07-04/merged-0.parquet')}", record)
        put(minio, f"{folder}/dt=2018-06-30/part-0", columns, len(next(iter(columns.values()))))
    shown = re.findall(r"^```python\n(.*?)^```\n", PAGE, re.MULTILINE | re.DOTALL)
    assert len(shown) == 3
    names: dict[str, Any] = {}
    for block in shown:
        exec(block, names)  # noqa: S102 - the project's own
    out = re.sub(r"[│┃|]", " ", capsys.readouterr().out)
    assert re.search(r"anna +1 +0\.75", out), out
    assert re.search(r"shop +1 +10\.5\b", out), out
    assert re.search(r"bar +1 +2\.0\b", out), out
    assert re.search(r"bad_amount +2 +amount is negative", out), out
    assert re.search(r"alert +v +1\.0 +4\.5\b", out), out
    assert re.search(r"control +v +8\.0 +10\.5\b", out), out
    assert "plain" not in out, "it was first scored without an alert"
