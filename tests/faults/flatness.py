"""Whether what was sampled while nothing changed stays as large as it was."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

# a moment's peak is no growth
QUANTILE = 0.9
# what may be more in the last third than in the second
GROWTH = 0.1
# as much more in any case: what a process takes for moments
SLACK = {"memory, MB": 24.0, "threads": 8.0, "descriptors": 24.0, "files": 40.0, "state, MB": 1.0}

# what is measured, of which host or job
Name = tuple[str, str]


class Growth(NamedTuple):
    """A series in its second and its last third.

    Attributes:
        kind: what is measured, a key of SLACK.
        of: whose it is.
        before, after: what nine tenths of the samples do not exceed.

    """

    kind: str
    of: str
    before: float
    after: float

    @property
    def allowed(self) -> float:
        """What `after` may be."""
        return self.before + max(self.before * GROWTH, SLACK[self.kind])

    def problem(self) -> str | None:
        """Say what grew, if it did."""
        if self.after <= self.allowed:
            return None
        return f"{self.of}: {self.kind} grew from {self.before:.0f} to {self.after:.0f}"


def growths(series: Mapping[Name, Sequence[float]]) -> list[Growth]:
    """Compare the last third of each series with the second; the first is for caches and compilers.

    Raises:
        ValueError: a series has less than six samples.

    """
    found = []
    for (kind, of), samples in sorted(series.items()):
        if len(samples) < 6:
            raise ValueError(f"{of}, {kind}: {len(samples)} samples, at least 6 are needed")
        third = len(samples) // 3
        before, after = (
            float(np.quantile(part, QUANTILE)) for part in (samples[third:-third], samples[-third:])
        )
        found.append(Growth(kind, of, before, after))
    return found
