"""The page that shows an evaluation: one HTML file that needs nothing beside it."""

import base64
from collections.abc import Iterable
from html import escape
from typing import Any

from flink_jobs.domain.features import FEATURES
from training import plots
from training.evaluation import Evaluation

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1180px; margin: 2rem auto }
h1 { font-size: 1.6rem; margin-bottom: 0 } h2 { font-size: 1.2rem; margin-top: 2.2rem }
table { border-collapse: collapse; margin: .6rem 0 }
td, th { padding: .25rem .7rem; border-bottom: 1px solid #ddd }
th { text-align: left; font-weight: 600 } td.number, th.number { text-align: right; white-space: nowrap }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(460px, 1fr)); gap: 1.2rem }
figure { margin: 0 } img { width: 100% } figcaption, .note { color: #555; font-size: .9rem }
"""


def page(evaluation: Evaluation, numbers: dict[str, Any]) -> str:
    """Render an evaluation.

    Args:
        evaluation: for the plots.
        numbers: what `training.evaluate` writes as JSON.

    """
    plan = numbers["plan"]
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Evaluation</title><style>{_STYLE}</style></head><body>
<h1>How good the model is</h1>
<p class="note">{escape(numbers["model"].capitalize())} on {escape(numbers["data"]["source"])}. Each model
is trained on {plan["train_days"]} days, waits {plan["delay_days"]} days for labels, and is tested on
{plan["test_days"]} days without the cards known to be compromised. Figures are mean ± standard deviation over
{plan["splits"]} consecutive splits.</p>
{_quality(numbers)}
<h2>Splits</h2>
{_splits(numbers)}
<h2>What a threshold buys</h2>
<p class="note">Each threshold is chosen on the end of the training period, by a model that was trained before
it, and measured on the test period. “Saved” is the amount of the frauds that raise an alert, as if each alert
stopped its transaction.</p>
{_thresholds(numbers)}
<h2>Plots</h2>
<div class="plots">
{"".join(_figures(evaluation, numbers))}</div>
<h2>Features</h2>
{_features(numbers)}
</body></html>
"""


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
    return _table(
        ("", "#mean ± deviation", "what it is"),
        ((name, _pm(numbers[key], ".3f"), meaning) for name, key, meaning in rows),
    )


def _splits(numbers: dict[str, Any]) -> str:
    return _table(
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
    return _table(
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
    return _table(
        ("feature", "unit", "reason", "#permutation importance"),
        (
            (each.name, each.unit, each.reason, _pm(numbers["importance"][each.name], ".3f"))
            for each in FEATURES
        ),
    )


def _figures(evaluation: Evaluation, numbers: dict[str, Any]) -> Iterable[str]:
    """One plot after another, with what it shows."""
    for title, picture, caption in (
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
    ):
        encoded = base64.b64encode(picture).decode()
        yield (
            f'<figure><h3>{title}</h3><img alt="{title}" src="data:image/png;base64,{encoded}">'
            f"<figcaption>{caption}</figcaption></figure>\n"
        )


def _pm(values: dict[str, Any], form: str) -> str:
    return f"{values['mean']:{form}} ± {values['std']:{form}}"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Render a table; a head that begins with # is that of a column of numbers."""
    heads = list(heads)
    kinds = [' class="number"' if head.startswith("#") else "" for head in heads]

    def line(tag: str, cells: Iterable[str]) -> str:
        inner = "".join(
            f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True)
        )
        return f"<tr>{inner}</tr>\n"

    body = "".join(line("td", row) for row in rows)
    return f"<table>\n{line('th', (head.removeprefix('#') for head in heads))}{body}</table>"
