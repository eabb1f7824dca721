"""Operators for tests; a module that tasks can import, as they run in another process than the tests."""

import json
from collections.abc import Iterator

import saved_history
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor

from flink_jobs import score_batches
from flink_jobs.domain.batch import unpack_batch
from flink_jobs.score_batches import ScoreBatches

SWEPT = "swept"


class SoonSwept(ScoreBatches):  # type: ignore[misc] # pyflink ships no types
    """The job's own operator, whose hour is a second; it tells whom it has forgotten."""

    def open(self, runtime_context: RuntimeContext) -> None:
        score_batches._SWEEP_S = 1  # noqa: SLF001 - it is read there, in the process of the tasks
        super().open(runtime_context)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        histories = self._histories[ctx.get_current_key()]
        before = {customer_id for customer_id, _ in histories.items()}
        yield from super().on_timer(timestamp, ctx)
        forgotten = before - {customer_id for customer_id, _ in histories.items()}
        yield Row(SWEPT, json.dumps(sorted(forgotten)).encode())


class Former(KeyedProcessFunction):  # type: ignore[misc] # as above
    """What a former release leaves in the state: each customer with a history of two payments."""

    def __init__(self, *_: object) -> None:
        """Take what the job's own operator takes."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self._histories, self._added = (
            runtime_context.get_map_state(
                MapStateDescriptor(name, Types.STRING(), Types.PICKLED_BYTE_ARRAY())
            )
            for name in ("histories", "added")
        )

    def process_element(self, value: bytes, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        del ctx
        for record in unpack_batch(value):
            customer_id = json.loads(record.payload)["customer_id"]
            self._histories.put(customer_id, saved_history.BYTES[:40])
            self._added.put(customer_id, saved_history.BYTES[40:])
            yield Row("predictions", b"{}")
