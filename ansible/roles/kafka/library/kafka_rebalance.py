#!/usr/bin/python
"""Spread the partitions of all topics evenly over the brokers of a Kafka cluster."""

from __future__ import annotations

import time
import traceback
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.kafka_assignment import balance, count_moves, differing
from ansible.module_utils.kafka_connection import answering

if TYPE_CHECKING:
    from ansible.module_utils.kafka_assignment import Assignment

try:
    from kafka import KafkaAdminClient, TopicPartition
    from kafka.admin import AlterConfigOp, ConfigResource, ConfigResourceType
    from kafka.errors import KafkaError

    IMPORT_ERROR = None
except ImportError:
    IMPORT_ERROR = traceback.format_exc()

DOCUMENTATION = """
module: kafka_rebalance
short_description: Spread the partitions of all topics evenly over the brokers
description:
  - Moves as few replicas as it takes for no broker to keep two more of a topic than another, and waits until
    they are in sync. Leaderships are evened out as well. No partition has fewer replicas meanwhile.
  - Replicas on brokers that are not listed move away, so that those brokers can be taken out.
  - After a run that was broken off, the next run goes on from there.
  - Runs where kafka-python is installed and the brokers can be reached.
options:
  bootstrap_servers:
    description: Brokers to ask first, as host:port.
    type: list
    elements: str
    required: true
  brokers:
    description: Ids of the brokers that are to keep the partitions. All of them must be up.
    type: list
    elements: int
    required: true
  throttle_mb_s:
    description: MB/s that a broker may send and receive for the moves; replicas in sync are not held back.
    type: int
    default: 50
  timeout_s:
    description: How long the moves may take. They go on when it is over; another run waits for them again.
    type: int
    default: 3600
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
author: fraud-detection
"""

EXAMPLES = """
- name: Give the fourth broker its share
  kafka_rebalance:
    bootstrap_servers: ["192.0.2.1:9092"]
    brokers: [1, 2, 3, 4]
"""

RETURN = """
moves:
  description: Replicas that a broker had to copy.
  returned: success
  type: int
"""

RATES = ("leader.replication.throttled.rate", "follower.replication.throttled.rate")
THROTTLED = ("leader.replication.throttled.replicas", "follower.replication.throttled.replicas")


# ElectLeaders: the first of the replicas, not just any.
PREFERRED = 0


class RebalanceError(Exception):
    """What happened, and what to do about it."""


class Rebalance:
    """One run of the module."""

    def __init__(self, admin: KafkaAdminClient, params: dict[str, Any]) -> None:
        self.admin = admin
        self.params = params

    def brokers_up(self) -> list[int]:
        """Give the ids of the brokers that serve."""
        brokers = self.admin.describe_cluster()["brokers"]
        return [broker["broker_id"] for broker in brokers if not broker["is_fenced"]]

    def plan(self) -> tuple[Assignment, Assignment]:
        """Give the assignment as it is, and as it is to be."""
        missing = sorted(set(self.params["brokers"]).difference(self.brokers_up()))
        if missing:
            raise RebalanceError(
                f"Broker {', '.join(map(str, missing))} is not up, and nothing was moved. Bring it back "
                "(kafka-health on its host says more), or leave it out."
            )
        moving = self.admin.list_partition_reassignments()
        now: Assignment = {}
        for topic in self.admin.describe_topics():
            for partition in topic["partitions"]:
                place = TopicPartition(topic["name"], partition["partition_index"])
                leaving = moving.get(place, {}).get("removing_replicas", [])
                replicas = [broker for broker in partition["replica_nodes"] if broker not in leaving]
                now.setdefault(place.topic, {})[place.partition] = replicas
        return now, balance(now, self.params["brokers"])

    def throttles(self) -> list[ConfigResource]:
        """Give the throttles that are set; an earlier run may have left some."""
        resources = [
            ConfigResource(ConfigResourceType.BROKER, str(broker), configs=list(RATES))
            for broker in self.brokers_up()
        ]
        resources += [
            ConfigResource(ConfigResourceType.TOPIC, topic, configs=list(THROTTLED))
            for topic in self.admin.list_topics()
        ]
        found = self.admin.describe_configs(resources, config_filter="modified")
        return [
            ConfigResource(
                resource.resource_type,
                resource.name,
                configs=dict.fromkeys(names, (AlterConfigOp.DELETE, None)),
            )
            for resource in resources
            if (names := found[resource.resource_type.name.lower()][resource.name])
        ]

    def alter(self, resources: list[ConfigResource]) -> None:
        """Set or delete configuration."""
        for results in self.admin.alter_configs(resources, raise_on_unknown=False).values():
            for name, result in results.items():
                if result != "OK":
                    raise RebalanceError(f"The throttle of {name} could not be changed: {result}")

    def move(self, changes: Assignment) -> None:
        """Begin to move replicas, throttled."""
        rate = str(self.params["throttle_mb_s"] * 1_000_000)
        brokers = [
            ConfigResource(ConfigResourceType.BROKER, str(broker), configs=dict.fromkeys(RATES, rate))
            for broker in self.brokers_up()
        ]
        topics = [
            ConfigResource(ConfigResourceType.TOPIC, topic, configs=dict.fromkeys(THROTTLED, "*"))
            for topic in changes
        ]
        self.alter(brokers + topics)
        moves = {
            TopicPartition(topic, number): replicas
            for topic, partitions in changes.items()
            for number, replicas in partitions.items()
        }
        for place, error in self.admin.alter_partition_reassignments(moves).items():
            if error:
                raise RebalanceError(f"{place.topic}-{place.partition} could not be moved: {error.__name__}")

    def wait(self) -> None:
        """Wait until no replica is moving."""
        deadline = time.monotonic() + self.params["timeout_s"]
        while moving := self.admin.list_partition_reassignments():
            if time.monotonic() > deadline:
                places = ", ".join(f"{place.topic}-{place.partition}" for place in sorted(moving))
                raise RebalanceError(
                    f"Still moving after {self.params['timeout_s']} s: {places}. "
                    "It goes on; run this again to wait for it."
                )
            time.sleep(1)

    def lead(self, changes: Assignment) -> None:
        """Let the first replica of each changed partition lead."""
        self.admin.elect_leaders(
            PREFERRED, {topic: list(partitions) for topic, partitions in changes.items()}
        )

    def run(self, *, check_mode: bool) -> dict[str, Any]:
        """Move the partitions to their brokers, and give the result."""
        resumed = bool(self.admin.list_partition_reassignments())
        if resumed and not check_mode:
            self.wait()
        before, after = self.plan()
        changes = differing(before, after)
        if changes and not check_mode:
            self.move(changes)
            self.wait()
            self.lead(changes)
        left = self.throttles()
        if left and not check_mode:
            self.alter(left)
        return {
            "changed": bool(changes or left or resumed),
            "moves": count_moves(before, after),
            "diff": {"before": rendered(before, changes), "after": rendered(after, changes)},
        }


def rendered(assignment: Assignment, changes: Assignment) -> str:
    """Write the brokers of the changed partitions, one partition a line."""
    return "".join(
        f"{topic}-{number}: {', '.join(map(str, assignment[topic][number]))}\n"
        for topic, partitions in sorted(changes.items())
        for number in sorted(partitions)
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "bootstrap_servers": {"type": "list", "elements": "str", "required": True},
            "brokers": {"type": "list", "elements": "int", "required": True},
            "throttle_mb_s": {"type": "int", "default": 50},
            "timeout_s": {"type": "int", "default": 3600},
        },
        supports_check_mode=True,
    )
    if IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kafka-python"), exception=IMPORT_ERROR)
    servers = module.params["bootstrap_servers"]
    try:
        admin = KafkaAdminClient(bootstrap_servers=answering(servers), bootstrap_timeout_ms=30_000)
        module.exit_json(**Rebalance(admin, module.params).run(check_mode=module.check_mode))
    except (RebalanceError, ValueError) as error:
        module.fail_json(msg=str(error))
    except KafkaError as error:
        module.fail_json(msg=f"Kafka at {', '.join(servers)}: {error!r}")


if __name__ == "__main__":
    main()
