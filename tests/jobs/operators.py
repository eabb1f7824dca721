"""Operators for tests; a module that tasks can import, as they run in another process than the tests."""

import json
from collections.abc import Iterator
from itertools import islice

from pyflink.common import Row
from pyflink.datastream import KeyedProcessFunction, RuntimeContext

from flink_jobs.bucketed_state import open_state
from flink_jobs.score_batches import ScoreBatches

FAILING, FAILED = b"failing", "failed"
WALKED = "walked"
# More than Flink loads at a time.
IN_A_BUCKET = 300


class FailingOnce(ScoreBatches):  # type: ignore[misc] # pyflink ships no types
    """The job's own operator, which fails at the first batch of a customer, and tells of it at the next."""

    failed = False

    def process_element(self, value: bytes, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        if FAILING in value and not FailingOnce.failed:
            FailingOnce.failed = True
            raise RuntimeError("as asked for")
        yield from super().process_element(value, ctx)
        if FAILING in value:
            yield Row(FAILED, b"1")


class Walking(ScoreBatches):  # type: ignore[misc] # as above
    """The job's own operator, which walks through two buckets at once, some customers after each batch."""

    def open(self, runtime_context: RuntimeContext) -> None:
        super().open(runtime_context)
        self._state = open_state(self._backend, self._shards).added
        self._walks = {}
        for bucket in sorted(open_state(self._backend, self._shards).buckets)[:2]:
            self._state.put_all(bucket, {f"{bucket}-{n:03}": b"" for n in range(IN_A_BUCKET)})
            self._walks[bucket] = self._state.items(bucket)

    def process_element(self, value: bytes, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        yield from super().process_element(value, ctx)
        walked = []
        for _ in range(5):
            for bucket, walk in self._walks.items():
                for customer, _ in islice(walk, 10):
                    walked.append(customer)
                    # as house-keeping may do
                    self._state.remove(bucket, customer)
        yield Row(WALKED, json.dumps(walked).encode())
