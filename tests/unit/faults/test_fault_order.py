"""Which faults a run injects, and in which order."""

from moments import MOMENTS
from order import Kind, Planned, plan, rest

KINDS = {
    "kill-kafka-node1": Kind("log", paired=True),
    "kill-kafka-node2": Kind("log", paired=True),
    "stop-minio-node1": Kind("storage", paired=True),
    "lost-host": Kind("host", paired=False),
}


def test_a_seed_tells_the_order() -> None:
    planned = plan(KINDS, list(MOMENTS), 7)
    assert planned == plan(dict(reversed(KINDS.items())), list(MOMENTS), 7)
    assert planned != plan(KINDS, list(MOMENTS), 8)
    assert len({each.seed for each in planned}) == len(planned)


def test_each_fault_comes_alone_then_pairs_of_two_layers() -> None:
    planned = plan(KINDS, ["checkpoint", "promotion"], 7, pairs=2)
    alone = [each for each in planned if len(each.faults) == 1]
    assert planned[: len(alone)] == alone
    assert sorted(each.name for each in alone if each.moment is None) == sorted(KINDS)
    assert sorted(each.moment for each in alone if each.moment) == ["checkpoint", "promotion"]
    pairs = planned[len(alone) :]
    assert len(pairs) == 2
    for each in pairs:
        first, second = each.faults
        assert KINDS[first].layer != KINDS[second].layer


def test_what_is_long_is_neither_paired_nor_during_something() -> None:
    for seed in range(20):
        for each in plan(KINDS, list(MOMENTS), seed):
            assert each.name == "lost-host" or "lost-host" not in each.name


def test_a_run_goes_on_with_the_rows_that_it_does_not_have() -> None:
    planned = plan(KINDS, [], 7)
    done = [tuple(each) for each in planned[:3]]
    assert rest(planned, [*done, ("another", 1)]) == planned[3:]  # type: ignore[list-item]


def test_a_name_and_a_seed_say_all_of_a_row() -> None:
    each = Planned("kill-kafka-node1+stop-minio-node1@checkpoint", 12)
    assert each.faults == ["kill-kafka-node1", "stop-minio-node1"]
    assert each.moment == "checkpoint"
    assert each.random("hosts").random() == Planned(each.name, 12).random("hosts").random()
    assert each.random("hosts").random() != each.random("transactions").random()
    keyed = sum(Planned("any", seed).keyed_by_customer for seed in range(1000))
    assert 800 < keyed < 950
