"""The features of a transaction: one table of names, and the one function that computes them.

The first fifteen are those of the Fraud Detection Handbook (Le Borgne et al., 2022, chapter 3,
"Baseline feature transformation"); the ratios relate an amount to the customer's own habits.
"""

from typing import NamedTuple

from flink_jobs.domain.history import DAY_S, WINDOW_DAYS, History

RISK_DELAY_DAYS = 7
NO_RISK = (0.0,) * (2 * len(WINDOW_DAYS))

_SATURDAY = 5
_LAST_NIGHT_HOUR = 6
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday


class Feature(NamedTuple):
    """A feature's name, its unit and why a fraud may show in it."""

    name: str
    unit: str
    reason: str


FEATURES: tuple[Feature, ...] = (
    Feature("amount", "currency", "frauds are often larger than usual"),
    Feature("is_weekend", "0 or 1", "habits differ between weekdays and weekends (UTC)"),
    Feature("is_night", "0 or 1", "few honest purchases are made between 0 and 7 o'clock (UTC)"),
    *(
        Feature(f"customer_{what}_{days}d", unit, reason)
        for days in WINDOW_DAYS
        for what, unit, reason in (
            ("count", "transactions", f"the customer's pace over {days} d, this transaction included"),
            ("mean", "currency", f"the customer's usual amount over {days} d, this transaction included"),
        )
    ),
    *(
        Feature(f"terminal_{what}_{days}d", unit, reason)
        for days in WINDOW_DAYS
        for what, unit, reason in (
            ("count", "transactions", f"the terminal's pace over {days} d, ending {RISK_DELAY_DAYS} d ago"),
            ("risk", "share", f"the terminal's frauds over {days} d, ending {RISK_DELAY_DAYS} d ago"),
        )
    ),
    *(
        Feature(f"amount_to_mean_{days}d", "ratio", f"the amount against the customer's mean over {days} d")
        for days in WINDOW_DAYS
    ),
)
FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)


def compute_features(
    history: History, risk: tuple[float, ...], time_s: float, amount: float, transaction_id: str
) -> list[float]:
    """Fold a transaction into its customer's history and give its features.

    Args:
        history: the customer's; updated in place.
        risk: the terminal's counts and fraud shares, (count, share) for each of WINDOW_DAYS.
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
    ratios = []
    for count, total in history.windows(time_s):
        # A record later than the history reaches back may find none, not even itself.
        mean = total / count if count else amount
        row += (float(count), mean)
        ratios.append(amount / mean if mean > 0 else 1.0)
    row += risk
    row += ratios
    return row
