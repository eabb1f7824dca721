"""Assignments of replicas to brokers, and how to spread replicas evenly with the fewest moves."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Partition -> brokers that keep it, the preferred leader first.
Partitions = dict[int, list[int]]
# Topic -> its partitions.
Assignment = dict[str, Partitions]


def balance(assignment: Assignment, brokers: Iterable[int]) -> Assignment:
    """Spread each topic evenly over the brokers.

    Afterwards no broker keeps two replicas of a topic more than another: whichever topic is busy, all share
    its load. Every partition has as many replicas as before, and no more replicas move than needed; replicas
    on brokers that are not listed move away. Leaderships are as even as the replicas allow.

    Raises:
        ValueError: a partition has more replicas than there are brokers.

    """
    wanted = sorted(set(brokers))
    every = (replicas for partitions in assignment.values() for replicas in partitions.values())
    load = Counter(broker for replicas in every for broker in replicas)
    balanced: Assignment = {}
    for topic, partitions in sorted(assignment.items()):
        most = max(map(len, partitions.values()), default=0)
        if most > len(wanted):
            raise ValueError(f"topic {topic} has {most} replicas, which {len(wanted)} brokers cannot keep")
        balanced[topic] = _lead_evenly(_spread(partitions, wanted, load))
    return balanced


def count_moves(before: Assignment, after: Assignment) -> int:
    """Count the replicas that a broker must copy."""
    return sum(
        len(set(replicas) - set(before[topic][number]))
        for topic, partitions in after.items()
        for number, replicas in partitions.items()
    )


def differing(before: Assignment, after: Assignment) -> Assignment:
    """Give the partitions of `after` whose brokers, or their order, differ from `before`."""
    changes: Assignment = {}
    for topic, partitions in after.items():
        for number, replicas in partitions.items():
            if replicas != before[topic][number]:
                changes.setdefault(topic, {})[number] = replicas
    return changes


def _spread(partitions: Partitions, brokers: list[int], load: Counter[int]) -> Partitions:
    """Even out one topic's replicas; update `load`, the number of replicas of all topics on each broker."""
    spread = {number: list(replicas) for number, replicas in sorted(partitions.items())}
    kept = Counter(broker for replicas in spread.values() for broker in replicas)

    def fullness(broker: int) -> tuple[int, int, int]:
        return kept[broker], load[broker], broker

    def move(number: int, source: int, target: int) -> None:
        replicas = spread[number]
        replicas[replicas.index(source)] = target
        for count in (kept, load):
            count[source] -= 1
            count[target] += 1

    for number, replicas in spread.items():
        for stranger in set(replicas).difference(brokers):
            move(number, stranger, min(set(brokers).difference(replicas), key=fullness))
    # The fullest keeps more partitions than the emptiest, so one of them is not on the emptiest yet. Each
    # move is needed: it takes from a broker above the even share, or gives to one below it.
    while True:
        source, target = max(brokers, key=fullness), min(brokers, key=fullness)
        if kept[source] - kept[target] <= 1:
            return spread
        movable = [
            number for number, kept_by in spread.items() if source in kept_by and target not in kept_by
        ]
        # A follower rather than a leader, where there is a choice.
        move(min(movable, key=lambda number: (spread[number][0] == source, number)), source, target)


def _lead_evenly(partitions: Partitions) -> Partitions:
    """Put another replica first if that makes leaderships more even."""
    led = {number: list(replicas) for number, replicas in partitions.items()}
    while path := _handover(led):
        for number, leader in path:
            replicas = led[number]
            place = replicas.index(leader)
            replicas[0], replicas[place] = leader, replicas[0]
    return led


def _handover(partitions: Partitions) -> list[tuple[int, int]]:
    """Find a way from a broker to one that leads at least two fewer: (partition, its new leader) by step.

    Each step hands a partition to the next broker, so the brokers in between lead as many as before. The way
    is [] if there is none: leaderships cannot be more even.
    """
    leads = Counter({broker: 0 for replicas in partitions.values() for broker in replicas})
    leads.update(replicas[0] for replicas in partitions.values())
    for start in sorted(leads, key=lambda broker: (-leads[broker], broker)):
        came_by: dict[int, list[tuple[int, int]]] = {start: []}
        queue = deque([start])
        while queue:
            broker = queue.popleft()
            if leads[start] - leads[broker] >= 2:  # noqa: PLR2004 - one fewer would only swap the two
                return came_by[broker]
            for number, replicas in partitions.items():
                for follower in replicas[1:] if replicas[0] == broker else []:
                    if follower not in came_by:
                        came_by[follower] = [*came_by[broker], (number, follower)]
                        queue.append(follower)
    return []
