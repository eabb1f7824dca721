"""The Python operator of `ml_inference_job`, outside its `__main__`: pickle copies classes of that whole."""

import gc
import sys
import time
from collections.abc import Iterator
from itertools import compress

import msgspec
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.metrics import Distribution, MetricGroup

from flink_jobs.bucketed_state import BucketedState, StateBackend, open_state
from flink_jobs.domain.batch import unpack_batch
from flink_jobs.domain.breaker import Breaker
from flink_jobs.domain.drift import FEWEST_TRANSACTIONS, DriftCounts
from flink_jobs.domain.feature_batch import fold_only
from flink_jobs.domain.scoring import Outcomes, Record, Scorer
from flink_jobs.domain.stored_histories import StoredHistories
from flink_jobs.former_state import move_former
from flink_jobs.installation import INSTALLATION, check_installation
from flink_jobs.lake_histories import fold_lake
from flink_jobs.lost_state import Beginning
from flink_jobs.memory import copies_bytes
from flink_jobs.model_watch import ModelWatch
from flink_jobs.store.lake import Lake, open_lake
from flink_jobs.store.model_registry import ModelRegistry, ServedScorer
from flink_jobs.store.settings import Topics, load_settings

BATCH_TYPE = Types.PRIMITIVE_ARRAY(Types.BYTE())
# A topic and all its messages: each row costs a crossing into Java.
OUTCOMES_TYPE = Types.ROW_NAMED(["topic", "packed"], [Types.STRING(), Types.PRIMITIVE_ARRAY(Types.BYTE())])

# How old metrics may be.
_METRICS_S = 10

# the note of a bucket that has taken its histories from the lake
_DONE = "done"

# of all tasks of the process
_MODEL_WATCH = ModelWatch()

_encode_lines = msgspec.json.Encoder().encode_lines


class ScoreBatches(KeyedProcessFunction):  # type: ignore[misc] # pyflink ships no types
    """Scores the batches of a subtask's shards, and keeps the histories of their customers."""

    def __init__(self, topics: Topics, shards: int, beginning: Beginning | None = None) -> None:
        """Prepare the operator; runs where the job is submitted.

        Args:
            topics: for outcomes.
            shards: the number of all of them.
            beginning: of a job that has no state.

        """
        self._topics = topics
        self._beginning = beginning
        self._shards = shards
        self._installation = INSTALLATION

    def open(self, runtime_context: RuntimeContext) -> None:
        """Load the promoted model; without one the task fails, says so, and Flink tries again."""
        check_installation(self._installation)
        # read here, so that no secret travels in the job graph
        settings = load_settings()
        self._backend = StateBackend(runtime_context)
        state = open_state(self._backend, self._shards)
        move_former(self._backend, state)
        self._histories = StoredHistories(state.histories, state.added, state.buckets, copies_bytes())
        self._currency = settings.currency
        self._control_share = settings.control_share
        if self._beginning is not None:
            take_from_lake(open_lake(settings), self._beginning, state, self._histories)
        self._drift = DriftMetrics(runtime_context.get_metrics_group())
        self._risk_age = RiskAgeMetric(runtime_context.get_metrics_group())
        self._alert_rate = AlertRateMetrics(runtime_context.get_metrics_group())
        self._served = ServedScorer(ModelRegistry(settings))
        _MODEL_WATCH.add(self._served)
        # Else the thread that looks for models makes a batch wait for 5 ms at a time.
        sys.setswitchinterval(0.0005)
        # Collect what earlier tasks of this process left; then exempt all that is loaded now from collection.
        gc.unfreeze()
        gc.collect()
        gc.freeze()

    def process_element(self, value: bytes, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        """Score one batch of packed records."""
        del ctx
        # Flink has set the key of the batch's shard
        self._backend.forget()
        now_s = time.time()
        scorer, breaker = self._served.current, self._served.breaker
        records = unpack_batch(value)
        if self._beginning is not None:
            records = self._pass_over_scored(records, self._beginning)
        outcomes = scorer.score(records, self._histories, now_s, self._currency, self._control_share)
        yield from to_rows(outcomes, self._topics)
        breaker.add(len(outcomes.predictions), len(outcomes.alerts))
        self._histories.house_keep(now_s)
        self._drift.show(scorer.drift, now_s)
        self._risk_age.show(scorer, now_s)
        self._alert_rate.show(breaker, now_s, went_back=self._served.went_back)

    def _pass_over_scored(self, records: list[Record], beginning: Beginning) -> list[Record]:
        """Fold the records that have a prediction; give the others."""
        scored = [
            record.offset < beginning.scored.get(record.partition, 0)
            and record.timestamp_ms < beginning.found_ms
            for record in records
        ]
        if not any(scored):
            return records
        fold_only(
            ((record.payload, record.timestamp_ms / 1000) for record in compress(records, scored)),
            self._histories,
            self._currency,
        )
        return [record for record, was_scored in zip(records, scored, strict=True) if not was_scored]


def take_from_lake(
    lake: Lake, beginning: Beginning, state: BucketedState, histories: StoredHistories
) -> None:
    """Fold the lake into the histories of those buckets that have not taken theirs from it yet."""
    missing = [bucket for bucket in state.buckets if state.notes.get(bucket, _DONE) is None]
    if missing:
        fold_lake(lake, beginning, histories, frozenset(missing))
        for bucket in missing:
            state.notes.put_all(bucket, {_DONE: b"1"})


class DriftMetrics:
    """PSI of each feature and of the score, in thousandths: Flink's metrics from Python are whole numbers.

    PyFlink's distributions keep the latest value in Java; a gauge would call Python from the thread that
    asks for metrics.
    """

    def __init__(self, group: MetricGroup) -> None:
        """Register nothing yet: the model will name the features."""
        self._group = group.add_group("psi_thousandths")
        self._metrics: dict[str, Distribution] = {}
        self._next_s = 0.0

    def show(self, counts: DriftCounts | None, now_s: float) -> None:
        """Renew the metrics if it is time, and enough was counted."""
        if counts is None or now_s < self._next_s:
            return
        self._next_s = now_s + _METRICS_S
        indexes = counts.indexes()
        if counts.transactions < FEWEST_TRANSACTIONS:
            return
        for name in indexes.keys() - self._metrics.keys():
            self._metrics[name] = self._group.distribution(name)
        for name, metric in self._metrics.items():
            # 0 for a feature that only an earlier model took
            metric.update(round(1000 * indexes.get(name, 0.0)))


class RiskAgeMetric:
    """Days from the newest terminal risk to the transactions; from 1 on, terminals count as unknown."""

    def __init__(self, group: MetricGroup) -> None:
        """Register the metric."""
        self._metric = group.distribution("risk_age_days")
        self._next_s = 0.0

    def show(self, scorer: Scorer, now_s: float) -> None:
        """Renew the metric if it is time."""
        if now_s >= self._next_s:
            self._next_s = now_s + _METRICS_S
            self._metric.update(scorer.risk_age_days)


class AlertRateMetrics:
    """Alerts since the change-over, in hundredths of those expected, and what the breaker makes of them.

    `breaker` is 0 where they are as expected, 1 where they are past the multiple, 2 where a release before
    the newest is served because of that.
    """

    def __init__(self, group: MetricGroup) -> None:
        """Register the metrics."""
        self._share = group.distribution("alerts_to_expected_percent")
        self._breaker = group.distribution("breaker")
        self._next_s = 0.0

    def show(self, breaker: Breaker, now_s: float, *, went_back: bool) -> None:
        """Renew the metrics if it is time."""
        if now_s < self._next_s:
            return
        self._next_s = now_s + _METRICS_S
        self._share.update(round(100 * (breaker.to_expected or 0.0)))
        self._breaker.update(2 if went_back else int(breaker.is_past))


def to_rows(outcomes: Outcomes, topics: Topics) -> Iterator[Row]:
    """Pack the outcomes of a batch into one row for each topic: its name, and its messages, one a line."""
    for topic, messages in (
        (topics.predictions, outcomes.predictions),
        (topics.fraud_alerts, outcomes.alerts),
        (topics.transactions_dlq, outcomes.dead_letters),
    ):
        if messages:
            yield Row(topic, _encode_lines(messages).removesuffix(b"\n"))
