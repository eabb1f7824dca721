"""Keep all topics: from Kafka to Parquet files, each record exactly once.

A row holds a record's bytes as they came, the columns that could be read from them, and the record's
place in Kafka. A file appears with the checkpoint that completes it. Of predictions the columns say all that
is in them, so the bytes are left out; what is no JSON object there is passed over.
"""

import argparse
from collections.abc import Iterable
from typing import Any

from pyflink.common.job_client import JobClient
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from flink_jobs.configuration import (
    sql_options,
    stream_environment,
    topic_table,
    transactions_table,
)
from flink_jobs.lake_columns import (
    LABEL_COLUMNS_FUNCTION,
    PREDICTION_COLUMNS_FUNCTION,
    TRANSACTION_COLUMNS_FUNCTION,
    register_functions,
)
from flink_jobs.store.lake import (
    ALERTS_FOLDER,
    DEAD_LETTERS_FOLDER,
    LABELS_FOLDER,
    PREDICTIONS_FOLDER,
    TRANSACTIONS_FOLDER,
)
from flink_jobs.store.settings import Settings, load_settings

NAME = "kafka_to_minio_job"

TRANSACTION_COLUMNS = """
  transaction_id STRING,
  event_time TIMESTAMP(3),
  customer_id STRING,
  terminal_id STRING,
  amount DOUBLE,"""
LABEL_COLUMNS = """
  transaction_id STRING,
  is_fraud BOOLEAN,
  labelled_by STRING,
  labelled_at TIMESTAMP(3),"""
# `transaction_…` is the transaction's place in its topic
ALERT_COLUMNS = """
  transaction_id STRING,
  score DOUBLE,
  threshold DOUBLE,
  model_version STRING,
  customer_id STRING,
  terminal_id STRING,
  amount DOUBLE,
  scored_at TIMESTAMP(3),
  transaction_partition INT,
  transaction_offset BIGINT,"""
DEAD_LETTER_COLUMNS = """
  reason STRING,
  detail STRING,
  payload_bytes INT,
  transaction_partition INT,
  transaction_offset BIGINT,"""
PAYLOAD_COLUMN = """
  payload BYTES,"""
PREDICTION_COLUMNS = """
  transaction_id STRING,
  score DOUBLE,
  threshold DOUBLE,
  model_version STRING,
  risk_version STRING,
  challenger_score DOUBLE,
  challenger_version STRING,
  control_probability DOUBLE,
  transaction_partition INT,
  transaction_offset BIGINT,
  transaction_time TIMESTAMP(3),
  features MAP<STRING, DOUBLE>,"""


def lake_table(  # noqa: PLR0913 - a table has that many properties
    name: str, columns: str, path: str, file_mb: int, file_age_s: int, *, payload: bool = True
) -> str:
    """DDL of a folder of the lake, one partition a day of Kafka's clock (UTC).

    Args:
        name: of the table.
        columns: what is kept besides a record's place; NULL where it cannot be read.
        path: of the folder.
        file_mb: a file is closed at this size.
        file_age_s: … or at this age.
        payload: whether a record's bytes are kept.

    """
    options = {
        "connector": "filesystem",
        "path": path,
        "format": "parquet",
        "parquet.compression": "ZSTD",
        "sink.rolling-policy.file-size": f"{file_mb}MB",
        "sink.rolling-policy.rollover-interval": f"{file_age_s} s",
    }
    return f"""
CREATE TABLE {name} ({columns}
  kafka_partition INT,
  kafka_offset BIGINT,
  kafka_time TIMESTAMP_LTZ(3),{PAYLOAD_COLUMN if payload else ""}
  dt STRING
) PARTITIONED BY (dt) WITH (
  {sql_options(options)}
)"""


INSERT_TRANSACTIONS = f"""
INSERT INTO lake SELECT
  transaction_id, event_time, customer_id, terminal_id, amount,
  `partition`, `offset`, `timestamp`, payload, CAST(CAST(`timestamp` AS DATE) AS STRING)
FROM transactions, LATERAL TABLE({TRANSACTION_COLUMNS_FUNCTION}(payload, `timestamp`, currency))"""  # noqa: S608 - constants only

INSERT_LABELS = f"""
INSERT INTO lake_labels SELECT
  transaction_id, is_fraud, labelled_by, labelled_at,
  `partition`, `offset`, `timestamp`, payload, CAST(CAST(`timestamp` AS DATE) AS STRING)
FROM labels, LATERAL TABLE({LABEL_COLUMNS_FUNCTION}(payload, `timestamp`, ''))"""  # noqa: S608 - constants only

INSERT_ALERTS = """
INSERT INTO lake_alerts SELECT
  JSON_VALUE(text, '$.transaction_id'),
  TRY_CAST(JSON_VALUE(text, '$.score') AS DOUBLE),
  TRY_CAST(JSON_VALUE(text, '$.threshold') AS DOUBLE),
  JSON_VALUE(text, '$.model_version'),
  JSON_VALUE(text, '$.transaction.customer_id'),
  JSON_VALUE(text, '$.transaction.terminal_id'),
  TRY_CAST(JSON_VALUE(text, '$.transaction.amount') AS DOUBLE),
  CAST(TO_TIMESTAMP_LTZ(TRY_CAST(JSON_VALUE(text, '$.scored_at_ms') AS BIGINT), 3) AS TIMESTAMP(3)),
  TRY_CAST(JSON_VALUE(text, '$.partition') AS INT),
  TRY_CAST(JSON_VALUE(text, '$.offset') AS BIGINT),
  `partition`, `offset`, `timestamp`, payload, DATE_FORMAT(`timestamp`, 'yyyy-MM-dd')
FROM (SELECT *, DECODE(payload, 'UTF-8') AS text FROM alerts)"""

INSERT_DEAD_LETTERS = """
INSERT INTO lake_dead_letters SELECT
  JSON_VALUE(text, '$.reason'),
  JSON_VALUE(text, '$.detail'),
  TRY_CAST(JSON_VALUE(text, '$.payload_bytes') AS INT),
  TRY_CAST(JSON_VALUE(text, '$.partition') AS INT),
  TRY_CAST(JSON_VALUE(text, '$.offset') AS BIGINT),
  `partition`, `offset`, `timestamp`, payload, DATE_FORMAT(`timestamp`, 'yyyy-MM-dd')
FROM (SELECT *, DECODE(payload, 'UTF-8') AS text FROM dead_letters)"""

INSERT_PREDICTIONS = f"""
INSERT INTO lake_predictions SELECT
  transaction_id,
  score,
  threshold,
  model_version,
  risk_version,
  challenger_score,
  challenger_version,
  control_probability,
  message.`partition`,
  message.`offset`,
  kafka_timestamp_ms,
  features,
  predictions.`partition`, predictions.`offset`, `timestamp`, CAST(CAST(`timestamp` AS DATE) AS STRING)
FROM predictions, LATERAL TABLE({PREDICTION_COLUMNS_FUNCTION}(payload, `timestamp`, '')) AS message"""  # noqa: S608 - constants only

# Keep the order, and add at the end: Flink finds a source's state by the source's position among these.
INSERTS = {
    "transactions": INSERT_TRANSACTIONS,
    "labels": INSERT_LABELS,
    "alerts": INSERT_ALERTS,
    "dead_letters": INSERT_DEAD_LETTERS,
    "predictions": INSERT_PREDICTIONS,
}
# What Flink called the writers while the job kept transactions and labels only, without names; a writer with
# one subtask, which is in one task with the pipeline's end, it called otherwise.
_WRITERS_BEFORE = {
    "transactions": "961f812b71e0974941c334fd7d5c8da9",
    "labels": "82c4a6eead942893d0c01a3775161323",
}
_WRITERS_OF_ONE_SUBTASK_BEFORE = {
    "transactions": "ed5502375d16bd12b5d2a01d7e65e1a3",
    "labels": "557527f11fc48f92247e52c568955cb6",
}


def job_tables(settings: Settings, lake: str, file_mb: int, file_age_s: int) -> list[str]:
    """DDL of what the job reads and writes; files below `lake` are closed at `file_mb` or `file_age_s`."""
    # the lake can wait: few large fetches spare the brokers
    consumer = {"fetch.min.bytes": str(1024 * 1024), "fetch.max.wait.ms": "1000"}
    topics = {
        "labels": settings.topics.fraud_labels,
        "alerts": settings.topics.fraud_alerts,
        "dead_letters": settings.topics.transactions_dlq,
        "predictions": settings.topics.predictions,
    }
    folders = {
        "lake": (TRANSACTION_COLUMNS, TRANSACTIONS_FOLDER),
        "lake_labels": (LABEL_COLUMNS, LABELS_FOLDER),
        "lake_alerts": (ALERT_COLUMNS, ALERTS_FOLDER),
        "lake_dead_letters": (DEAD_LETTER_COLUMNS, DEAD_LETTERS_FOLDER),
    }
    predictions = f"{lake}/{PREDICTIONS_FOLDER}"
    return [
        transactions_table(
            settings, NAME, computed_columns=[f"currency AS '{settings.currency}'"], consumer=consumer
        ),
        *(topic_table(name, topic, settings, NAME, consumer=consumer) for name, topic in topics.items()),
        *(
            lake_table(name, columns, f"{lake}/{folder}", file_mb, file_age_s)
            for name, (columns, folder) in folders.items()
        ),
        lake_table("lake_predictions", PREDICTION_COLUMNS, predictions, file_mb, file_age_s, payload=False),
    ]


def submit(tables: StreamTableEnvironment, ddl: Iterable[str]) -> JobClient:
    """Submit all pipelines as one job.

    Args:
        tables: of the job's environment.
        ddl: as `job_tables` gives it; a test has other connectors.

    """
    environment = tables._j_tenv.getPlanner().getExecEnv()  # noqa: SLF001 - PyFlink has no public way to it
    register_functions(tables, StreamExecutionEnvironment(environment))
    for table in ddl:
        tables.execute_sql(table)
    together = tables.create_statement_set()
    for insert in INSERTS.values():
        together.add_insert_sql(insert)
    together.attach_as_datastream()
    _name_writers(environment)
    return JobClient(environment.executeAsync())


def _name_writers(environment: Any) -> None:  # noqa: ANN401 - a Java object
    """Name the writers: Flink numbers operators, sources first, so one more source changes their numbers."""
    steps: dict[int, Any] = {}
    ahead: list[Any] = [*environment.getTransformations()]
    while ahead:
        step = ahead.pop()
        steps[step.getId()] = step
        ahead.extend(step.getInputs())
    writers = [steps[number] for number in sorted(steps) if steps[number].getName() == "StreamingFileWriter"]
    before = _WRITERS_OF_ONE_SUBTASK_BEFORE if environment.getParallelism() == 1 else _WRITERS_BEFORE
    for name, writer in zip(INSERTS, writers, strict=True):
        writer.setUid(f"{name}-writer")
        if name in before:
            writer.setUidHash(before[name])


def main() -> None:
    """Read the command line and the settings, and submit."""
    parser = argparse.ArgumentParser(prog=NAME, description=__doc__)
    parser.add_argument("--file-mb", type=int, default=128, help="a file is closed at this size, in MB")
    parser.add_argument("--file-age-s", type=int, default=900, help="… or at this age, in seconds")
    arguments = parser.parse_args()
    settings = load_settings()
    lake = f"s3://{settings.buckets.datalake}"
    ddl = job_tables(settings, lake, arguments.file_mb, arguments.file_age_s)
    submit(StreamTableEnvironment.create(stream_environment(NAME, {})), ddl)


if __name__ == "__main__":
    main()
