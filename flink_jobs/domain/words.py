"""How an alert speaks of a feature: functions that turn a transaction's features into a few plain words."""

from collections.abc import Callable, Mapping

# Takes features by name, gives the words for one of them.
Words = Callable[[Mapping[str, float]], str]


def amount(name: str, before: str) -> Words:
    """Say a sum of money."""
    return lambda values: f"{before} {values[name]:,.2f}"


def either(name: str, yes: str, no: str) -> Words:
    """Say `yes` for 1 and `no` for 0."""
    return lambda values: yes if values[name] else no


def payments(name: str, of_whom: str) -> Words:
    """Say a number of payments."""
    return lambda values: f"{_counted(values[name], 'payment')} {of_whom}"


def times(name: str, what: str, of_what: str) -> Words:
    """Say how many times as large something is."""
    return lambda values: f"{what} {values[name]:,.1f} times {of_what}"


def frauds(share: str, count: str, when: str, last: int | None = None) -> Words:
    """Say a share of a terminal's payments as "3 of 12".

    Args:
        share: name of the feature.
        count: name of the feature with the number of payments.
        when: the payments were made.
        last: only so many of the latest payments count.

    """

    def words(values: Mapping[str, float]) -> str:
        total = round(values[count])
        if last is not None:
            total = min(total, last)
        if not total:
            return f"no payment at the terminal {when}"
        payments = f"{_counted(total, 'payment')} at the terminal {when}"
        found = round(values[share] * total)
        return (
            f"{found or 'none'} of {'' if last is None else 'the last '}{payments} "
            f"{'were' if found > 1 else 'was'} fraud"
        )

    return words


def age(name: str, of_what: str, never: float, otherwise: str) -> Words:
    """Say how many days ago something was, or, from `never` days on, that it was not."""
    return lambda values: otherwise if values[name] >= never else f"{of_what} {span(values[name])} ago"


def span(days: float) -> str:
    """Say how long a window is."""
    return _counted(days, "day")


def before(days: int, delay_days: int) -> str:
    """Say a window that ended a while ago."""
    window = "on the day" if days == 1 else f"in the {days} days"
    return f"{window} that ended {span(delay_days)} ago"


def _counted(count: float, noun: str) -> str:
    return f"{count:,.0f} {noun}{'' if count == 1 else 's'}"
