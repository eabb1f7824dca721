"""One table of features, for code, manifest and readers."""

from pathlib import Path

import pytest

from flink_jobs.domain.features import FEATURE_NAMES, FEATURES, terminal_features

PAGE = Path(__file__).parents[3] / "docs/models.md"


def test_each_feature_has_a_name_of_its_own_a_unit_and_a_reason() -> None:
    assert len(set(FEATURE_NAMES)) == len(FEATURES)
    assert all(feature.name and feature.unit and feature.reason for feature in FEATURES)


def test_the_page_about_models_shows_the_table() -> None:
    """Where this fails, put the expected lines into docs/models.md."""
    table = PAGE.read_text().partition("| feature | unit | reason |\n| --- | --- | --- |\n")[2]
    rows = table.partition("\n\n")[0].splitlines()
    assert rows == [f"| `{each.name}` | {each.unit} | {each.reason} |" for each in FEATURES]


SUSPICIOUS = dict.fromkeys(FEATURE_NAMES, 0.0) | {
    "amount": 1460.5,
    "is_night": 1.0,
    "customer_count_1d": 1.0,
    "customer_mean_30d": 178.2,
    "terminal_count_1d": 1.0,
    "terminal_risk_1d": 1.0,
    "terminal_count_7d": 12.0,
    "terminal_risk_7d": 0.25,
    "terminal_count_30d": 2.0,
    "terminal_risk_last_3": 0.5,
    "terminal_fraud_age": 9.0,
    "amount_to_mean_30d": 8.196,
    "largest_7d_to_mean_before": 6.04,
}


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("amount", None, "amount 1,460.50"),
        ("is_weekend", 0.0, "on a weekday"),
        ("is_weekend", 1.0, "on a weekend"),
        ("is_night", None, "between 0 and 7 o'clock (UTC)"),
        ("customer_count_1d", None, "1 payment of the customer within 1 day"),
        ("customer_count_7d", 3.0, "3 payments of the customer within 7 days"),
        ("customer_mean_30d", None, "the customer's mean of 30 days is 178.20"),
        ("terminal_count_7d", None, "12 payments at the terminal in the 7 days that ended 7 days ago"),
        (
            "terminal_risk_1d",
            None,
            "1 of 1 payment at the terminal on the day that ended 7 days ago was fraud",
        ),
        (
            "terminal_risk_7d",
            None,
            "3 of 12 payments at the terminal in the 7 days that ended 7 days ago were fraud",
        ),
        (
            "terminal_risk_7d",
            0.0,
            "none of 12 payments at the terminal in the 7 days that ended 7 days ago was fraud",
        ),
        (
            "terminal_risk_last_3",
            None,
            "1 of the last 2 payments at the terminal until 7 days ago was fraud",
        ),
        ("terminal_fraud_age", None, "the terminal's first known fraud was 9 days ago"),
        ("terminal_fraud_age", 38.0, "no fraud at the terminal in the 30 days that ended 7 days ago"),
        ("amount_to_mean_30d", None, "amount 8.2 times the customer's mean of 30 days"),
        (
            "largest_7d_to_mean_before",
            None,
            "the customer's largest amount of 7 days is 6.0 times the mean of the 23 days before",
        ),
    ],
)
def test_an_alert_speaks_of_a_feature_in_plain_words(name: str, value: float | None, text: str) -> None:
    values = SUSPICIOUS if value is None else SUSPICIOUS | {name: value}
    (feature,) = (each for each in FEATURES if each.name == name)
    assert feature.words(values) == text


def test_words_say_how_late_the_labels_of_the_model_come() -> None:
    spoken = {each.name: each.words(SUSPICIOUS) for each in terminal_features(3)}
    assert "ended 3 days ago" in spoken["terminal_risk_7d"]
    assert "until 3 days ago" in spoken["terminal_risk_last_3"]


def test_an_unknown_terminal_has_no_payments_to_speak_of() -> None:
    nothing = dict.fromkeys(FEATURE_NAMES, 0.0)
    spoken = {each.name: each.words(nothing) for each in FEATURES}
    assert spoken["terminal_risk_30d"] == ("no payment at the terminal in the 30 days that ended 7 days ago")
    assert spoken["terminal_risk_last_3"] == "no payment at the terminal until 7 days ago"
