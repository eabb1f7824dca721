"""A job for tests: counts a sequence by key in Python's keyed state and prints what it counted."""

import argparse
from collections.abc import Iterator

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from pyflink.datastream.state import ValueStateDescriptor
from pyflink.table import StreamTableEnvironment

from flink_jobs.installation import INSTALLATION, check_installation

SOURCE = """
CREATE TABLE numbers (id BIGINT) WITH (
  'connector' = 'datagen', 'rows-per-second' = '{rate}',
  'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '100000')
"""


class Count(KeyedProcessFunction):
    """Counts the records of a key."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.installation = INSTALLATION

    def open(self, runtime_context: RuntimeContext) -> None:
        check_installation(self.installation)
        if self.label == "broken":
            raise ValueError("this label is broken")
        self.count = runtime_context.get_state(ValueStateDescriptor("count", Types.LONG()))

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[str]:
        count = (self.count.value() or 0) + 1
        self.count.update(count)
        yield f"{self.label} key={ctx.get_current_key()} count={count} id={value[0]}"


def main() -> None:
    """Build the job and submit it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--label", default="count")
    parser.add_argument("--rate", default="4")
    parser.add_argument("--uid", default="count", help="the operator's, to which the counts belong")
    args = parser.parse_args()
    environment = StreamExecutionEnvironment.get_execution_environment()
    tables = StreamTableEnvironment.create(environment)
    tables.execute_sql(SOURCE.format(rate=args.rate))
    numbers = tables.to_data_stream(tables.from_path("numbers"))
    counted = numbers.key_by(lambda row: row[0] % 4, key_type=Types.LONG())
    counted.process(Count(args.label), output_type=Types.STRING()).uid(args.uid).print().uid("print")
    environment.execute()


if __name__ == "__main__":
    main()
