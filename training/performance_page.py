"""The page of scores that served: one self-contained HTML file."""

from collections.abc import Sequence
from html import escape
from typing import Any

from training import performance_plots as plots
from training.page import document, figures, note, table

# A page is too narrow for all columns in one table.
_DETECTION_HEADS = (
    "#alerts",
    "#alerts that are frauds",
    "#frauds caught",
    "#average precision",
    "#CardPrecision@{k}",
)
_MONEY_HEADS = (
    *("#transactions", "#alerts labelled", "#control transactions", "#of these labelled"),
    *("#money caught", "#money missed"),
)
_HOW = (
    "Whoever labels is offered all alerts and, of transactions below the threshold, control transactions, "
    "each of which stands for as many as the inverse of its probability. What nobody labelled is unknown, "
    "never honest. Intervals, in parentheses, are of 90 %: of alerts over {draws} draws of cards, of control "
    "transactions by the gamma limits of Fay and Feuer. Where no control transaction turned out a fraud, "
    "none is taken to be missed, and the interval says how far that goes."
)
_DUE = "*: labels come late, so more of them are to be expected."

_Part = dict[str, Any]


def performance_page(numbers: _Part) -> str:
    """Render what `training.performance_command` writes as JSON."""
    models = numbers["models"]
    return document(
        "What it is worth, while it serves",
        f"""{note(_what(numbers))}
{note(_HOW.format(draws=numbers["draws"]))}
{"".join(map(note, numbers["notes"]))}
<h2>The whole period</h2>
{_table(numbers, [(_name(model), model["period"]) for model in models], "model")}
<h2>Week by week</h2>
{figures(_weekly(models)) if models else ""}
{"".join(_model(numbers, model) for model in models)}""",
    )


def _what(numbers: _Part) -> str:
    return (
        f"Transactions from {numbers['since']} to {numbers['until']} of {numbers['lake']}, by event time; "
        f"{numbers['predicted']:,} of {numbers['transactions']:,} have a prediction. Labels that were given "
        f"before {numbers['as_of']}."
    )


def _weekly(models: Sequence[_Part]) -> list[tuple[str, bytes, str]]:
    interval = "Whiskers are intervals of 90 %; a gap is a week of which it is unknown."
    return [
        (
            "Alerts that are frauds",
            plots.shares(models, "precision", "share of alerts that are frauds (precision)"),
            interval,
        ),
        (
            "Frauds caught",
            plots.shares(models, "recall", "share of frauds that raise an alert (recall)"),
            interval,
        ),
        ("Average precision", plots.shares(models, "average_precision", "average precision"), interval),
        ("Alerts", plots.alerts(models), "Of a challenger, those that it would have raised."),
    ]


def _model(numbers: _Part, model: _Part) -> str:
    threshold = ", ".join(f"{each:.4g}" for each in model["thresholds"]) or "unknown"
    pictures = (
        ("Money", plots.money(model), "Amounts of the frauds with an alert, and without one."),
        ("Labels", plots.labelled(model), "What is not labelled is unknown."),
    )
    return f"""<h2>{escape(_name(model))}</h2>
{note(f"Threshold: {threshold}.")}
{figures(pictures)}
<h3>By week</h3>
{_table(numbers, [(_dates(week), week) for week in model["weeks"]], "week from Monday on")}
<h3>By day</h3>
{_table(numbers, [(_dates(day), day) for day in model["days"]], "day, UTC")}
{note(_DUE)}"""


def _table(numbers: _Part, rows: Sequence[tuple[str, _Part]], head: str) -> str:
    """Render parts in two tables, and below them why figures are unknown."""
    reasons: dict[str, int] = {}
    detection = [(name, *_detection(part, reasons)) for name, part in rows]
    money = [(name, *_money(part, reasons)) for name, part in rows]
    heads = (each.format(k=numbers["cards_a_day"]) for each in _DETECTION_HEADS)
    return "\n".join(
        (
            table((head, *heads), detection),
            table((head, *_MONEY_HEADS), money),
            *(note(f"({number}) {reason}") for reason, number in reasons.items()),
        )
    )


def _detection(part: _Part, reasons: dict[str, int]) -> list[str]:
    return [
        _told(part["alerts"], ",.0f", reasons),
        *(_told(part[name], ".0%", reasons) for name in ("precision", "recall")),
        *(_told(part[name], ".3f", reasons) for name in ("average_precision", "card_precision")),
    ]


def _money(part: _Part, reasons: dict[str, int]) -> list[str]:
    return [
        f"{part['transactions']:,}",
        _share(part["alerts_labelled_share"]),
        f"{part['control']:,}",
        _share(part["control_labelled_share"]),
        *(_told(part[name], ",.0f", reasons) for name in ("money_caught", "money_missed")),
    ]


def _told(figure: _Part, form: str, reasons: dict[str, int]) -> str:
    """Give a figure with its interval, or the number of the reason why it is unknown."""
    if figure["value"] is None:
        return f"unknown ({reasons.setdefault(figure['reason'], len(reasons) + 1)})"
    ends = [figure[end] for end in ("lower", "upper")]
    interval = "" if None in ends else f" ({ends[0]:{form}} to {ends[1]:{form}})"
    return f"{figure['value']:{form}}{interval}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _dates(part: _Part) -> str:
    due = "" if part["labels_are_due"] else " *"
    return (part["from"] if part["from"] == part["to"] else f"{part['from']} to {part['to']}") + due


def _name(model: _Part) -> str:
    return f"{model['version']}, {model['role']}"
