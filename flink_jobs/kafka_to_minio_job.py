"""Keep every transaction: Kafka `transactions` to Parquet files in the lake, each record exactly once.

A file holds the bytes as they came, the columns that could be read from them, and where the record
lies in Kafka; files appear with the checkpoint that completes them.
"""

import argparse

from pyflink.table import StreamTableEnvironment

from flink_jobs.configuration import sql_options, stream_environment, transactions_table
from flink_jobs.domain.settings import Settings, load_settings

NAME = "kafka_to_minio_job"


def lake_table(settings: Settings, file_mb: int, file_age_s: int) -> str:
    """DDL of the lake's folder `raw/transactions`, one partition a day of Kafka's clock (UTC)."""
    options = {
        "connector": "filesystem",
        "path": f"s3://{settings.buckets.datalake}/raw/transactions",
        "format": "parquet",
        "parquet.compression": "ZSTD",
        "sink.rolling-policy.file-size": f"{file_mb}MB",
        "sink.rolling-policy.rollover-interval": f"{file_age_s} s",
    }
    return f"""
CREATE TABLE lake (
  transaction_id STRING,
  event_time TIMESTAMP(3),
  customer_id STRING,
  terminal_id STRING,
  amount DOUBLE,
  kafka_partition INT,
  kafka_offset BIGINT,
  kafka_time TIMESTAMP_LTZ(3),
  payload BYTES,
  dt STRING
) PARTITIONED BY (dt) WITH (
  {sql_options(options)}
)"""


INSERT = """
INSERT INTO lake SELECT
  JSON_VALUE(text, '$.transaction_id'),
  TRY_CAST(REPLACE(REPLACE(JSON_VALUE(text, '$.event_time'), 'T', ' '), 'Z', '') AS TIMESTAMP(3)),
  JSON_VALUE(text, '$.customer_id'),
  JSON_VALUE(text, '$.terminal_id'),
  TRY_CAST(JSON_VALUE(text, '$.amount') AS DOUBLE),
  `partition`, `offset`, `timestamp`, payload, DATE_FORMAT(`timestamp`, 'yyyy-MM-dd')
FROM (SELECT *, DECODE(payload, 'UTF-8') AS text FROM transactions)"""


def main() -> None:
    """Wire source and lake together, and submit."""
    parser = argparse.ArgumentParser(prog=NAME, description=__doc__)
    parser.add_argument("--file-mb", type=int, default=128, help="a file is closed at this size, in MB")
    parser.add_argument("--file-age-s", type=int, default=900, help="… or at this age, in seconds")
    arguments = parser.parse_args()
    settings = load_settings()
    tables = StreamTableEnvironment.create(stream_environment(NAME, {}))
    # the lake can wait: few large fetches spare the brokers
    consumer = {"fetch.min.bytes": str(1024 * 1024), "fetch.max.wait.ms": "1000"}
    tables.execute_sql(transactions_table(settings, NAME, consumer=consumer))
    tables.execute_sql(lake_table(settings, arguments.file_mb, arguments.file_age_s))
    tables.execute_sql(INSERT)


if __name__ == "__main__":
    main()
