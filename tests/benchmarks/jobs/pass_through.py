"""What Flink does without this project: JSON from a topic to a topic, by SQL alone."""

import argparse

from pyflink.table import StreamTableEnvironment

from flink_jobs.configuration import sql_options, stream_environment
from flink_jobs.store.settings import load_settings

NAME = "pass_through"
COLUMNS = "transaction_id STRING, event_time STRING, customer_id STRING, terminal_id STRING, amount DOUBLE"


def main() -> None:
    parser = argparse.ArgumentParser(prog=NAME, description=__doc__)
    parser.add_argument("--times", type=int, default=1, help="how often the topic is read")
    times = parser.parse_args().times
    settings = load_settings()
    kafka = {
        "connector": "kafka",
        "properties.bootstrap.servers": settings.kafka.bootstrap_servers,
        "format": "json",
    }
    source = {
        **kafka,
        "properties.group.id": NAME,
        "topic": settings.topics.transactions,
        "scan.startup.mode": "earliest-offset",
    }
    sink = {
        **kafka,
        "topic": settings.topics.predictions,
        "sink.delivery-guarantee": "at-least-once",
        "properties.compression.type": "lz4",
    }
    tables = StreamTableEnvironment.create(stream_environment(NAME, {"pipeline.object-reuse": "true"}))
    for number in range(times):
        # a group for each, or the planner reads one source for all
        options = sql_options({**source, "properties.group.id": f"{NAME}-{number}"})
        tables.execute_sql(f"CREATE TABLE source_{number} ({COLUMNS}) WITH ({options})")
    tables.execute_sql(f"CREATE TABLE sink ({COLUMNS}) WITH ({sql_options(sink)})")
    reads = " UNION ALL ".join(f"TABLE source_{number}" for number in range(times))
    tables.execute_sql(f"INSERT INTO sink {reads}")


if __name__ == "__main__":
    main()
