"""The features of a transaction: one table of them, and the one function that computes them.

The first fifteen are those of the Fraud Detection Handbook (Le Borgne et al., 2022, chapter 3,
"Baseline feature transformation"); the others were chosen on earlier weeks than the model is tested on.
"""

from typing import NamedTuple

from flink_jobs.domain import words
from flink_jobs.domain.history import DAY_S, WINDOW_DAYS, History
from flink_jobs.domain.words import Words

RISK_DELAY_DAYS = 7
LAST_PAYMENTS = 3
# A terminal without a known fraud is as one whose first was a day too old to be counted.
NO_FRAUD_DAYS = RISK_DELAY_DAYS + WINDOW_DAYS[-1] + 1
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


def _terminal_window(days: int) -> tuple[Feature, Feature]:
    count, risk = f"terminal_count_{days}d", f"terminal_risk_{days}d"
    when = words.before(days, RISK_DELAY_DAYS)
    return (
        Feature(
            count,
            "transactions",
            f"the terminal's pace over {days} d, ending {RISK_DELAY_DAYS} d ago",
            words.payments(count, f"at the terminal {when}"),
        ),
        Feature(
            risk,
            "share",
            f"the terminal's frauds over {days} d, ending {RISK_DELAY_DAYS} d ago",
            words.frauds(risk, count, when),
        ),
    )


TERMINAL_FEATURES: tuple[Feature, ...] = (
    *(feature for days in WINDOW_DAYS for feature in _terminal_window(days)),
    Feature(
        f"terminal_risk_last_{LAST_PAYMENTS}",
        "share",
        f"frauds among the terminal's last {LAST_PAYMENTS} of these {_MONTH} d: is it still going on?",
        words.frauds(
            f"terminal_risk_last_{LAST_PAYMENTS}",
            f"terminal_count_{_MONTH}d",
            f"until {words.span(RISK_DELAY_DAYS)} ago",
            last=LAST_PAYMENTS,
        ),
    ),
    Feature(
        "terminal_fraud_age",
        "days",
        f"since the terminal's first fraud of these {_MONTH} d ({NO_FRAUD_DAYS}: none): frauds end some day",
        words.age(
            "terminal_fraud_age",
            "the terminal's first known fraud was",
            NO_FRAUD_DAYS,
            f"no fraud at the terminal {words.before(_MONTH, RISK_DELAY_DAYS)}",
        ),
    ),
)
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
# What is said of a terminal that is not known.
NO_RISK = (0.0,) * (len(TERMINAL_FEATURES) - 1) + (float(NO_FRAUD_DAYS),)


def compute_features(
    history: History, risk: tuple[float, ...], time_s: float, amount: float, transaction_id: str
) -> list[float]:
    """Fold a transaction into its customer's history and give its features.

    Args:
        history: the customer's; updated in place.
        risk: the terminal's, one value for each of TERMINAL_FEATURES.
        time_s: event time in seconds since 1970.
        amount: in the card's currency.
        transaction_id: a repeat of one that the history holds gets the same features again.

    Returns:
        One value for each of FEATURE_NAMES, in their order.

    """
    history.add(time_s, amount, transaction_id)
    day, second = divmod(time_s, DAY_S)
    row = [
        amount,
        1.0 if (int(day) + _EPOCH_WEEKDAY) % 7 >= _SATURDAY else 0.0,
        1.0 if second < (_LAST_NIGHT_HOUR + 1) * 3600 else 0.0,
    ]
    windows, largest = history.windows(time_s)
    for count, total in windows:
        # A record later than the history reaches back may find none, not even itself.
        mean = total / count if count else amount
        row += (float(count), mean)
    row += risk
    row.append(amount / mean if mean > 0 else 1.0)
    week_count, week_total = windows[-2]
    before = (total - week_total) / (count - week_count) if count > week_count else mean
    row.append((largest or amount) / before if before > 0 else 1.0)
    return row
