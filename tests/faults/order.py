"""Which faults a run injects, in which order, told by a seed alone.

A row's name says what is injected: `kill-kafka-node1`, `kill-kafka-node1+freeze-minio-node2` for a pair,
`kill-kafka-node1@checkpoint` for a fault during something. Name and seed say all of it, so a row can be
repeated.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple
from zlib import crc32

PAIRS = 8
TOGETHER, DURING = "+", "@"
# of the rows, whose records are not keyed by customer
OTHER_KEYS_SHARE = 1 / 8


class Planned(NamedTuple):
    """A row that is to come."""

    name: str
    seed: int

    @property
    def faults(self) -> list[str]:
        """Names of its faults: one, or two."""
        return self.name.partition(DURING)[0].split(TOGETHER)

    @property
    def moment(self) -> str | None:
        """What goes on meanwhile; None: nothing in particular."""
        return self.name.partition(DURING)[2] or None

    @property
    def keyed_by_customer(self) -> bool:
        """Whether the producer keys records by customer, else by transaction."""
        return self.random("keys").random() >= OTHER_KEYS_SHARE

    def random(self, what: str) -> random.Random:
        """Give chance for one purpose, the same each time."""
        return random.Random(f"{self.seed} {what}")  # noqa: S311 - to be repeated, not to be secret


class Kind(NamedTuple):
    """What matters of a fault for the order.

    Attributes:
        layer: faults of a pair are of two layers.
        paired: whether it may be part of a pair, and happen during something: it must end within minutes.

    """

    layer: str
    paired: bool


def plan(kinds: Mapping[str, Kind], moments: Sequence[str], seed: int, pairs: int = PAIRS) -> list[Planned]:
    """Put all faults into an order: each alone, then pairs of different layers.

    Args:
        kinds: of the faults, by name.
        moments: during each of which one fault more is injected, among those that are alone.
        seed: of the run.
        pairs: how many.

    """
    chance = random.Random(seed)  # noqa: S311 - to be repeated
    names = sorted(kinds)
    quick = [name for name in names if kinds[name].paired]
    during = [f"{name}{DURING}{moment}" for name, moment in _drawn(quick, moments, chance)]
    alone = [*names, *during]
    chance.shuffle(alone)
    possible = [
        TOGETHER.join(pair) for pair in combinations(quick, 2) if kinds[pair[0]].layer != kinds[pair[1]].layer
    ]
    together = chance.sample(possible, min(pairs, len(possible)))
    return [Planned(name, row_seed(seed, name)) for name in [*alone, *together]]


def row_seed(seed: int, name: str) -> int:
    """Give the seed of a row of a run."""
    return crc32(f"{seed} {name}".encode())


def rest(planned: Iterable[Planned], done: Iterable[tuple[str, int]]) -> list[Planned]:
    """Leave out the rows that a run has already; those are told by name and seed."""
    known = set(done)
    return [row for row in planned if tuple(row) not in known]


def _drawn(names: Sequence[str], moments: Sequence[str], chance: random.Random) -> Iterable[tuple[str, str]]:
    """Draw a fault for each moment, no fault twice while others are left."""
    drawn: list[str] = []
    while names and len(drawn) < len(moments):
        drawn += chance.sample(names, min(len(names), len(moments) - len(drawn)))
    return zip(drawn, moments, strict=False)
