"""What is sent to Kafka about topics that exist."""

from pathlib import Path
from typing import Any, cast

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
