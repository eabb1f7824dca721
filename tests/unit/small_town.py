"""A small town in which many terminals are compromised, and a model of its first weeks."""

from datetime import date
from pathlib import Path

import pytest

from training import simulate
from training.train_sklearn_model import main as train

FIRST_DAY = date(2024, 3, 1)
LEARNT_UNTIL = "2024-04-20"


def settle(  # noqa: PLR0913 - a town and a model have that many properties
    folder: Path, *, customers: int, terminals: int, days: int, rate: float, trees: int
) -> None:
    """Write `town.parquet` and the folder `model`; `rate` of terminals are compromised each day."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulate, "_TERMINAL_RATE", rate)
        frame = simulate.simulate(
            customers=customers, terminals=terminals, days=days, start=FIRST_DAY, seed=0
        )
    frame.to_parquet(folder / "town.parquet")
    data = ["--data", str(folder / "town.parquet"), "--until", LEARNT_UNTIL]
    assert train([*data, "--output", str(folder / "model"), "--trees", str(trees), "--max-depth", "8"]) == 0
