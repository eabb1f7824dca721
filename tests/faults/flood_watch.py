"""What is seen of the lab during a flood: counts of records, memory, and what restarted."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from catalogue import named
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from room import Sizes, sizes
from samples import Samples
from system import JOBS, System
from topics import Ends, Offsets, ranges

from clients.reconciliation import total
from flink_jobs.store.kafka_servers import answering_servers
from flink_jobs.store.settings import Topics

LOOK_S, SAMPLE_S = 2.0, 10.0


class Watch:
    """Looks at topics, services and jobs from its making on.

    Attributes:
        ends: of the topics.
        begin: where topics ended then.
        timeline: seconds since 1970, records that came since the begin, and those of them that are scored.
        samples: of each service.

    """

    def __init__(self, system: System, ends: Ends) -> None:
        self._system = system
        self.ends = ends
        self._names = system.settings.topics
        self._admin: Any = KafkaAdminClient(bootstrap_servers=answering_servers(system.settings.kafka))
        self._sampled_s = -SAMPLE_S
        self._running = self._since()
        self.begin = ends.now()
        self.timeline: list[tuple[float, int, int]] = []
        self.samples = Samples(system)

    def close(self) -> None:
        """Look no more."""
        self._admin.close()

    def counts(self) -> tuple[int, int]:
        """Count the records that came, and the predictions and dead letters."""
        return counted(self.begin, self.ends.now(), self._names)

    def scored(self) -> int:
        """Count the predictions and dead letters."""
        return self.counts()[1]

    def look(self) -> int:
        """Look once; count the records that wait to be scored."""
        came, scored = self.counts()
        self.timeline.append((time.time(), came, scored))
        if time.monotonic() >= self._sampled_s + SAMPLE_S:
            self._sampled_s = time.monotonic()
            self.samples.take()
        return came - scored

    def until(self, done: Callable[[int], bool], most_s: float) -> float | None:
        """Look until `done` says yes of the records that wait; give the seconds, None if too many."""
        began_s = time.monotonic()
        while not done(self.look()):
            if time.monotonic() > began_s + most_s:
                return None
            time.sleep(LOOK_S)
        return time.monotonic() - began_s

    def lake_waits(self) -> int:
        """Count the records that the lake's job has not committed yet."""
        read = self._admin.list_group_offsets({JOBS[0]: None})[JOBS[0]]
        ends = self.ends.now()
        return sum(
            uncommitted(
                self.begin[topic],
                ends[topic],
                {part.partition: found.offset for part, found in read.items() if part.topic == topic},
            )
            for topic in (self._names.transactions, self._names.predictions)
        )

    def kept_bytes(self) -> dict[str, int]:
        """Tell how much a partition of each topic keeps, in bytes; -1: all."""
        topics = list(self.begin)
        asked = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
        told = self._admin.describe_configs(asked, config_filter="all")["topic"]
        return {topic: int(told[topic]["retention.bytes"]["value"]) for topic in topics}

    def sizes(self) -> Sizes:
        """Tell how large partitions are."""
        broker = named(self._system.hosts, "kafka")[0]
        topics = ",".join(self.begin)
        return sizes(
            self._system.containers.shell(broker, f"kafka-log-dirs --describe --topic-list {topics}")
        )

    def removed(self) -> list[str]:
        """Name topics that have deleted records that came since the begin."""
        first = self.ends.first()
        return [
            topic for topic, begin in self.begin.items() if any(first[topic][n] > begin[n] for n in begin)
        ]

    def restarted(self) -> list[str]:
        """Name services and jobs that do not run since the begin."""
        now = self._since()
        jobs = [job for job, since in self._running.items() if now.get(job) != since]
        return [*sorted(self.samples.restarted), *jobs]

    def _since(self) -> dict[str, Any]:
        """Tell since when the parts of each job run, which a restart changes."""
        found = {}
        for name in JOBS:
            job = self._system.job(name)
            vertices = self._system.flink.request(f"/jobs/{job}")["vertices"]
            found[name] = job, sorted((vertex["id"], vertex["start-time"]) for vertex in vertices)
        return found


def counted(begin: Offsets, ends: Offsets, names: Topics) -> tuple[int, int]:
    """Count the records that came since the begin, and the predictions and dead letters."""
    came, predicted, refused = (
        total(ranges(begin[topic], ends[topic]))
        for topic in (names.transactions, names.predictions, names.transactions_dlq)
    )
    return came, predicted + refused


def uncommitted(begin: Mapping[int, int], end: Mapping[int, int], read: Mapping[int, int]) -> int:
    """Count the records of a topic that are not committed; a partition without a commit has none."""
    return sum(max(last - read.get(part, begin[part]), 0) for part, last in end.items())
