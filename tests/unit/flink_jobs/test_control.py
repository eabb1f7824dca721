"""Control transactions are chosen by the id alone, in the share that the setting says."""

import numpy as np
import pytest

from flink_jobs.domain.control import chosen

# of the ids 0 to 4999, a thousandth
WHOLE = [69, 274, 796, 1823, 1882, 1901, 3797, 4963]


@pytest.mark.parametrize("form", ["{}", "{:012d}", "tx-{:x}", "2018-07-01/{:06d}/ü"])
@pytest.mark.parametrize("share", [0.005, 0.5])
def test_the_share_is_that_of_any_ids(form: str, share: float) -> None:
    """Ids that are counted up too, as many systems give them."""
    for first in (0, 1_754_154, 10**9):
        ids = [form.format(first + number) for number in range(40_000)]
        found = np.flatnonzero(chosen(ids, share))
        deviation = (share * (1 - share) * len(ids)) ** 0.5
        assert abs(len(found) - share * len(ids)) < 4 * deviation, (form, first, len(found))
        # as scattered as chance has it: neighbours are no more alike than others
        pairs = int((np.diff(found) == 1).sum())
        expected = share**2 * len(ids)
        assert abs(pairs - expected) < 5 * (expected + 1) ** 0.5 + 0.01 * expected, (form, first, pairs)


def test_an_id_is_chosen_whatever_it_comes_with_and_in_whichever_release() -> None:
    ids = [str(number) for number in range(5000)]
    whole = np.flatnonzero(chosen(ids, 0.001)).tolist()
    assert whole == [number for number in range(5000) if chosen([ids[number]], 0.001)[0]]
    # a larger share has all of a smaller one
    assert set(whole) < set(np.flatnonzero(chosen(ids, 0.01)).tolist())
    # who scores again after an update chooses the same
    assert whole == WHOLE


def test_none_and_all_are_shares_too() -> None:
    ids = [str(number) for number in range(1000)]
    assert not chosen(ids, 0.0).any()
    assert chosen(ids, 1.0).all()
    assert chosen([], 0.5).tolist() == []
