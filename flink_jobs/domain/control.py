"""Control transactions: chosen by chance among those that raise no alert.

Whoever labels looks at them too, and so it is known what share of the frauds raises no alert. The id alone
chooses: whoever scores a transaction again chooses the same, whatever the model.
"""

from collections.abc import Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray


def chosen(transaction_ids: Sequence[str], share: float) -> NDArray[np.bool_]:
    """Tell which transactions are chosen: those whose hash of 64 bits lies below `share` of all: [ids]."""
    checksums = np.fromiter(map(crc32, map(str.encode, transaction_ids)), np.uint64, len(transaction_ids))
    # as many bits as a float has
    picked: NDArray[np.bool_] = _mixed(checksums) >> np.uint64(11) < share * 2**53
    return picked


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Give numbers of which each bit depends on each bit (splitmix64): a checksum's own are too regular."""
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
