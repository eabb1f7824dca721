"""Messages keep their form: what a release read is still read, and what it wrote is still there.

`tests/shared/released` has the schemas of the last release and messages of it, as they lay in Kafka. Whoever
releases copies docs/schemas there and adds messages; those that are there stay.
"""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from clients.alerts import decode_alert
from flink_jobs.domain.contract import READ, WRITTEN, schema
from flink_jobs.domain.label import parse_label
from flink_jobs.domain.transaction import parse_transaction
from flink_jobs.topic_schemas import write_schemas

ROOT = Path(__file__).parents[3]
RELEASED = ROOT / "tests/shared/released"
TOPICS = [*READ, *WRITTEN]
NOW_S = 1_800_000_000.0


def released(topic: str) -> dict[str, Any]:
    known: dict[str, Any] = json.loads((RELEASED / f"schemas/{topic}.json").read_bytes())
    return known


def messages(topic: str) -> list[bytes]:
    return (RELEASED / f"messages/{topic}.jsonl").read_bytes().splitlines()


def asked_more(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """Tell what was valid in a record that others write, and is not any more."""
    for name, old, new in _definitions(before, now):
        yield from (f"{name} wants {field}" for field in set(new["required"]) - set(old["required"]))
        for field, was in old["properties"].items():
            if new["properties"].get(field, {}) not in ({}, was):
                yield f"{name} reads {field} as something else"


def says_less(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """Tell what was there in a record that others read, and is not any more, or is something else."""
    for name, old, new in _definitions(before, now):
        yield from (f"{name} may lack {field}" for field in set(old["required"]) - set(new["required"]))
        for field, was in old["properties"].items():
            if new["properties"].get(field) != was:
                yield f"{name} says {field} otherwise"


def _definitions(
    before: dict[str, Any], now: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    nothing: dict[str, Any] = {"properties": {}, "required": []}
    for name, old in before["$defs"].items():
        yield name, old, now["$defs"].get(name, nothing)


def broken(topic: str, before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    # an alert has the transaction that others wrote
    return [
        *(asked_more if topic in READ else says_less)(
            *({**each, "$defs": _without(each["$defs"], topic)} for each in (before, now))
        )
    ]


def _without(definitions: dict[str, Any], topic: str) -> dict[str, Any]:
    return {name: each for name, each in definitions.items() if topic in READ or name != "Transaction"}


def test_the_schemas_in_docs_are_the_codes_own(tmp_path: Path) -> None:
    write_schemas(tmp_path)
    made = {file.name: file.read_text() for file in tmp_path.iterdir()}
    there = {file.name: file.read_text() for file in (ROOT / "docs/schemas").iterdir()}
    assert there == made, "python -m flink_jobs.topic_schemas docs/schemas writes them anew"


@pytest.mark.parametrize("topic", TOPICS)
def test_no_release_asks_more_or_says_less_than_the_last(topic: str) -> None:
    assert not broken(topic, released(topic), schema(topic))


@pytest.mark.parametrize("topic", TOPICS)
def test_recorded_messages_are_as_the_schemas_say(topic: str) -> None:
    assert len(messages(topic)) >= 2
    for message in messages(topic):
        jsonschema.validate(json.loads(message), schema(topic))


def test_recorded_messages_are_still_read() -> None:
    for message in messages("transactions"):
        read, written = parse_transaction(message, NOW_S), json.loads(message)
        assert [read.transaction_id, read.amount] == [written["transaction_id"], written["amount"]]
    for message in messages("fraud_labels"):
        assert parse_label(message, NOW_S).transaction_id == json.loads(message)["transaction_id"]
    for message in messages("fraud_alerts"):
        assert decode_alert(message).transaction.amount == json.loads(message)["transaction"]["amount"]
    for topic, kind in WRITTEN.items():
        for message in messages(topic):
            again = json.loads(msgspec.json.encode(msgspec.json.decode(message, type=kind)))
            assert json.loads(message).items() <= again.items()


@pytest.mark.parametrize(
    ("topic", "change", "said"),
    [
        ("transactions", ("required", ["currency"]), "wants currency"),
        ("transactions", ("amount", {"type": "number", "maximum": 1000}), "reads amount"),
        ("fraud_labels", ("required", ["why"]), "wants why"),
        ("fraud_labels", ("is_fraud", {"type": "string"}), "reads is_fraud"),
        ("predictions", ("score", None), "may lack score"),
        ("predictions", ("challenger_score", None), "says challenger_score"),
        ("fraud_alerts", ("offset", {"type": "string"}), "says offset"),
        ("transactions_dlq", ("detail", None), "may lack detail"),
        # what others need not know of
        ("transactions", ("channel", {"type": "string"}), None),
        ("transactions", ("amount", {}), None),
        ("fraud_alerts", ("shown", {"type": "string"}), None),
    ],
)
def test_a_change_that_breaks_others_is_found(topic: str, change: tuple[str, Any], said: str | None) -> None:
    changed = copy.deepcopy(schema(topic))
    definition = changed["$defs"][(READ | WRITTEN)[topic].__name__]
    name, new = change
    if name == "required":
        definition["required"] += new
    elif new is None:
        del definition["properties"][name]
        definition["required"] = [field for field in definition["required"] if field != name]
    else:
        definition["properties"][name] = new
    found = broken(topic, schema(topic), changed)
    assert any(said in each for each in found) if said else not found, found
