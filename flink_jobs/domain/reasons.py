"""Why a transaction raised an alert: the features that moved its score most, in plain words."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Literal

import msgspec

from flink_jobs.domain.drift import Distribution
from flink_jobs.domain.features import FEATURES, LABEL_DELAY_DAYS, terminal_features
from flink_jobs.domain.words import Words

MOST_REASONS = 3
# A ready column's value is called higher (lower) than most if it is so for this share of transactions.
_MOST = 0.89

TERMINAL_UNKNOWN = "nothing is known of the terminal's frauds on this day"


class Reason(msgspec.Struct, frozen=True, gc=False):
    """What one feature did to a score.

    Attributes:
        feature: its name.
        value: what the model saw.
        contribution: by how much the score would be lower without it, in units of the score; negative
            where it spoke against fraud.
        direction: the contribution's sign in a word.
        text: the value, for people.

    """

    feature: str
    value: float
    contribution: float
    direction: Literal["raises", "lowers"]
    text: str


def strongest_reasons(
    features: Mapping[str, float],
    contributions: Sequence[float],
    usual: Mapping[str, Distribution] | None = None,
    words: Mapping[str, Words] | None = None,
) -> list[Reason]:
    """Name what moved a score most, the strongest first.

    Args:
        features: a transaction's, in the model's order.
        contributions: one for each feature; a feature that contributed 0 is no reason.
        usual: distributions by name, to say whether a ready column is high or low.
        words: of computed features, by name; what has none is a ready column.

    """
    speak = words or {}
    strongest = sorted(zip(features, contributions, strict=True), key=lambda each: -abs(each[1]))
    return [
        Reason(
            name,
            features[name],
            round(contribution, 6),
            "raises" if contribution > 0 else "lowers",
            speak[name](features)
            if name in speak
            else _column(name, features[name], (usual or {}).get(name)),
        )
        for name, contribution in strongest[:MOST_REASONS]
        if contribution
    ]


@cache
def feature_words(
    label_delay_days: int = LABEL_DELAY_DAYS, *, terminal_known: bool = True
) -> Mapping[str, Words]:
    """Give the words of all computed features. They ask for one another's values.

    Args:
        label_delay_days: how many days before a transaction's day terminal risk ended.
        terminal_known: whether anything was known of terminals on that day; if not, the text says so.

    """
    return {each.name: each.words for each in FEATURES} | {
        each.name: each.words if terminal_known else lambda _: TERMINAL_UNKNOWN
        for each in terminal_features(label_delay_days)
    }


def _column(name: str, value: float, usual: Distribution | None) -> str:
    """Describe the value of a ready column by its usual distribution."""
    text = f"{name} is {value:.4g}"
    if usual is None:
        return text
    number = bisect_right(usual.edges, value)
    lower, higher = sum(usual.shares[:number]), sum(usual.shares[number + 1 :])
    if max(lower, higher) < _MOST:
        return text
    return (
        f"{text}, {'higher' if lower > higher else 'lower'} than in {max(lower, higher):.0%} of transactions"
    )
