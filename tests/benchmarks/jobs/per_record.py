"""The same features, model and messages as ml_inference_job, one record at a time."""

from pyflink.common import Types
from pyflink.table import StreamTableEnvironment

from flink_jobs.configuration import keyed_by_first_column, transactions_table
from flink_jobs.ml_inference_job import outcomes_query, packed_query, scoring_environment, sink_table
from flink_jobs.score_batches import BATCH_TYPE, OUTCOMES_TYPE, ScoreBatches
from flink_jobs.shards import SHARDS_OF_A_SUBTASK
from flink_jobs.store.settings import load_settings

NAME = "per_record"


def main() -> None:
    settings = load_settings()
    environment = scoring_environment(NAME)
    shards = SHARDS_OF_A_SUBTASK * environment.get_parallelism()
    tables = StreamTableEnvironment.create(environment)
    tables.execute_sql(transactions_table(settings, NAME))
    tables.execute_sql(sink_table(settings))
    packed = packed_query(shards, "transactions")
    records = tables.sql_query(f"SELECT shard, CAST(packed AS BYTES) FROM ({packed})")  # noqa: S608 - ours
    outcomes = keyed_by_first_column(
        tables.to_data_stream(records), key_type=Types.INT(), value_type=BATCH_TYPE
    ).process(ScoreBatches(settings.topics, shards), output_type=OUTCOMES_TYPE)
    tables.execute_sql(
        f"INSERT INTO outcomes {outcomes_query(settings.topics, tables.from_data_stream(outcomes))}"
    )


if __name__ == "__main__":
    main()
