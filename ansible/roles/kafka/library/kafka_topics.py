#!/usr/bin/python
"""Create Kafka topics from a description, and bring existing ones in line with it."""

from __future__ import annotations

import math
import traceback
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.kafka_connection import answering

try:
    from kafka import KafkaAdminClient
    from kafka.admin import ConfigResource, ConfigResourceType
    from kafka.errors import KafkaError, UnknownTopicOrPartitionError, for_code

    IMPORT_ERROR = None
except ImportError:
    IMPORT_ERROR = traceback.format_exc()

DOCUMENTATION = """
module: kafka_topics
short_description: Create Kafka topics, or bring them in line with a description
description:
  - Creates what is missing, sets configuration that differs, adds partitions.
  - Never deletes a topic, a partition or a setting that the description does not name.
  - Runs where kafka-python is installed and the brokers can be reached.
options:
  bootstrap_servers:
    description: Brokers to ask first, as host:port.
    type: list
    elements: str
    required: true
  topics:
    description:
      - Topics by name, each with C(partitions), and optionally C(replication_factor) and C(config).
      - C(only_lowered) names numbers in C(config) that an existing topic keeps where its own are lower.
    type: dict
    required: true
  replication_factor:
    description: Replicas of topics that do not say otherwise.
    type: int
    required: true
  config:
    description: Configuration of all topics; a topic's own C(config) wins.
    type: dict
    default: {}
  timeout_s:
    description: How long to wait for the brokers to answer.
    type: int
    default: 60
author: fraud-detection
"""

EXAMPLES = """
- name: Create the topics
  kafka_topics:
    bootstrap_servers: ["10.77.0.11:9092"]
    replication_factor: 3
    topics:
      transactions: {partitions: 8, config: {retention.ms: 604800000}}
"""

RETURN = """
topics:
  description: Names of the topics that were created or changed.
  returned: always
  type: list
  elements: str
"""

# A topic is {"partitions": int, "replication_factor": int, "config": {str: str}} throughout.
Topic = dict[str, Any]


def as_kafka_writes(value: object) -> str:
    """Return a value of YAML the way Kafka writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def described_topics(params: dict[str, Any]) -> dict[str, Topic]:
    """Return the topics as the task describes them; raise ValueError naming topic and key if one is wrong."""
    topics: dict[str, Topic] = {}
    for name, description in params["topics"].items():
        unknown = description.keys() - {"partitions", "replication_factor", "config", "only_lowered"}
        if unknown:
            raise ValueError(
                f"topic {name}: unknown key {min(unknown)}; "
                "known are partitions, replication_factor, config, only_lowered"
            )
        partitions = description.get("partitions")
        if not isinstance(partitions, int) or partitions < 1:
            raise ValueError(f"topic {name}: partitions must be a number from 1 on, not {partitions!r}")
        replicas = int(description.get("replication_factor", params["replication_factor"]))
        config = params["config"] | (description.get("config") or {})
        if int(config.get("min.insync.replicas", 1)) > replicas:
            raise ValueError(
                f"topic {name}: min.insync.replicas {config['min.insync.replicas']} is more than its "
                f"{replicas} replicas; nothing could be written to it"
            )
        topics[name] = {
            "partitions": partitions,
            "replication_factor": replicas,
            "config": {key: as_kafka_writes(value) for key, value in sorted(config.items())},
        }
    return topics


def existing_topics(admin: KafkaAdminClient, wanted: dict[str, Topic]) -> dict[str, Topic]:
    """Return those of the wanted topics that exist, with the settings that the description names."""
    topics: dict[str, Topic] = {}
    for found in admin.describe_topics(list(wanted)):
        if found["error_code"] == UnknownTopicOrPartitionError.errno:
            continue
        if found["error_code"] != 0:
            raise ValueError(f"topic {found['name']}: {for_code(found['error_code']).__name__}")
        topics[found["name"]] = {
            "partitions": len(found["partitions"]),
            "replication_factor": min(len(partition["replica_nodes"]) for partition in found["partitions"]),
        }
    if topics:
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics]
        configs = admin.describe_configs(resources, config_filter="all")["topic"]
        for name, topic in topics.items():
            topic["config"] = {key: configs[name].get(key, {}).get("value") for key in wanted[name]["config"]}
    return topics


def check_reachable(wanted: dict[str, Topic], existing: dict[str, Topic]) -> None:
    """Raise ValueError if Kafka has no way from an existing topic to the wanted one."""
    for name, topic in existing.items():
        if topic["partitions"] > wanted[name]["partitions"]:
            raise ValueError(
                f"topic {name} has {topic['partitions']} partitions, the description says "
                f"{wanted[name]['partitions']}, and Kafka cannot take any away. Say {topic['partitions']}, "
                f"or delete the topic with its records: kafka-topics --delete --topic {name}"
            )


def keep_what_may_only_be_lowered(
    described: dict[str, Any], wanted: dict[str, Topic], existing: dict[str, Topic]
) -> None:
    """Let topics that exist keep what would be raised and may only be lowered."""

    def bound(value: str) -> float:
        return int(value) if int(value) >= 0 else math.inf  # Kafka's -1 is no bound

    for name, topic in existing.items():
        for key in described[name].get("only_lowered") or []:
            found = topic["config"].get(key)
            if found is not None and bound(found) < bound(wanted[name]["config"][key]):
                wanted[name]["config"][key] = found


def check_results(results: list[dict[str, Any]]) -> None:
    """Raise ValueError with the broker's own words if it refused something."""
    for result in results:
        if result["error_code"] != 0:
            reason = result["error_message"] or for_code(result["error_code"]).__name__
            raise ValueError(f"topic {result['name']}: {reason}")


def apply_changes(admin: KafkaAdminClient, wanted: dict[str, Topic], existing: dict[str, Topic]) -> None:
    """Create the topics that are missing, and change those that differ."""
    missing = {
        name: {
            "num_partitions": topic["partitions"],
            "replication_factor": topic["replication_factor"],
            "configs": topic["config"],
        }
        for name, topic in wanted.items()
        if name not in existing
    }
    if missing:
        check_results(admin.create_topics(missing, raise_errors=False)["topics"])
        admin.wait_for_topics(list(missing))
    # Only what differs: with a new min.insync.replicas, Kafka forgets a topic's eligible leader replicas.
    differing = [
        ConfigResource(ConfigResourceType.TOPIC, name, configs=dict(changed))
        for name, topic in existing.items()
        if (changed := wanted[name]["config"].items() - topic["config"].items())
    ]
    if differing:
        for name, result in admin.alter_configs(differing, raise_on_unknown=False)["topic"].items():
            if result != "OK":
                raise ValueError(f"topic {name}: {result}")
    growing = {
        name: wanted[name]["partitions"]
        for name, topic in existing.items()
        if topic["partitions"] < wanted[name]["partitions"]
    }
    if growing:
        check_results(admin.create_partitions(growing, raise_errors=False).to_dict()["results"])


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "bootstrap_servers": {"type": "list", "elements": "str", "required": True},
            "topics": {"type": "dict", "required": True},
            "replication_factor": {"type": "int", "required": True},
            "config": {"type": "dict", "default": {}},
            "timeout_s": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    if IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kafka-python"), exception=IMPORT_ERROR)
    servers = module.params["bootstrap_servers"]
    try:
        wanted = described_topics(module.params)
        try:
            admin = KafkaAdminClient(
                bootstrap_servers=answering(servers),
                bootstrap_timeout_ms=(5 if module.check_mode else module.params["timeout_s"]) * 1000,
            )
        except KafkaError:
            if not module.check_mode:
                raise
            module.warn(f"No broker answers at {', '.join(servers)}; the dry run takes it for a new cluster.")
            admin = None
        existing = existing_topics(admin, wanted) if admin else {}
        check_reachable(wanted, existing)
        keep_what_may_only_be_lowered(module.params["topics"], wanted, existing)
        for name, topic in existing.items():
            if topic["replication_factor"] != wanted[name]["replication_factor"]:
                module.warn(
                    f"Topic {name} has {topic['replication_factor']} replicas instead of "
                    f"{wanted[name]['replication_factor']}; kafka-reassign-partitions changes that."
                )
                wanted[name]["replication_factor"] = topic["replication_factor"]
        changed = sorted(name for name in wanted if wanted[name] != existing.get(name))
        if changed and not module.check_mode:
            apply_changes(admin, wanted, existing)
    except ValueError as error:
        module.fail_json(msg=str(error))
    except KafkaError as error:
        module.fail_json(msg=f"Kafka at {', '.join(servers)}: {error!r}")
    module.exit_json(
        changed=bool(changed),
        topics=changed,
        diff={
            "before": {name: existing[name] for name in changed if name in existing},
            "after": {name: wanted[name] for name in changed},
        },
    )


if __name__ == "__main__":
    main()
