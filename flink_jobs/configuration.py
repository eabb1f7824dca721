"""What both jobs share: how they are configured, and how they reach Kafka."""

from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment

from flink_jobs.domain.settings import Kafka


def stream_environment(name: str, options: dict[str, str]) -> StreamExecutionEnvironment:
    """Make an execution environment for a job of this name.

    Args:
        name: as it stands in `flink list`.
        options: Flink's, by name; checkpoints, state and restarts are configured with the cluster.

    """
    configuration = Configuration()
    configuration.set_string("pipeline.name", name)
    configuration.set_string("table.local-time-zone", "UTC")
    for option, value in options.items():
        configuration.set_string(option, value)
    return StreamExecutionEnvironment.get_execution_environment(configuration)


def sql_options(options: dict[str, str]) -> str:
    """Render the options of a table's WITH clause."""
    quoted = (f"'{name}' = '{value}'".replace("\n", " ") for name, value in options.items())
    return ",\n  ".join(quoted)


def kafka_source_options(kafka: Kafka, topic: str, group: str) -> dict[str, str]:
    """Read a topic's raw values from its start, or from where the restored state says."""
    return {
        "connector": "kafka",
        "properties.bootstrap.servers": kafka.bootstrap_servers,
        "properties.group.id": group,
        "topic": topic,
        "scan.startup.mode": "earliest-offset",
        "format": "raw",
    }
