"""What is sent to Kafka about topics that exist."""

from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import pytest
from ansible_modules import load

ROLE = Path(__file__).parents[3] / "ansible/roles/kafka"
load("ansible.module_utils.kafka_connection", ROLE / "module_utils/kafka_connection.py")
kafka_topics = load("kafka_topics", ROLE / "library/kafka_topics.py")

CONFIG = {"min.insync.replicas": "2", "retention.ms": "604800000"}


class Admin:
    """In the place of kafka-python's client: keeps what is asked of it."""

    def __init__(self) -> None:
        self.altered: dict[str, dict[str, str]] = {}

    def alter_configs(self, resources: list[Any], **_: object) -> dict[str, dict[str, str]]:
        self.altered = {resource.name: resource.configs for resource in resources}
        return {"topic": dict.fromkeys(self.altered, "OK")}


DESCRIBED: dict[str, Any] = {
    "topics": {
        "transactions": {
            "partitions": 8,
            "config": {"retention.bytes": 4_000, "segment.bytes": 500},
            "only_lowered": ["retention.bytes", "segment.bytes"],
        }
    },
    "replication_factor": 3,
    "config": {},
}


def topic(**config: str | None) -> dict[str, Any]:
    changed = {name.replace("_", "."): value for name, value in config.items()}
    return {"partitions": 8, "replication_factor": 3, "config": CONFIG | changed}


def test_only_settings_that_differ_are_sent() -> None:
    admin = Admin()
    wanted = {name: topic() for name in ("transactions", "predictions", "labels")}
    existing = {
        "transactions": topic(),
        "predictions": topic(retention_ms="1000"),
        "labels": topic(min_insync_replicas=None),
    }
    kafka_topics.apply_changes(cast("Any", admin), wanted, existing)
    assert admin.altered == {
        "predictions": {"retention.ms": "604800000"},
        "labels": {"min.insync.replicas": "2"},
    }


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (("800", "100"), ("800", "100")),  # as of a smaller disk
        (("9000", "100"), ("4000", "100")),
        (("-1", "1000"), ("4000", "500")),  # without a bound
        ((None, None), ("4000", "500")),
    ],
)
def test_a_setting_that_may_only_be_lowered_is_not_raised(
    found: tuple[str | None, str | None], expected: tuple[str, str]
) -> None:
    wanted = kafka_topics.described_topics(DESCRIBED)
    config = dict(zip(("retention.bytes", "segment.bytes"), found, strict=True))
    existing = {"transactions": {"partitions": 8, "replication_factor": 3, "config": config}}
    kafka_topics.keep_what_may_only_be_lowered(DESCRIBED["topics"], wanted, existing)
    assert tuple(wanted["transactions"]["config"].values()) == expected


def test_a_setting_that_may_be_raised_is() -> None:
    described = deepcopy(DESCRIBED)
    described["topics"]["transactions"]["only_lowered"] = []
    found = {"retention.bytes": "800", "segment.bytes": "100"}
    existing = {"transactions": {"partitions": 8, "replication_factor": 3, "config": found}}
    wanted = kafka_topics.described_topics(described)
    kafka_topics.keep_what_may_only_be_lowered(described["topics"], wanted, existing)
    assert wanted["transactions"]["config"] == {"retention.bytes": "4000", "segment.bytes": "500"}


def test_a_new_topic_gets_all_settings() -> None:
    wanted = kafka_topics.described_topics(DESCRIBED)
    kafka_topics.keep_what_may_only_be_lowered(DESCRIBED["topics"], wanted, {})
    assert wanted["transactions"]["config"] == {"retention.bytes": "4000", "segment.bytes": "500"}
