"""Transactions that Flink SQL makes by itself: some hundred thousand a second, for loads that no file has."""

import argparse

from pyflink.common import Types, WatermarkStrategy
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.connectors.number_seq import NumberSequenceSource
from pyflink.table import StreamTableEnvironment

from flink_jobs.configuration import sql_options, stream_environment
from flink_jobs.store.settings import load_settings

NAME = "made_load"
BEGIN = "2025-01-01"
# of ids of customers; the customer's number follows
PREFIX = "made-"
TERMINALS = 10_000
_COLUMNS = "transaction_id STRING, event_time STRING, customer_id STRING, terminal_id STRING, amount DOUBLE"
# From 0 to 1, spread evenly over any stretch of numbers: fractions of multiples of the golden ratio.
_SHARE = "CAST(MOD(n * 2654435769, 4294967296) AS DOUBLE) / 4294967296"


def customer(whose: str, customers: int) -> str:
    """Give the SQL of the customer's number, 0 to `customers`, of record `n`.

    Args:
        whose: `even`: each customer is as likely as any other. `zipf`: the k-th comes about 1/k as often as
            the first. `hot`: the last one makes a tenth of all records, the others are even.
        customers: how many.

    """
    even = f"CAST(FLOOR({_SHARE} * {customers}) AS BIGINT)"
    return {
        "even": even,
        "zipf": f"CAST(FLOOR(POWER({customers + 1}, {_SHARE})) AS BIGINT) - 1",
        "hot": f"CASE WHEN MOD(n, 10) = 0 THEN {customers} ELSE {even} END",
    }[whose]


def load_query(whose: str, records: int, customers: int, cohorts: int, first_day: int, days: int) -> str:  # noqa: PLR0913, PLR0917 - a load has that many properties
    """Give the SQL that makes a transaction of each number `n` of the table `numbers`, 0 to `records` - 1.

    Cohorts come one after another: the records of one, in the order of event times, have customers of its
    own. `records` and `customers` are of all cohorts together.
    """
    of_cohort = records // cohorts
    second = f"{first_day * 86_400} + CAST(MOD(n, {of_cohort}) AS DOUBLE) * {days * 86_400} / {of_cohort}"
    return f"""
SELECT
  CONCAT('{first_day}-', CAST(n AS STRING)),
  DATE_FORMAT(TIMESTAMPADD(SECOND, CAST({second} AS INT), TIMESTAMP '{BEGIN} 00:00:00'),
    'yyyy-MM-dd''T''HH:mm:ss''Z'''),
  CONCAT('{PREFIX}', CAST({customer(whose, customers // cohorts)}
    + n / {of_cohort} * {customers // cohorts} AS STRING)),
  CONCAT('{PREFIX}', CAST(MOD(n, {TERMINALS - 1}) AS STRING)),
  CAST(1 + MOD(n, 9973) AS DOUBLE) / 100
FROM numbers"""  # noqa: S608 - numbers and constants only


def number_records(environment: StreamExecutionEnvironment, records: int) -> StreamTableEnvironment:
    """Give tables with `numbers`, whose column `n` counts from 0 to `records` - 1."""
    source = NumberSequenceSource(0, records - 1)
    stream = environment.from_source(source, WatermarkStrategy.no_watermarks(), "numbers", Types.LONG())
    tables = StreamTableEnvironment.create(environment)
    tables.create_temporary_view("numbers", tables.from_data_stream(stream).alias("n"))
    return tables


def main() -> None:
    parser = argparse.ArgumentParser(prog=NAME, description=__doc__)
    parser.add_argument("--whose", choices=("even", "zipf", "hot"), default="even")
    parser.add_argument("--records", type=int, required=True, help="of all cohorts together")
    parser.add_argument("--customers", type=int, required=True, help="of all cohorts together")
    parser.add_argument("--cohorts", type=int, default=1, help="customers who come one group after another")
    parser.add_argument("--first-day", type=int, default=0, help=f"counted from {BEGIN}")
    parser.add_argument("--days", type=int, required=True, help="over which the records are spread")
    load = vars(parser.parse_args())
    settings = load_settings()
    sink = {
        "connector": "kafka",
        "properties.bootstrap.servers": settings.kafka.bootstrap_servers,
        "topic": settings.topics.transactions,
        # a customer's records keep their order, as fraud-producer's do
        "key.format": "raw",
        "key.fields": "customer_id",
        "value.format": "json",
        "sink.delivery-guarantee": "at-least-once",
        "properties.compression.type": "lz4",
        "properties.batch.size": str(256 * 1024),
        "properties.linger.ms": "20",
    }
    tables = number_records(stream_environment(NAME, {"pipeline.object-reuse": "true"}), load["records"])
    tables.execute_sql(f"CREATE TABLE sink ({_COLUMNS}) WITH ({sql_options(sink)})")
    tables.execute_sql(f"INSERT INTO sink {load_query(**load)}")


if __name__ == "__main__":
    main()
