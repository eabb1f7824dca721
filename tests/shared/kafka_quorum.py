"""Who votes on Kafka's metadata, as `kafka-metadata-quorum describe --status` tells it."""

import json
from typing import NamedTuple

STATUS = "kafka-metadata-quorum describe --status"


class Quorum(NamedTuple):
    """Node ids, in the order in which they are told; it is any."""

    leader: int
    voters: list[int]
    observers: list[int]


def read_quorum(status: str) -> Quorum:
    """Read what STATUS prints; KeyError if it does not tell who leads or votes."""
    told = {key: value for key, _, value in (line.partition(":") for line in status.splitlines())}
    voters, observers = (
        [node["id"] for node in json.loads(told[key])] for key in ("CurrentVoters", "CurrentObservers")
    )
    return Quorum(int(told["LeaderId"]), voters, observers)
