"""Configuration and input tables of both jobs."""

from collections.abc import Mapping, Sequence

from pyflink.common import Configuration, TypeInformation, Types
from pyflink.datastream import DataStream, KeyedStream, StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway

from flink_jobs.store.kafka_servers import CONNECT_TIMEOUT_MAX_MS, CONNECT_TIMEOUT_MS, REQUEST_TIMEOUT_MS
from flink_jobs.store.settings import Settings


def stream_environment(name: str, options: dict[str, str]) -> StreamExecutionEnvironment:
    """Make an execution environment for a job of this name.

    Args:
        name: the job's name in `flink list`.
        options: of Flink, by name; the cluster's configuration has those of checkpoints, state and restarts.

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


def transactions_table(
    settings: Settings,
    group: str,
    *,
    computed_columns: Sequence[str] = (),
    consumer: Mapping[str, str] | None = None,
    start: Mapping[int, int] | None = None,
) -> str:
    """DDL of the topic `transactions`; arguments are those of `topic_table`."""
    return topic_table(
        "transactions",
        settings.topics.transactions,
        settings,
        group,
        computed_columns=computed_columns,
        consumer=consumer,
        start=start,
    )


def topic_table(  # noqa: PLR0913 - a table has that many properties
    name: str,
    topic: str,
    settings: Settings,
    group: str,
    *,
    computed_columns: Sequence[str] = (),
    consumer: Mapping[str, str] | None = None,
    start: Mapping[int, int] | None = None,
) -> str:
    """DDL of a topic: the bytes of each record, and its place in Kafka.

    The job reads the topic from the offsets in the restored state; without one, from `start` or from the
    topic's first record.

    Args:
        name: of the table.
        topic: its name in Kafka.
        settings: where Kafka is.
        group: the consumer group that shows how far the job has read.
        computed_columns: further columns, as SQL.
        consumer: properties of the Kafka consumer, such as `fetch.min.bytes`.
        start: offsets by partition.

    """
    columns = (
        "payload BYTES",
        "`partition` INT METADATA VIRTUAL",
        "`offset` BIGINT METADATA VIRTUAL",
        "`timestamp` TIMESTAMP_LTZ(3) METADATA VIRTUAL",
        *computed_columns,
    )
    options = _connection(settings, topic, group, consumer) | _startup(start) | {"format": "raw"}
    return _table(name, columns, options)


def kafka_connector(settings: Settings) -> dict[str, str]:
    """Options of a table that is read from Kafka or written there."""
    return {
        "connector": "kafka",
        "properties.bootstrap.servers": settings.kafka.bootstrap_servers,
        "properties.request.timeout.ms": str(REQUEST_TIMEOUT_MS),
        "properties.socket.connection.setup.timeout.ms": str(CONNECT_TIMEOUT_MS),
        "properties.socket.connection.setup.timeout.max.ms": str(CONNECT_TIMEOUT_MAX_MS),
    }


def _connection(
    settings: Settings, topic: str, group: str, consumer: Mapping[str, str] | None
) -> dict[str, str]:
    return {
        **kafka_connector(settings),
        "properties.group.id": group,
        "topic": topic,
        **{f"properties.{option}": value for option, value in (consumer or {}).items()},
    }


def _table(name: str, columns: Sequence[str], options: dict[str, str]) -> str:
    rendered_columns = ",\n  ".join(columns)
    return f"""
CREATE TABLE {name} (
  {rendered_columns}
) WITH (
  {sql_options(options)}
)"""


def _startup(start: Mapping[int, int] | None) -> dict[str, str]:
    if not start:
        return {"scan.startup.mode": "earliest-offset"}
    offsets = ";".join(f"partition:{partition},offset:{offset}" for partition, offset in start.items())
    return {"scan.startup.mode": "specific-offsets", "scan.startup.specific-offsets": offsets}


def send_at_once(stream: DataStream) -> None:
    """Send each row of a stream to the next task at once, whatever the job's buffer timeout.

    PyFlink's own `set_buffer_timeout` fails on a stream that comes from a table.
    """
    stream._j_data_stream.getTransformation().setBufferTimeout(0)  # noqa: SLF001 - as told above


def keyed_by_first_column(
    stream: DataStream, key_type: TypeInformation, value_type: TypeInformation
) -> KeyedStream:
    """Key a stream of rows (key, value) by the key; a KeyedProcessFunction on it gets the value.

    PyFlink's own `key_by` would call Python for the key of each row, and that call would wait for the call
    that scores.
    """
    rows = stream._j_data_stream  # noqa: SLF001 - PyFlink has no public way to key by a column
    rows.getTransformation().setOutputType(Types.ROW([key_type, value_type]).get_java_type_info())
    keyed = rows.keyBy(get_gateway().jvm.KeyByKeySelector(), Types.ROW([key_type]).get_java_type_info())
    return KeyedStream(keyed, value_type, stream)
