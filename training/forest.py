"""The random forest, trained in the same way for serving and for evaluation."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier


class Forest(NamedTuple):
    """Parameters of a forest; `fraud-search` compares others on weeks before those that are reported.

    Attributes:
        rows_a_tree: each tree sees at most so many rows, drawn for it.
        fraud_weight: as how many rows a fraud counts.

    """

    trees: int = 100
    max_depth: int = 16
    min_samples_leaf: int = 5
    rows_a_tree: int = 65_536
    fraud_weight: int = 1
    seed: int = 0

    def fit(
        self,
        matrix: NDArray[np.float32],
        labels: NDArray[np.int8],
        weights: NDArray[np.float32] | None = None,
    ) -> RandomForestClassifier:
        """Train on [rows, features] and [rows] labels, 1 for fraud; `weights`: how often each counts."""
        forest = RandomForestClassifier(
            self.trees,
            max_depth=self.max_depth,
            min_samples_leaf=self.min_samples_leaf,
            max_samples=min(len(labels), self.rows_a_tree),
            random_state=self.seed,
            n_jobs=-1,
        )
        if self.fraud_weight != 1:
            counted = np.where(labels == 1, np.float32(self.fraud_weight), np.float32(1))
            weights = counted if weights is None else counted * weights
        forest.fit(matrix, labels, weights)
        # threads add the trees' scores in any order, which changes their last digits
        return forest.set_params(n_jobs=1)
