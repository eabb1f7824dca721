"""Spreading partitions over brokers: what must hold whatever the cluster looks like."""

from collections import Counter
from pathlib import Path

import pytest
from ansible_modules import load
from hypothesis import given
from hypothesis import strategies as st

FILE = Path(__file__).parents[3] / "ansible/roles/kafka/module_utils/kafka_assignment.py"
kafka_assignment = load("kafka_assignment", FILE)
balance, count_moves, differing = (
    kafka_assignment.balance,
    kafka_assignment.count_moves,
    kafka_assignment.differing,
)

Assignment = dict[str, dict[int, list[int]]]

# What Kafka itself makes on three brokers: each topic begins at another one and goes round.
THREE_BROKERS: Assignment = {
    "transactions": {n: [1 + (n + k) % 3 for k in range(3)] for n in range(8)},
    "fraud_alerts": {n: [1 + (n + k + 1) % 3 for k in range(3)] for n in range(3)},
    "transactions_dlq": {0: [2, 3, 1]},
}


@st.composite
def clusters(draw: st.DrawFn, staying: bool = False) -> tuple[Assignment, list[int]]:  # noqa: FBT001, FBT002
    """Any assignment on brokers out of 1 to 7, and the brokers afterwards; with `staying`, none leaves."""
    present = draw(st.sets(st.integers(1, 7), min_size=1))
    factor = draw(st.integers(1, min(3, len(present))))
    replicas = st.permutations(sorted(present)).map(lambda brokers: list(brokers[:factor]))
    assignment = draw(
        st.dictionaries(
            st.sampled_from("abcd"),
            st.lists(replicas, min_size=1, max_size=12).map(lambda found: dict(enumerate(found))),
        )
    )
    wanted = draw(st.sets(st.integers(1, 9), min_size=factor))
    return assignment, sorted(wanted | present if staying else wanted)


def counts(partitions: dict[int, list[int]], brokers: list[int]) -> list[int]:
    kept = Counter(broker for replicas in partitions.values() for broker in replicas)
    return [kept[broker] for broker in brokers]


@given(clusters())
def test_every_partition_keeps_its_number_of_replicas_each_on_a_broker_of_its_own(
    cluster: tuple[Assignment, list[int]],
) -> None:
    assignment, brokers = cluster
    after = balance(assignment, brokers)
    assert {topic: set(partitions) for topic, partitions in after.items()} == {
        topic: set(partitions) for topic, partitions in assignment.items()
    }
    for topic, partitions in after.items():
        for number, replicas in partitions.items():
            assert len(set(replicas)) == len(replicas) == len(assignment[topic][number])
            assert set(replicas) <= set(brokers)


@given(clusters())
def test_every_topic_is_spread_evenly(cluster: tuple[Assignment, list[int]]) -> None:
    assignment, brokers = cluster
    for partitions in balance(assignment, brokers).values():
        kept = counts(partitions, brokers)
        assert max(kept) - min(kept) <= 1


@given(clusters(staying=True))
def test_no_more_replicas_move_than_must(cluster: tuple[Assignment, list[int]]) -> None:
    assignment, brokers = cluster
    after = balance(assignment, brokers)
    for topic, partitions in assignment.items():
        kept = counts(partitions, brokers)
        share, rest = divmod(sum(kept), len(brokers))
        above = sum(max(0, count - share - (rest > 0)) for count in kept)
        below = sum(max(0, share - count) for count in kept)
        assert count_moves({topic: partitions}, {topic: after[topic]}) == max(above, below)


@given(clusters())
def test_a_second_time_changes_nothing(cluster: tuple[Assignment, list[int]]) -> None:
    assignment, brokers = cluster
    once = balance(assignment, brokers)
    assert differing(once, balance(once, brokers)) == {}


@given(clusters())
def test_no_leader_could_even_out_by_handing_a_partition_to_a_follower(
    cluster: tuple[Assignment, list[int]],
) -> None:
    assignment, brokers = cluster
    for partitions in balance(assignment, brokers).values():
        leads = Counter({broker: 0 for replicas in partitions.values() for broker in replicas})
        leads.update(replicas[0] for replicas in partitions.values())
        for replicas in partitions.values():
            assert all(leads[replicas[0]] - leads[follower] <= 1 for follower in replicas)


def test_a_fourth_broker_gets_its_share() -> None:
    after = balance(THREE_BROKERS, [1, 2, 3, 5])
    assert counts(after["transactions"], [1, 2, 3, 5]) == [6, 6, 6, 6]
    assert Counter(replicas[0] for replicas in after["transactions"].values()) == {1: 2, 2: 2, 3: 2, 5: 2}
    assert sorted(counts(after["fraud_alerts"], [1, 2, 3, 5])) == [2, 2, 2, 3]
    # three replicas on four brokers are as even as they can be
    assert after["transactions_dlq"] == THREE_BROKERS["transactions_dlq"]
    assert count_moves(THREE_BROKERS, after) == 6 + 2


def test_a_broker_is_emptied() -> None:
    after = balance(balance(THREE_BROKERS, [1, 2, 3, 5]), [1, 2, 3])
    assert all(5 not in replicas for partitions in after.values() for replicas in partitions.values())
    assert counts(after["transactions"], [1, 2, 3]) == [8, 8, 8]


def test_what_is_even_is_left_alone() -> None:
    assert differing(THREE_BROKERS, balance(THREE_BROKERS, [1, 2, 3])) == {}


def test_too_few_brokers_are_named() -> None:
    with pytest.raises(ValueError, match="transactions has 3 replicas, which 2 brokers cannot keep"):
        balance({"transactions": THREE_BROKERS["transactions"]}, [1, 2])
