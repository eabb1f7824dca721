"""Figures of each model by day and by week, ready for JSON."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from training.performance import figures_of
from training.performance_draws import Figure
from training.served_data import Model

_DAYS_A_WEEK = 7
# 1970-01-01 was a Thursday, so weeks that begin on Mondays began three days before
_MONDAY = 3


def performance_of(model: Model, k: int, label_delay_days: int, as_of_day: int, times: int) -> dict[str, Any]:
    """Measure a model in a role: of the whole period, of each week, of each day.

    Args:
        model: with a transaction at least.
        k: cards a day, for CardPrecision@k.
        label_delay_days: how late labels come.
        as_of_day: later labels do not count, in days since 1970-01-01.
        times: draws for each interval.

    """
    days = model.served.days
    # the first whose labels' delay is not over
    due_day = as_of_day - label_delay_days

    def parts(numbers: np.ndarray[Any, np.dtype[np.int32]]) -> Iterator[dict[str, Any]]:
        for number in np.unique(numbers):
            yield measured(numbers == number)

    def measured(rows: np.ndarray[Any, np.dtype[np.bool_]]) -> dict[str, Any]:
        part = model.served.where(rows)
        first, last = int(part.days.min()), int(part.days.max())
        return {
            "from": str(np.datetime64(first, "D")),
            "to": str(np.datetime64(last, "D")),
            # until then, more labels are to be expected
            "labels_due": str(np.datetime64(last + label_delay_days + 1, "D")),
            "labels_are_due": last + label_delay_days + 1 <= as_of_day,
            **{
                name: found._asdict() if isinstance(found, Figure) else found
                for name, found in figures_of(part, k, times, part.days < due_day).items()
            },
        }

    thresholds = np.unique(model.served.thresholds)
    return {
        "version": model.version,
        "role": model.role,
        "thresholds": thresholds[~np.isnan(thresholds)].tolist(),
        "period": measured(np.ones(len(days), np.bool_)),
        "weeks": list(parts((days + _MONDAY) // _DAYS_A_WEEK)),
        "days": list(parts(days)),
    }
