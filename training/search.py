"""`fraud-search`: find the forest's parameters on weeks before those that are reported."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flink_jobs.store.settings import SettingsError
from training.evaluation import Plan, spread
from training.examples import Examples, prepare_each
from training.forest import Forest
from training.options import add_data, add_forest, forest_of, positive, read
from training.printable import printable
from training.procedure import learn, ranking, test
from training.steps import step
from training.tables import DatasetError

# One after another, each where those before were best.
VALUES: dict[str, tuple[int, ...]] = {
    "min_samples_leaf": (2, 5, 10, 20),
    "max_depth": (10, 16, 24),
    "rows_a_tree": (16_384, 65_536, 262_144),
    "fraud_weight": (1, 5, 20),
    "trees": (50, 100, 200),
}
# What is better by less, a standard parameter is preferred to.
_NO_BETTER = 0.002


class Tried(NamedTuple):
    """Parameters, and the average precision of each split."""

    forest: Forest
    average_precision: list[float]

    @property
    def mean(self) -> float:
        """Over the splits."""
        return float(np.mean(self.average_precision))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when the parameters were written."""
    options = _parser().parse_args(argv)
    try:
        return _run(options)
    except (DatasetError, OSError, SettingsError) as error:
        print(f"fraud-search: {printable(str(error))}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    data = read(options)
    plan = Plan(options.splits, options.train_days, options.test_days)
    last = data.labelled_until_day if len(data.transactions.frame) else 0
    ends = [last - number * plan.test_days for number in reversed(range(plan.splits))]
    with step(f"Preparing features of {len(data.transactions.frame):,} transactions"):
        splits = prepare_each(data, plan.train_days, plan.test_days, ends, max_rows=options.max_rows)
    tried = search([splits[end] for end in ends], forest_of(options), VALUES)
    found = _best(tried)
    numbers: dict[str, Any] = {
        "found": found.forest._asdict(),
        "tried": [
            {**each.forest._asdict(), "average_precision": spread(each.average_precision)} for each in tried
        ],
        "plan": {**plan._asdict(), "delay_days": data.label_delay_days},
        "splits": [splits[end].period("test", splits[end].split.test) for end in ends],
        "data": {"source": data.transactions.source, "sha256": data.sha256},
    }
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "search.json").write_text(json.dumps(numbers, indent=2) + "\n")
    print()
    print(f"best: {_words(found.forest)}; {options.output}/search.json has all that was tried")
    return 0


def search(splits: Sequence[Examples], begin: Forest, values: dict[str, tuple[int, ...]]) -> list[Tried]:
    """Try values of one parameter after another, each with the best of those before.

    Args:
        splits: what each is trained and tested on.
        begin: the parameters to begin with, which are kept unless others are better by 0.002.
        values: to try, by parameter.

    Returns:
        What was tried, in that order, `begin` first.

    """
    tried = [_try(splits, begin)]
    for name, choices in values.items():
        best = _best(tried).forest
        others = [best._replace(**{name: value}) for value in choices if value != getattr(best, name)]
        tried += [_try(splits, forest) for forest in others]
    return tried


def _best(tried: Sequence[Tried]) -> Tried:
    """Give the first of those that nothing is clearly better than."""
    most = max(each.mean for each in tried)
    return next(each for each in tried if each.mean >= most - _NO_BETTER)


def _try(splits: Sequence[Examples], forest: Forest) -> Tried:
    with step(f"Trying {_words(forest)}"):
        found = [
            ranking(test(learn(examples, forest.fit, validate=False).model, examples)).get(
                "average_precision", 0
            )
            for examples in splits
        ]
        tried = Tried(forest, found)
        print(f" average precision {tried.mean:.3f},", end="")
    return tried


def _words(forest: Forest) -> str:
    return ", ".join(f"{name} {value}" for name, value in forest._asdict().items())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fraud-search", description=__doc__)
    add_data(
        parser,
        tested="after the labels' delay; the last one ends with the data: end it by --until before the weeks "
        "that you report",
    )
    parser.add_argument(
        "--splits", type=positive, default=4, metavar="N", help="how many test periods (default: %(default)s)"
    )
    add_forest(parser)
    parser.add_argument(
        "--output", type=Path, default=Path("build"), metavar="DIR", help="(default: %(default)s)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
