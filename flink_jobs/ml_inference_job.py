"""Score every transaction as it comes, and raise an alert where the score reaches the threshold.

Flink SQL gathers each shard of customers into micro-batches in the JVM; Python, inside the
TaskManager, folds a batch into its customers' histories and scores it with one call.
"""

import argparse
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pyflink.common import Types
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment, Table, TableResult

from flink_jobs.configuration import (
    kafka_connector,
    keyed_by_first_column,
    send_at_once,
    sql_options,
    stream_environment,
    transactions_table,
)
from flink_jobs.domain.batch import BYTES_ENCODING, RECORD_SEPARATOR
from flink_jobs.domain.buckets import BUCKETS, SPREAD
from flink_jobs.domain.transaction import MAX_PAYLOAD_BYTES
from flink_jobs.lost_state import Beginning, find_beginning
from flink_jobs.score_batches import BATCH_TYPE, OUTCOMES_TYPE, ScoreBatches
from flink_jobs.shards import (
    FORMER_SHARD_KEYS,
    MAX_PARALLELISM,
    SHARDS_OF_A_SUBTASK,
    bucket_shards,
    check_shards,
    shard_keys,
)
from flink_jobs.store.settings import Settings, Topics, load_settings

NAME = "ml_inference_job"
# LISTAGG copies its string for each record that it adds: several short strings cost less than a long one.
PARTS = 8


def packed_query(shards: int, source: str) -> str:
    """Give the SQL that packs each record of `source` into a string, beside the key of its shard.

    A hash of the customer id in the record chooses its bucket, and so the shard, whatever key the producer
    chose; a record without a customer id goes to any shard. The id is read from UTF-8, as Python reads it.
    Further columns of `source` are passed on.
    """
    keys = shard_keys(shards)
    return f"""
SELECT
  *,
  ARRAY[{", ".join(str(keys[shard]) for shard in bucket_shards(shards))}][1 + ABS(MOD(MOD(HASH_CODE(COALESCE(
    JSON_VALUE(DECODE(beginning, 'UTF-8'), '$.customer_id'),
    CAST(`offset` AS STRING))), {SPREAD}), {BUCKETS}))] AS shard,
  CONCAT_WS(' ',
    CAST(`partition` AS STRING),
    CAST(`offset` AS STRING),
    CAST(EXTRACT(EPOCH FROM `timestamp`) * 1000
      + MOD(EXTRACT(MILLISECOND FROM `timestamp`), 1000) AS STRING),
    CASE WHEN beginning <> payload
      THEN CAST(CHAR_LENGTH(DECODE(payload, '{BYTES_ENCODING}')) - {MAX_PAYLOAD_BYTES + 1} AS STRING)
      ELSE '0'
    END,
    text) AS packed
FROM (
  SELECT *, COALESCE(DECODE(beginning, '{BYTES_ENCODING}'), '') AS text
  FROM (SELECT *, CAST(payload AS VARBINARY({MAX_PAYLOAD_BYTES + 1})) AS beginning FROM {source})
)"""  # noqa: S608 - numbers and constants only


def batch_query(shards: int, batch_ms: int) -> str:
    """Give the SQL that gathers the records of each shard over `batch_ms` milliseconds, as bytes."""
    separator = _literal(RECORD_SEPARATOR)
    windows = (
        f"TABLE(TUMBLE(TABLE transactions, DESCRIPTOR(gathered_at), INTERVAL '{batch_ms / 1000:.3f}' SECOND))"
    )
    gathered = f"LISTAGG(packed, {separator}) FILTER (WHERE MOD(`offset`, {PARTS}) = "
    parts = ",\n    ".join(f"{gathered}{part})" for part in range(PARTS))
    return f"""
SELECT
  shard,
  CAST(CONCAT_WS({separator},
    {parts}) AS BYTES) AS batch
FROM ({packed_query(shards, windows)})
GROUP BY window_start, window_end, shard"""  # noqa: S608 - as above


def outcomes_query(topics: Topics, outcomes: Table) -> str:
    """Give the SQL that takes rows of `outcomes` apart into a topic, a key and a message each.

    Predictions have no key, so those of a batch go to one partition in one request, not in one for each
    broker.
    """
    line_break = _literal("\n")
    messages = f"SPLIT(CAST(packed AS STRING), {line_break})"
    return f"""
SELECT
  topic,
  CASE topic
    WHEN '{topics.fraud_alerts}' THEN JSON_VALUE(message, '$.transaction_id')
    WHEN '{topics.transactions_dlq}' THEN
      CONCAT_WS('-', JSON_VALUE(message, '$.partition'), JSON_VALUE(message, '$.offset'))
  END,
  message
FROM {outcomes} CROSS JOIN UNNEST({messages}) AS unpacked (message)"""  # noqa: S608 - names from the settings


def _literal(character: str) -> str:
    return f"U&'\\{ord(character):04X}'"


def sink_table(settings: Settings) -> str:
    """DDL of the three topics for outcomes; each outcome is sent at once, and at least once."""
    topics = settings.topics
    options = {
        **kafka_connector(settings),
        "topic": f"{topics.predictions};{topics.fraud_alerts};{topics.transactions_dlq}",
        "key.format": "raw",
        "key.fields": "key",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
        "sink.delivery-guarantee": "at-least-once",
        "properties.compression.type": "lz4",
        # long enough for the predictions of a window's second shard to join the request of the first
        "properties.linger.ms": "2",
        "properties.batch.size": str(256 * 1024),
    }
    return f"""
CREATE TABLE outcomes (
  `topic` STRING NOT NULL METADATA,
  `key` STRING,
  `value` STRING
) WITH (
  {sql_options(options)}
)"""


def scoring_environment(name: str) -> StreamExecutionEnvironment:
    """Make an environment for a job that scores: Python runs within the TaskManager's process."""
    return stream_environment(
        name,
        {
            # no copy of each batch to another process
            "python.execution-mode": "thread",
            # leave Flink's managed memory to the state: Python in thread mode needs none
            "python.fn-execution.memory.managed": "false",
            "pipeline.object-reuse": "true",
            "pipeline.max-parallelism": str(MAX_PARALLELISM),
            # timers are few, and RocksDB would write, look for and delete each of them
            "state.backend.rocksdb.timer-service.factory": "HEAP",
            # compression makes histories a quarter smaller, but checkpoints slower by more than a quarter
            "state.backend.rocksdb.compression.per.level": "NO_COMPRESSION",
            "execution.buffer-timeout.interval": "2 ms",
        },
    )


def job_tables(settings: Settings, start: Mapping[int, int] | None = None) -> list[str]:
    """DDL of what the job reads and writes: `transactions`, from offsets by partition on, and `outcomes`."""
    return [
        transactions_table(settings, NAME, computed_columns=["gathered_at AS PROCTIME()"], start=start),
        sink_table(settings),
    ]


class Batching(NamedTuple):
    """How records are gathered into batches.

    Attributes:
        shards: groups of customers that are batched together.
        ms: how long a batch is gathered, in ms.

    """

    shards: int
    ms: int


def submit(
    tables: StreamTableEnvironment,
    ddl: Iterable[str],
    topics: Topics,
    batching: Batching,
    beginning: Beginning | None = None,
) -> TableResult:
    """Wire source, batches, scoring and sinks together, and submit.

    Args:
        tables: of the environment that `scoring_environment` gives.
        ddl: as `job_tables` gives it; a test has other connectors.
        topics: names by which outcomes are told apart.
        batching: of records.
        beginning: of a job that has no state.

    """
    for table in ddl:
        tables.execute_sql(table)
    batches = tables.to_data_stream(tables.sql_query(batch_query(*batching)))
    # a batch has waited for its window already, and need not wait for a full buffer
    send_at_once(batches)
    outcomes = (
        keyed_by_first_column(batches, key_type=Types.INT(), value_type=BATCH_TYPE)
        .process(ScoreBatches(topics, batching.shards, beginning), output_type=OUTCOMES_TYPE)
        .name("score")
        # by this name a former release's state is found
        .uid(f"score-shards-{'-'.join(map(str, FORMER_SHARD_KEYS))}")
    )
    packed = tables.from_data_stream(outcomes)
    return tables.execute_sql(f"INSERT INTO outcomes {outcomes_query(topics, packed)}")


def main() -> None:
    """Read the command line and the settings, and submit."""
    parser = argparse.ArgumentParser(prog=NAME, description=__doc__)
    parser.add_argument(
        "--shards",
        type=int,
        help="groups of customers that are batched together, a multiple of the parallelism; "
        f"{SHARDS_OF_A_SUBTASK} for each subtask if not given",
    )
    parser.add_argument("--batch-ms", type=int, default=20, help="how long a batch is gathered, in ms")
    parser.add_argument(
        "--from-lake",
        action="store_true",
        help="for a job without state: take histories from the lake, and go on where it ends",
    )
    arguments = parser.parse_args()
    settings = load_settings()
    environment = scoring_environment(NAME)
    subtasks = environment.get_parallelism()
    shards = arguments.shards or SHARDS_OF_A_SUBTASK * subtasks
    # refused by the operator too, but then the job has been submitted
    check_shards(shards, subtasks)
    tables = StreamTableEnvironment.create(environment)
    beginning = find_beginning(settings, NAME) if arguments.from_lake else None
    ddl = job_tables(settings, beginning and beginning.start)
    submit(tables, ddl, settings.topics, Batching(shards, arguments.batch_ms), beginning)


if __name__ == "__main__":
    main()
