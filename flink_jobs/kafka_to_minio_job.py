"""Keep every transaction and every label: from Kafka to Parquet files in the lake, each record exactly once.

A file holds the bytes as they came, the columns that could be read from them, and where the record
lies in Kafka; files appear with the checkpoint that completes them.
"""

import argparse

from pyflink.table import StatementSet, StreamTableEnvironment

from flink_jobs.configuration import sql_options, stream_environment, topic_table, transactions_table
from flink_jobs.domain.lake import LABELS_FOLDER, TRANSACTIONS_FOLDER
from flink_jobs.domain.settings import Settings, load_settings

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


def lake_table(name: str, columns: str, path: str, file_mb: int, file_age_s: int) -> str:
    """DDL of a folder of the lake, one partition a day of Kafka's clock (UTC).

    Args:
        name: of the table.
        columns: those read from the payload; whatever cannot be read is NULL.
        path: of the folder.
        file_mb: a file is closed at this size.
        file_age_s: … or at this age.

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
  kafka_time TIMESTAMP_LTZ(3),
  payload BYTES,
  dt STRING
) PARTITIONED BY (dt) WITH (
  {sql_options(options)}
)"""


INSERT_TRANSACTIONS = """
INSERT INTO lake SELECT
  JSON_VALUE(text, '$.transaction_id'),
  TRY_CAST(REPLACE(REPLACE(JSON_VALUE(text, '$.event_time'), 'T', ' '), 'Z', '') AS TIMESTAMP(3)),
  JSON_VALUE(text, '$.customer_id'),
  JSON_VALUE(text, '$.terminal_id'),
  TRY_CAST(JSON_VALUE(text, '$.amount') AS DOUBLE),
  `partition`, `offset`, `timestamp`, payload, DATE_FORMAT(`timestamp`, 'yyyy-MM-dd')
FROM (SELECT *, DECODE(payload, 'UTF-8') AS text FROM transactions)"""

INSERT_LABELS = """
INSERT INTO lake_labels SELECT
  JSON_VALUE(text, '$.transaction_id'),
  TRY_CAST(JSON_VALUE(text, '$.is_fraud') AS BOOLEAN),
  JSON_VALUE(text, '$.labelled_by'),
  TRY_CAST(REPLACE(REPLACE(JSON_VALUE(text, '$.labelled_at'), 'T', ' '), 'Z', '') AS TIMESTAMP(3)),
  `partition`, `offset`, `timestamp`, payload, DATE_FORMAT(`timestamp`, 'yyyy-MM-dd')
FROM (SELECT *, DECODE(payload, 'UTF-8') AS text FROM labels)"""


def statements(
    tables: StreamTableEnvironment, settings: Settings, file_mb: int, file_age_s: int
) -> StatementSet:
    """Give both pipelines, as one job; files are closed at `file_mb` or `file_age_s`."""
    # the lake can wait: few large fetches spare the brokers
    consumer = {"fetch.min.bytes": str(1024 * 1024), "fetch.max.wait.ms": "1000"}
    root = f"s3://{settings.buckets.datalake}"
    together = tables.create_statement_set()
    # Transactions first: Flink knows the source's state by its place.
    tables.execute_sql(transactions_table(settings, NAME, consumer=consumer))
    tables.execute_sql(
        lake_table("lake", TRANSACTION_COLUMNS, f"{root}/{TRANSACTIONS_FOLDER}", file_mb, file_age_s)
    )
    together.add_insert_sql(INSERT_TRANSACTIONS)
    tables.execute_sql(topic_table("labels", settings.topics.fraud_labels, settings, NAME, consumer=consumer))
    tables.execute_sql(
        lake_table("lake_labels", LABEL_COLUMNS, f"{root}/{LABELS_FOLDER}", file_mb, file_age_s)
    )
    together.add_insert_sql(INSERT_LABELS)
    return together


def main() -> None:
    """Wire sources and lake together, and submit."""
    parser = argparse.ArgumentParser(prog=NAME, description=__doc__)
    parser.add_argument("--file-mb", type=int, default=128, help="a file is closed at this size, in MB")
    parser.add_argument("--file-age-s", type=int, default=900, help="… or at this age, in seconds")
    arguments = parser.parse_args()
    settings = load_settings()
    tables = StreamTableEnvironment.create(stream_environment(NAME, {}))
    statements(tables, settings, arguments.file_mb, arguments.file_age_s).execute()


if __name__ == "__main__":
    main()
