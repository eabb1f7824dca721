"""The table of faults: what there is for the hosts of a lab, and how dark it may become."""

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import harm
from harm import Harm
from order import Kind

# How long a fault stays, in s. A killed process comes back by itself; what is stopped is started again. A
# frozen one outlives its sessions (Kafka: 9 s, ZooKeeper: 10 s), so that another has taken its place.
KILLED_S, STOPPED_S, FROZEN_S = 20, 5, 25
OFF_S, AWAY_S, CUT_S, FULL_S = 10, 120, 40, 60
QUORUM_LOST_S, NODES_LOST_S, SENT_S = 120, 900, 60

# How dark it may become, in s: while a fault stays, or once it is mended.
PROCESS, FROZEN, LEADER, HOST, AFTER = 20, 35, 30, 60, 120

ZOOKEEPER_PORT = 2181
CLOCK_OFF_S = 300


class Cluster(Protocol):
    """What a fault has to know of the lab at the moment at which it is injected."""

    hosts: Mapping[str, Mapping[str, Any]]

    def leader(self) -> str:
        """Host of the JobManager that leads."""

    def controller(self) -> str:
        """Host of the controller of Kafka that leads."""


class Aimed(NamedTuple):
    """A fault that knows its hosts.

    Attributes:
        harm: that is done to them.
        aim: of which hosts, for people.

    """

    harm: Harm
    aim: str


Aim = Callable[[Cluster, random.Random], Aimed]


class Fault(NamedTuple):
    """A line of the table.

    Attributes:
        layer: of the system.
        aim: chooses the hosts, where the name does not say them.
        stays_s: from when it is injected until it is mended.
        limit_s: of dark time.
        after_repair: whether that is counted from the repair on only.
        paired: whether it may be combined with another, and happen during something.

    """

    layer: str
    aim: Aim
    stays_s: float
    limit_s: float
    after_repair: bool = False
    paired: bool = True

    @property
    def kind(self) -> Kind:
        """What matters of it for the order."""
        return Kind(self.layer, self.paired)


class Manner(NamedTuple):
    """A way to harm a unit on a host, and how long it stays."""

    harm: Callable[[str, str], Harm]
    stays_s: float
    limit_s: float


MANNERS = {
    "kill": Manner(harm.killed, KILLED_S, PROCESS),
    "stop": Manner(harm.stopped, STOPPED_S, PROCESS),
    "freeze": Manner(harm.frozen, FROZEN_S, FROZEN),
}
# services by name: layer, unit, and groups of hosts that have it
SERVICES = {
    "kafka": ("log", "kafka", {"kafka"}),
    "zookeeper": ("coordination", "zookeeper", {"zookeeper"}),
    "minio": ("storage", "minio", {"minio"}),
    "haproxy": ("storage", "haproxy", {"minio", "flink_jobmanager", "flink_taskmanager", "training"}),
    "taskmanager": ("processing", "flink-taskmanager@1", {"flink_taskmanager"}),
}
JOBMANAGER = "flink-jobmanager"
# whose disk is filled: group, unit, folder of its data
DISKS = {
    "broker": ("kafka", "kafka", "/var/lib/kafka/data"),
    "taskmanager": ("flink_taskmanager", "flink-taskmanager@1", "/var/lib/flink/taskmanager-1"),
    "minio": ("minio", "minio", "/var/lib/minio/drive1"),
}
# what is done to whole hosts, and how long it stays
WHOLE: dict[str, tuple[Callable[[str], Harm], float]] = {
    "power": (harm.powered_off, OFF_S),
    "away": (harm.powered_off, AWAY_S),
    "shut-down": (harm.shut_down, OFF_S),
    "pause": (harm.paused, FROZEN_S),
}
PARTITIONS = {
    "cut": {"inward": True, "outward": True},
    "cut-inward": {"inward": True, "outward": False},
    "cut-outward": {"inward": False, "outward": True},
}


def catalogue(hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, Fault]:
    """Give all faults of a lab by name.

    Args:
        hosts: by name, each with its `groups`, as Terraform tells them.

    """
    return {**_of_processes(hosts), **_of_hosts(hosts), **_of_the_whole()}


def named(hosts: Mapping[str, Mapping[str, Any]], *groups: str) -> list[str]:
    """Name the hosts that are in one of the groups."""
    return sorted(name for name, host in hosts.items() if set(groups) & set(host["groups"]))


def _of_processes(hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, Fault]:
    found = {}
    for word, manner in MANNERS.items():
        for service, (layer, unit, groups) in SERVICES.items():
            for host in named(hosts, *groups):
                fault = Fault(layer, partial(_on, manner, host, unit), manner.stays_s, manner.limit_s)
                found[f"{word}-{service}-{host}"] = fault
        controller = partial(_on_controller, manner)
        found[f"{word}-controller"] = Fault("log", controller, manner.stays_s, manner.limit_s)
        for which, limit_s in (("leader", LEADER), ("standby", manner.limit_s)):
            aim = partial(_on_jobmanager, manner, which == "leader")
            found[f"{word}-jobmanager-{which}"] = Fault("processing", aim, manner.stays_s, limit_s)
    return found


def _of_hosts(hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, Fault]:
    found = {}
    for host in sorted(hosts):
        for word, (done, stays_s) in WHOLE.items():
            found[f"{word}-{host}"] = Fault("host", partial(_whole, done, host), stays_s, HOST)
        for word, ways in PARTITIONS.items():
            found[f"{word}-{host}"] = Fault("network", partial(_cut_off, host, ways), CUT_S, HOST)
    for whose in DISKS:
        # moving the data to and fro would outlast what it is combined with
        found[f"full-disk-{whose}"] = Fault("disk", partial(_filled, whose), FULL_S, HOST, paired=False)
    return found


def _of_the_whole() -> dict[str, Fault]:
    return {
        "leader-cut-from-zookeeper": Fault("coordination", _leader_cut_off, CUT_S, LEADER),
        "zookeeper-quorum": Fault(
            "coordination", _quorum_lost, QUORUM_LOST_S, AFTER, after_repair=True, paired=False
        ),
        "last-broker": Fault("log", _last_broker_lost, STOPPED_S, AFTER, after_repair=True, paired=False),
        "two-minio-nodes": Fault("storage", _two_nodes_lost, NODES_LOST_S, PROCESS, paired=False),
        "all-hosts": Fault("host", _all_powered_off, OFF_S, AFTER, after_repair=True, paired=False),
        "producer-clock": Fault("records", _clock_off, SENT_S, PROCESS),
        "poison": Fault("records", _poisoned, SENT_S, PROCESS),
        "savepoint-upgrade": Fault("jobs", _upgraded, 0, AFTER, after_repair=True, paired=False),
        "lost-host": Fault("host", _lost, STOPPED_S, HOST, paired=False),
        "lost-state": Fault("jobs", _state_lost, 0, AFTER, after_repair=True, paired=False),
    }


def _on(manner: Manner, host: str, unit: str, _cluster: Cluster, _chance: random.Random) -> Aimed:
    return Aimed(manner.harm(host, unit), f"{unit} of {host}")


def _on_controller(manner: Manner, cluster: Cluster, chance: random.Random) -> Aimed:
    return _on(manner, cluster.controller(), "kafka", cluster, chance)


def _on_jobmanager(manner: Manner, leads: bool, cluster: Cluster, chance: random.Random) -> Aimed:  # noqa: FBT001 - bound by `partial`
    leader = cluster.leader()
    others = [host for host in named(cluster.hosts, "flink_jobmanager") if host != leader]
    return _on(manner, leader if leads or not others else chance.choice(others), JOBMANAGER, cluster, chance)


def _whole(done: Callable[[str], Harm], host: str, _cluster: Cluster, _chance: random.Random) -> Aimed:
    return Aimed(done(host), host)


def _all_powered_off(cluster: Cluster, _chance: random.Random) -> Aimed:
    return Aimed(harm.powered_off(*sorted(cluster.hosts)), "all hosts")


def _cut_off(host: str, ways: Mapping[str, bool], _cluster: Cluster, _chance: random.Random) -> Aimed:
    return Aimed(harm.cut_off(host, inward=ways["inward"], outward=ways["outward"]), host)


def _leader_cut_off(cluster: Cluster, _chance: random.Random) -> Aimed:
    leader = cluster.leader()
    return Aimed(harm.cut_from_port(leader, ZOOKEEPER_PORT), f"{JOBMANAGER} of {leader}")


def _several(hosts: Sequence[str], unit: str) -> Aimed:
    return Aimed(harm.together([harm.stopped(host, unit) for host in hosts]), f"{unit} of {', '.join(hosts)}")


def _quorum_lost(cluster: Cluster, chance: random.Random) -> Aimed:
    members = named(cluster.hosts, "zookeeper")
    return _several(sorted(chance.sample(members, len(members) // 2 + 1)), "zookeeper")


def _last_broker_lost(cluster: Cluster, chance: random.Random) -> Aimed:
    """Stop all brokers but one in good order, so that it is the last replica in sync, then kill it."""
    brokers = named(cluster.hosts, "kafka")
    last = chance.choice(brokers)
    stopped = [harm.stopped(broker, "kafka") for broker in brokers if broker != last]
    return Aimed(harm.together([*stopped, harm.kept_down(last, "kafka")]), f"kafka of all, of {last} last")


def _two_nodes_lost(cluster: Cluster, chance: random.Random) -> Aimed:
    return _several(sorted(chance.sample(named(cluster.hosts, "minio"), 2)), "minio")


def _filled(whose: str, cluster: Cluster, chance: random.Random) -> Aimed:
    group, unit, folder = DISKS[whose]
    host = chance.choice(named(cluster.hosts, group))
    return Aimed(harm.filled(host, unit, folder), f"{folder} of {host}")


def _clock_off(_cluster: Cluster, chance: random.Random) -> Aimed:
    off_s = chance.choice((CLOCK_OFF_S, -CLOCK_OFF_S))
    return Aimed(harm.sent_otherwise("clock_off_s", off_s), f"{off_s:+d} s")


def _poisoned(_cluster: Cluster, _chance: random.Random) -> Aimed:
    return Aimed(harm.sent_otherwise("poison_tps", 1), "a record a second")


def _playbook(name: str, options: str = "") -> str:
    return f"cd ansible && ansible-playbook playbooks/{name}.yml {options}".strip()


def _upgraded(_cluster: Cluster, _chance: random.Random) -> Aimed:
    stop = _playbook("jobs", "-e flink_jobs_state=stopped")
    return Aimed(harm.done_here([stop], [_playbook("jobs")]), "both jobs")


def _state_lost(_cluster: Cluster, _chance: random.Random) -> Aimed:
    stop = _playbook("jobs", "-e flink_jobs_state=stopped")
    anew = _playbook("jobs", "-e flink_jobs_anew=ml_inference_job")
    return Aimed(harm.done_here([stop], [anew]), "ml_inference_job")


def _lost(cluster: Cluster, chance: random.Random) -> Aimed:
    host = chance.choice(sorted(cluster.hosts))
    return Aimed(harm.done_here([f"incus delete --force {host}"], ["make up"]), host)
