"""Score every transaction as it comes, and raise an alert where the score reaches the threshold.

Flink SQL gathers each shard of customers into micro-batches in the JVM; Python, inside the
TaskManager, folds a batch into its customers' histories and scores it with one call.
"""

import argparse

from pyflink.common import Types
from pyflink.table import StreamTableEnvironment

from flink_jobs.configuration import (
    keyed_by_first_column,
    sql_options,
    stream_environment,
    transactions_table,
)
from flink_jobs.domain.batch import BYTES_ENCODING, NUL_SUBSTITUTE, RECORD_SEPARATOR
from flink_jobs.domain.settings import Settings, load_settings
from flink_jobs.domain.transaction import MAX_PAYLOAD_BYTES
from flink_jobs.score_batches import OUTCOME_TYPE, ScoreBatches
from flink_jobs.shards import MAX_PARALLELISM, shard_keys

NAME = "ml_inference_job"


def batch_query(shards: int, batch_ms: int) -> str:
    """Give the SQL that gathers the records of each shard over `batch_ms` milliseconds into one string.

    A shard is a hash of the customer id in the record, whatever key the producer chose; a record
    without one may go anywhere.
    """
    keys = ", ".join(map(str, shard_keys(shards)))
    separator = f"U&'\\{ord(RECORD_SEPARATOR):04X}'"
    nul_substitute = f"U&'\\{ord(NUL_SUBSTITUTE):04X}'"
    return f"""
SELECT shard, LISTAGG(packed, {separator}) AS batch
FROM (
  SELECT
    window_start,
    window_end,
    ARRAY[{keys}][1 +
      ABS(MOD(HASH_CODE(COALESCE(JSON_VALUE(text, '$.customer_id'), CAST(`offset` AS STRING))), {shards}))]
      AS shard,
    CONCAT_WS(' ',
      CAST(`partition` AS STRING),
      CAST(`offset` AS STRING),
      CAST(EXTRACT(EPOCH FROM `timestamp`) * 1000
        + MOD(EXTRACT(MILLISECOND FROM `timestamp`), 1000) AS STRING),
      CAST(payload_bytes AS STRING),
      text) AS packed
  FROM (
    SELECT
      *,
      CHAR_LENGTH(characters) AS payload_bytes,
      REPLACE(LEFT(characters, {MAX_PAYLOAD_BYTES + 1}), U&'\\0000', {nul_substitute}) AS text
    FROM (
      SELECT *, COALESCE(DECODE(payload, '{BYTES_ENCODING}'), '') AS characters
      FROM TABLE(
        TUMBLE(TABLE transactions, DESCRIPTOR(gathered_at), INTERVAL '{batch_ms / 1000:.3f}' SECOND))
    )
  )
)
GROUP BY window_start, window_end, shard"""  # noqa: S608 - numbers and constants only


def sink_table(settings: Settings) -> str:
    """DDL of the three topics that outcomes go to, at once and at least once."""
    topics = settings.topics
    options = {
        "connector": "kafka",
        "properties.bootstrap.servers": settings.kafka.bootstrap_servers,
        "topic": f"{topics.predictions};{topics.fraud_alerts};{topics.transactions_dlq}",
        "key.format": "raw",
        "key.fields": "key",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
        "sink.delivery-guarantee": "at-least-once",
        "properties.compression.type": "lz4",
    }
    return f"""
CREATE TABLE outcomes (
  `topic` STRING NOT NULL METADATA,
  `key` STRING,
  `value` STRING
) WITH (
  {sql_options(options)}
)"""


def main() -> None:
    """Wire source, batches, scoring and sinks together, and submit."""
    parser = argparse.ArgumentParser(prog=NAME, description=__doc__)
    parser.add_argument(
        "--shards",
        type=int,
        default=4,
        help="groups of customers that are batched together; a savepoint made with another number is refused",
    )
    parser.add_argument("--batch-ms", type=int, default=20, help="how long a batch is gathered, in ms")
    arguments = parser.parse_args()
    settings = load_settings()
    environment = stream_environment(
        NAME,
        {
            # Python within the TaskManager's process: no copy of each batch to another one
            "python.execution-mode": "thread",
            "pipeline.object-reuse": "true",
            "pipeline.max-parallelism": str(MAX_PARALLELISM),
            "execution.buffer-timeout.interval": "5 ms",
        },
    )
    tables = StreamTableEnvironment.create(environment)
    tables.execute_sql(transactions_table(settings, NAME, computed_columns=["gathered_at AS PROCTIME()"]))
    tables.execute_sql(sink_table(settings))
    batches = tables.to_data_stream(tables.sql_query(batch_query(arguments.shards, arguments.batch_ms)))
    outcomes = (
        keyed_by_first_column(batches, key_type=Types.INT(), value_type=Types.STRING())
        .process(ScoreBatches(), output_type=OUTCOME_TYPE)
        .name("score")
        # state belongs to a number of shards: Flink refuses to restore it into a job with another
        .uid(f"score-{arguments.shards}-shards")
    )
    tables.from_data_stream(outcomes).execute_insert("outcomes")


if __name__ == "__main__":
    main()
