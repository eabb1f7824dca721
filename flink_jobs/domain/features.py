"""The features of a transaction: one table of them, and the one function that computes them, batch by batch.

The first fifteen are those of the Fraud Detection Handbook (Le Borgne et al., 2022, chapter 3,
"Baseline feature transformation"); the others were chosen on earlier weeks than the model is tested on.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flink_jobs.domain import words
from flink_jobs.domain.history import DAY_S, WINDOW_DAYS
from flink_jobs.domain.windows import Windows
from flink_jobs.domain.words import Words

# The default delay of labels; each model and each table of terminal risk names its own.
LABEL_DELAY_DAYS = 7
LAST_PAYMENTS = 3
_MONTH = WINDOW_DAYS[-1]
_WEEK = WINDOW_DAYS[-2]

_SATURDAY = 5
_LAST_NIGHT_HOUR = 6
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday


class Feature(NamedTuple):
    """A feature's name, its unit, why a fraud may show in it, and how an alert speaks of it."""

    name: str
    unit: str
    reason: str
    words: Words


def _customer_window(days: int) -> tuple[Feature, Feature]:
    count, mean = f"customer_count_{days}d", f"customer_mean_{days}d"
    return (
        Feature(
            count,
            "transactions",
            f"the customer's pace over {days} d, this transaction included",
            words.payments(count, f"of the customer within {words.span(days)}"),
        ),
        Feature(
            mean,
            "currency",
            f"the customer's usual amount over {days} d, this transaction included",
            words.amount(mean, f"the customer's mean of {words.span(days)} is"),
        ),
    )


def _terminal_window(days: int, delay_days: int) -> tuple[Feature, Feature]:
    count, risk = f"terminal_count_{days}d", f"terminal_risk_{days}d"
    when = words.before(days, delay_days)
    return (
        Feature(
            count,
            "transactions",
            f"the terminal's pace over {days} d, ending {delay_days} d ago",
            words.payments(count, f"at the terminal {when}"),
        ),
        Feature(
            risk,
            "share",
            f"the terminal's frauds over {days} d, ending {delay_days} d ago",
            words.frauds(risk, count, when),
        ),
    )


def no_fraud_days(delay_days: int) -> int:
    """Give the age that stands for no fraud: a day more than a counted fraud can have."""
    return delay_days + _MONTH + 1


def no_risk(delay_days: int) -> tuple[float, ...]:
    """Give the features of an unknown terminal."""
    return (0.0,) * (len(TERMINAL_FEATURES) - 1) + (float(no_fraud_days(delay_days)),)


@cache
def terminal_features(delay_days: int) -> tuple[Feature, ...]:
    """Give the features of terminal risk, for labels that come `delay_days` late."""
    return (
        *(feature for days in WINDOW_DAYS for feature in _terminal_window(days, delay_days)),
        Feature(
            f"terminal_risk_last_{LAST_PAYMENTS}",
            "share",
            f"frauds among the terminal's last {LAST_PAYMENTS} of these {_MONTH} d: is it still going on?",
            words.frauds(
                f"terminal_risk_last_{LAST_PAYMENTS}",
                f"terminal_count_{_MONTH}d",
                f"until {words.span(delay_days)} ago",
                last=LAST_PAYMENTS,
            ),
        ),
        Feature(
            "terminal_fraud_age",
            "days",
            f"since the terminal's first fraud of these {_MONTH} d ({no_fraud_days(delay_days)}: none): "
            "frauds end some day",
            words.age(
                "terminal_fraud_age",
                "the terminal's first known fraud was",
                no_fraud_days(delay_days),
                f"no fraud at the terminal {words.before(_MONTH, delay_days)}",
            ),
        ),
    )


# Names are the same whatever the delay.
TERMINAL_FEATURES: tuple[Feature, ...] = terminal_features(LABEL_DELAY_DAYS)
FEATURES: tuple[Feature, ...] = (
    Feature("amount", "currency", "frauds are often larger than usual", words.amount("amount", "amount")),
    Feature(
        "is_weekend",
        "0 or 1",
        "habits differ between weekdays and weekends (UTC)",
        words.either("is_weekend", "on a weekend", "on a weekday"),
    ),
    Feature(
        "is_night",
        "0 or 1",
        "few honest purchases are made between 0 and 7 o'clock (UTC)",
        words.either("is_night", "between 0 and 7 o'clock (UTC)", "not between 0 and 7 o'clock (UTC)"),
    ),
    *(feature for days in WINDOW_DAYS for feature in _customer_window(days)),
    *TERMINAL_FEATURES,
    Feature(
        f"amount_to_mean_{_MONTH}d",
        "ratio",
        f"the amount against the customer's mean over {_MONTH} d",
        words.times(f"amount_to_mean_{_MONTH}d", "amount", f"the customer's mean of {words.span(_MONTH)}"),
    ),
    Feature(
        f"largest_{_WEEK}d_to_mean_before",
        "ratio",
        f"the largest amount of {_WEEK} d against the mean of the {_MONTH - _WEEK} d before: a card once "
        "misused is misused again, for small amounts too",
        words.times(
            f"largest_{_WEEK}d_to_mean_before",
            f"the customer's largest amount of {words.span(_WEEK)} is",
            f"the mean of the {words.span(_MONTH - _WEEK)} before",
        ),
    ),
)
FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
NO_RISK = no_risk(LABEL_DELAY_DAYS)


def compute_features(
    windows: Windows,
    times_s: NDArray[np.float64],
    amounts: NDArray[np.float64],
    risks: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Give the features of a batch of transactions.

    Args:
        windows: of each transaction's customer.
        times_s: event times in seconds since 1970.
        amounts: in the card's currency.
        risks: [transactions, TERMINAL_FEATURES], of each transaction's terminal.

    Returns:
        [transactions, FEATURES].

    """
    days, seconds = np.divmod(times_s, DAY_S)
    columns = [
        amounts,
        (days + _EPOCH_WEEKDAY) % 7 >= _SATURDAY,
        seconds < (_LAST_NIGHT_HOUR + 1) * 3600,
    ]
    counts, totals = windows.counts.T, windows.totals.T
    for count, total in zip(counts, totals, strict=True):
        mean = np.where(count > 0, total / np.maximum(count, 1), amounts)
        columns += (count, mean)
    earlier = counts[-1] - counts[-2]
    before = np.where(earlier > 0, windows.before / np.maximum(earlier, 1), mean)
    largest = np.where(windows.largest > 0, windows.largest, amounts)
    return np.column_stack([*columns, risks, _ratio(amounts, mean), _ratio(largest, before)])


def _ratio(value: NDArray[np.float64], base: NDArray[np.float64]) -> NDArray[np.float64]:
    """Value against a base, 1 where there is nothing to divide by."""
    return np.where(base > 0, value / np.where(base > 0, base, 1.0), 1.0)
