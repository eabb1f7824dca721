import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.domain.offset_set import OffsetSet, size

OFFSETS = st.lists(st.integers(0, 40), max_size=30)


@given(st.lists(OFFSETS, max_size=8), st.integers(0, 45), st.integers(0, 45))
def test_it_holds_what_a_plain_set_holds(batches: list[list[int]], first: int, end: int) -> None:
    offsets, plain = OffsetSet(), set[int]()
    for batch in batches:
        repeats = offsets.add(np.array(batch, dtype=np.int64))
        assert repeats == len(batch) - len(set(batch) - plain)
        plain |= set(batch)
        assert len(offsets) == len(plain)
        offsets = msgspec.json.decode(msgspec.json.encode(offsets), type=OffsetSet)
    gaps = offsets.gaps(first, end)
    assert [each for span in gaps for each in range(*span)] == sorted(set(range(first, end)) - plain)
    assert size(gaps) == len(set(range(first, end)) - plain)


@given(st.permutations(range(30)))
def test_what_is_whole_takes_one_range_in_whatever_order_it_came(order: list[int]) -> None:
    offsets = OffsetSet()
    for each in order:
        offsets.add(np.array([each], dtype=np.int64))
    assert offsets.ranges == [(0, 30)]


def test_ranges_that_overlap_or_touch_become_one() -> None:
    offsets = OffsetSet([(5, 8)])
    offsets.add_ranges([(20, 30), (8, 10), (1, 6), (22, 24)])
    assert offsets.ranges == [(1, 10), (20, 30)]
