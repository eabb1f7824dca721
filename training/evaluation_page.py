"""The page of an evaluation: one self-contained HTML file."""

from typing import Any

from flink_jobs.domain.features import FEATURES
from training import plots
from training.evaluation import Evaluation
from training.page import document, figures, note, table

_THRESHOLDS = (
    "Each threshold is chosen on the end of the training period, by a model that was trained before it, and "
    "measured on all transactions of the test period, as the job raises alerts for compromised cards too. "
    "“Saved” is the amount of the frauds that raise an alert, as if each alert stopped its transaction."
)


def evaluation_page(evaluation: Evaluation, numbers: dict[str, Any]) -> str:
    """Render an evaluation.

    Args:
        evaluation: for the plots.
        numbers: those that `training.evaluate` writes as JSON.

    """
    return document(
        "How good the model is",
        f"""{note(_what(numbers))}
{_quality(numbers)}
<h2>Splits</h2>
{_splits(numbers)}
<h2>What a threshold buys</h2>
{note(_THRESHOLDS)}
{_thresholds(numbers)}
<h2>Plots</h2>
{figures(_plots(evaluation, numbers))}
<h2>Features</h2>
{_features(numbers)}""",
    )


def _what(numbers: dict[str, Any]) -> str:
    plan = numbers["plan"]
    return (
        f"{numbers['model'].capitalize()} on {numbers['data']['source']}. Each model is trained on "
        f"{plan['train_days']} days, waits {plan['delay_days']} days for labels, and is tested on "
        f"{plan['test_days']} days, as fraud-train does it. Figures are mean ± standard deviation over "
        f"{plan['splits']} consecutive splits; those of this table leave out cards known to be compromised."
    )


def _quality(numbers: dict[str, Any]) -> str:
    rows = (
        ("average precision", "average_precision", "area under the precision-recall curve"),
        (
            "CardPrecision@100",
            "card_precision_100",
            "share of defrauded cards among the 100 most suspicious of a day; a card found is blocked",
        ),
        ("AUC", "auc", "area under the ROC curve"),
    )
    return table(
        ("", "#mean ± deviation", "what it is"),
        ((name, _pm(numbers[key], ".3f"), meaning) for name, key, meaning in rows),
    )


def _splits(numbers: dict[str, Any]) -> str:
    return table(
        (
            *("trained on", "tested on", "#transactions", "#frauds", "#left out"),
            *("#average precision", "#CardPrecision@100", "#AUC"),
        ),
        (
            (
                f"{facts['train_from']} to {facts['train_to']}",
                f"{facts['test_from']} to {facts['test_to']}",
                f"{facts['test_transactions']:,}",
                f"{facts['test_frauds']:,}",
                f"{facts['test_left_out']:,}",
                *(
                    f"{numbers[key]['splits'][number]:.3f}"
                    for key in ("average_precision", "card_precision_100", "auc")
                ),
            )
            for number, facts in enumerate(numbers["splits"])
        ),
    )


def _thresholds(numbers: dict[str, Any]) -> str:
    return table(
        (
            *("rule", "#threshold", "#alerts a day", "#alerts that are frauds", "#frauds caught"),
            *("#honest alerted", "#saved a day", "#of all fraud, by amount"),
        ),
        (
            (
                bought["words"],
                _pm(bought["threshold"], ".3f"),
                _pm(bought["alerts_per_day"], ".0f"),
                _pm(bought["precision"], ".0%"),
                _pm(bought["recall"], ".0%"),
                _pm(bought["false_positive_rate"], ".2%"),
                _pm(bought["saved_per_day"], ",.0f"),
                _pm(bought["saved_share"], ".0%"),
            )
            for bought in numbers["thresholds"]
        ),
    )


def _features(numbers: dict[str, Any]) -> str:
    return table(
        ("feature", "unit", "reason", "#permutation importance"),
        (
            (each.name, each.unit, each.reason, _pm(numbers["importance"][each.name], ".3f"))
            for each in FEATURES
        ),
    )


def _plots(evaluation: Evaluation, numbers: dict[str, Any]) -> tuple[tuple[str, bytes, str], ...]:
    """Title, picture and caption of each."""
    return (
        (
            "Precision and recall",
            plots.precision_recall(evaluation),
            "Each point is a threshold: how many alerts are frauds, and how many frauds raise an alert.",
        ),
        (
            "Alerts a day against fraud caught",
            plots.frauds_caught(evaluation),
            "What looking into more alerts brings; the first alerts of a period are its highest scores.",
        ),
        (
            "Money saved against alert budget",
            plots.money_saved(evaluation),
            "Amount of the frauds among the alerts, before what it costs to look into them.",
        ),
        (
            "Scores",
            plots.score_distribution(evaluation),
            "Frauds at low scores are those that nothing gives away yet, such as the first at a terminal.",
        ),
        (
            "Calibration",
            plots.calibration(evaluation),
            "Whether a score can be read as a probability of fraud.",
        ),
        (
            "What matters most",
            plots.importances(numbers["importance"]),
            "Permutation importance on the test periods. Where two features tell the same, each shows less.",
        ),
    )


def _pm(values: dict[str, Any], form: str) -> str:
    return f"{values['mean']:{form}} ± {values['std']:{form}}"
