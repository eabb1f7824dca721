"""The quorum as Kafka's tool tells it."""

import pytest
from kafka_quorum import Quorum, read_quorum

TOLD = """ClusterId:              AAAAAAAAAAAAAAAAAAAAAA
LeaderId:               4
LeaderEpoch:            3
HighWatermark:          318
CurrentVoters:          [{"id": 4, "directoryId": "x", "endpoints": ["x"]}, {"id": 3}]
CurrentObservers:       [{"id": 2, "directoryId": "y"}, {"id": 1}]
"""


def test_leader_voters_and_observers_are_read() -> None:
    assert read_quorum(TOLD) == Quorum(4, [4, 3], [2, 1])


def test_what_tells_no_voters_is_no_quorum() -> None:
    with pytest.raises(KeyError, match="CurrentVoters"):
        read_quorum("LeaderId: 4\n")
