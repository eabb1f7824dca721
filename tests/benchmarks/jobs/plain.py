"""The way that tutorials show: PyFlink's default mode, and scikit-learn asked about one record at a time.

Features and state are those of ml_inference_job, so that both do the same work.
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping

import numpy as np
from pyflink.common import SimpleStringSchema, Types, WatermarkStrategy
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.connectors.kafka import (
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
)
from pyflink.datastream.state import MapState, MapStateDescriptor

from flink_jobs.configuration import stream_environment
from flink_jobs.domain.feature_batch import FoldedBatch
from flink_jobs.domain.transaction import parse_transaction
from flink_jobs.store.model_registry import ModelRegistry
from flink_jobs.store.settings import load_settings

NAME = "plain"
# where scikit-learn and the forest were put on each TaskManager
PACKAGES = "/opt/fraud-bench"


class Histories:
    """Map state of process mode, whose `put_all` fails on any dict (PyFlink 2.3)."""

    def __init__(self, state: MapState) -> None:
        self.get = state.get
        self._state = state

    def put_all(self, histories: Mapping[str, bytes]) -> None:
        for customer_id, history in histories.items():
            self._state.put(customer_id, history)


class Score(KeyedProcessFunction):
    def open(self, runtime_context: RuntimeContext) -> None:
        sys.path.append(PACKAGES)
        import joblib  # noqa: PLC0415 - found on that path

        registry = ModelRegistry(load_settings())
        _, release = registry.in_force()
        self.risk = registry.load_released_risk(release, registry.load(release).manifest)
        self.forest = joblib.load(f"{PACKAGES}/model.joblib")
        # to start threads would take longer than one row takes
        self.forest.n_jobs = 1
        histories = MapStateDescriptor("histories", Types.STRING(), Types.PICKLED_BYTE_ARRAY())
        self.histories = Histories(runtime_context.get_map_state(histories))

    def process_element(self, value: str, _ctx: KeyedProcessFunction.Context) -> Iterator[str]:
        transaction = parse_transaction(value.encode(), time.time())
        batch = FoldedBatch(self.histories, self.risk)
        batch.add(transaction)
        score = self.forest.predict_proba(batch.features().astype(np.float32))[0, 1]
        yield json.dumps({"transaction_id": transaction.transaction_id, "score": round(float(score), 6)})


def main() -> None:
    settings = load_settings()
    environment = stream_environment(NAME, {"python.execution-mode": "process"})
    source = (
        KafkaSource.builder()
        .set_bootstrap_servers(settings.kafka.bootstrap_servers)
        .set_topics(settings.topics.transactions)
        .set_group_id(NAME)
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_value_only_deserializer(SimpleStringSchema())
        .build()
    )
    sink = (
        KafkaSink.builder()
        .set_bootstrap_servers(settings.kafka.bootstrap_servers)
        .set_record_serializer(
            KafkaRecordSerializationSchema.builder()
            .set_topic(settings.topics.predictions)
            .set_value_serialization_schema(SimpleStringSchema())
            .build()
        )
        .build()
    )
    (
        environment.from_source(source, WatermarkStrategy.no_watermarks(), NAME)
        .key_by(lambda value: json.loads(value)["customer_id"], key_type=Types.STRING())
        .process(Score(), output_type=Types.STRING())
        .sink_to(sink)
    )
    environment.execute(NAME)


if __name__ == "__main__":
    main()
