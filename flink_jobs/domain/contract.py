"""What travels on each topic, as JSON Schema; `flink_jobs/topic_schemas.py` writes it into files.

Other systems write transactions and labels and read the rest. So of what is read here no later release asks
more, and of what is written here none says less; `tests/unit/flink_jobs/test_contract.py` holds both.
"""

import inspect
from typing import Any

import msgspec

from flink_jobs.domain.label import Label
from flink_jobs.domain.scoring import Alert, DeadLetter, Prediction
from flink_jobs.domain.transaction import Transaction

READ: dict[str, type[msgspec.Struct]] = {"transactions": Transaction, "fraud_labels": Label}
WRITTEN: dict[str, type[msgspec.Struct]] = {
    "predictions": Prediction,
    "fraud_alerts": Alert,
    "transactions_dlq": DeadLetter,
}


def schema(topic: str) -> dict[str, Any]:
    """Give the JSON Schema of a topic's messages."""
    # an alert has its transaction as it came
    kinds = (READ | WRITTEN)[topic], Transaction
    (reference, _), definitions = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    if topic == "fraud_alerts":
        definitions["Alert"]["properties"]["transaction"] = {"$ref": "#/$defs/Transaction"}
    elif topic != "transactions":
        del definitions["Transaction"]
    for definition in definitions.values():
        definition["description"] = inspect.cleandoc(definition["description"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": f"Made of the code's own types; topic {topic}.",
        **reference,
        "$defs": definitions,
    }
