"""Keep every transaction and every label: from Kafka to Parquet files in the lake, each record exactly once.

A row holds a record's bytes as they came, the columns that SQL could read from them, and the record's
place in Kafka. A file appears with the checkpoint that completes it.
"""

import argparse
from collections.abc import Iterable

from pyflink.table import StreamTableEnvironment, TableResult

from flink_jobs.configuration import sql_options, stream_environment, topic_table, transactions_table
from flink_jobs.lake_columns import amount_column, flag_column, id_column, time_column
from flink_jobs.store.lake import LABELS_FOLDER, TRANSACTIONS_FOLDER
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


def lake_table(name: str, columns: str, path: str, file_mb: int, file_age_s: int) -> str:
    """DDL of a folder of the lake, one partition a day of Kafka's clock (UTC).

    Args:
        name: of the table.
        columns: read from the payload; NULL where SQL cannot read them.
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


INSERT_TRANSACTIONS = f"""
INSERT INTO lake SELECT
  {id_column("transaction_id")},
  {time_column("event_time")},
  {id_column("customer_id")},
  {id_column("terminal_id")},
  {amount_column("amount")},
  `partition`, `offset`, `timestamp`, payload, CAST(CAST(`timestamp` AS DATE) AS STRING)
FROM (SELECT *, DECODE(payload, 'UTF-8') AS text FROM transactions)"""  # noqa: S608 - constants only

INSERT_LABELS = f"""
INSERT INTO lake_labels SELECT
  {id_column("transaction_id")},
  {flag_column("is_fraud")},
  {id_column("labelled_by")},
  {time_column("labelled_at")},
  `partition`, `offset`, `timestamp`, payload, CAST(CAST(`timestamp` AS DATE) AS STRING)
FROM (SELECT *, DECODE(payload, 'UTF-8') AS text FROM labels)"""  # noqa: S608 - constants only


def job_tables(settings: Settings, lake: str, file_mb: int, file_age_s: int) -> list[str]:
    """DDL of what the job reads and writes; files below `lake` are closed at `file_mb` or `file_age_s`."""
    # the lake can wait: few large fetches spare the brokers
    consumer = {"fetch.min.bytes": str(1024 * 1024), "fetch.max.wait.ms": "1000"}
    return [
        transactions_table(
            settings, NAME, computed_columns=[f"currency AS '{settings.currency}'"], consumer=consumer
        ),
        lake_table("lake", TRANSACTION_COLUMNS, f"{lake}/{TRANSACTIONS_FOLDER}", file_mb, file_age_s),
        topic_table("labels", settings.topics.fraud_labels, settings, NAME, consumer=consumer),
        lake_table("lake_labels", LABEL_COLUMNS, f"{lake}/{LABELS_FOLDER}", file_mb, file_age_s),
    ]


def submit(tables: StreamTableEnvironment, ddl: Iterable[str]) -> TableResult:
    """Submit both pipelines as one job.

    Args:
        tables: of the job's environment.
        ddl: as `job_tables` gives it; a test has other connectors.

    """
    for table in ddl:
        tables.execute_sql(table)
    together = tables.create_statement_set()
    # Keep the order: Flink finds a source's state by the source's position among these statements.
    together.add_insert_sql(INSERT_TRANSACTIONS)
    together.add_insert_sql(INSERT_LABELS)
    return together.execute()


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
