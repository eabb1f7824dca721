"""What a model is, for people and programs: where it comes from, how good it is, what it does not know."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from flink_jobs.domain.features import FEATURES
from flink_jobs.domain.manifest import Manifest
from training.draws import Ranked, interval
from training.page import document, note, table
from training.procedure import Scored, alerting, ranking
from training.threshold import Rule

CARD_JSON, CARD_HTML = "card.json", "card.html"

_LIMITS = (
    "It knows what labels say: a fraud that nobody labelled is honest to it, or unknown.",
    "The first frauds at a terminal, or of a card, have no past that would show them.",
    "The figures are of its twin, which was made in the same way before the test period.",
    "The intervals are of the cards of that week; another week may differ by more.",
    "A probability near the threshold is a rough one: few terminals have such scores, others each week.",
    "Alerts a day follow the number of transactions; these are the test period's.",
)
_Figures = dict[str, Any]


def model_card(
    manifest: Manifest, tested: Scored, parameters: dict[str, int], code: dict[str, str | None]
) -> _Figures:
    """Collect what a card says, ready for JSON.

    Args:
        manifest: describes the model; of its files only those that are served are named.
        tested: the twin's test.
        parameters: of the forest, the seed among them.
        code: the digest of what made it, and its commit where that is known.

    """
    threshold = float(manifest.twin["threshold"] or 0)
    return {
        "model": manifest.version,
        "created_at": manifest.created_at,
        "data": manifest.data,
        "label_delay_days": manifest.label_delay_days,
        "features": manifest.features,
        "forest": parameters,
        "threshold": {"score": manifest.threshold, **manifest.threshold_choice},
        "twin": manifest.twin,
        "metrics": manifest.metrics,
        "weeks": _by_week(tested, threshold),
        "calibration": msgspec.to_builtins(manifest.calibration),
        "code": code,
        "libraries": manifest.libraries,
        "files": manifest.files,
        "limits": list(_LIMITS),
    }


def card_json(card: _Figures) -> bytes:
    """Write a card for programs."""
    return json.dumps(card, indent=2).encode() + b"\n"


def card_html(card: _Figures) -> bytes:
    """Write a card for people."""
    reasons = {each.name: each.reason for each in FEATURES}
    choice = card["threshold"]
    chosen = {name: value for name, value in choice.items() if name not in {"rule", "limit"}}
    knots = card["calibration"] or {"scores": [], "probabilities": []}
    lines = ((f"{score:.4f}", f"{share:.4f}") for score, share in _bends(*knots.values()))
    made_by = {f"code, {name}": value for name, value in card["code"].items()} | card["libraries"]
    body = f"""{note(f"Made on {card['created_at']} of {card['data'].get('source')}.")}
<h2>How good it is</h2>
{note("In brackets: the interval of 90 %, over draws of cards.")}
{_weeks(card["weeks"])}
<h2>Threshold</h2>
{note(f"Alerts from a score of {choice['score']:.4g} on: {Rule(choice['rule'], choice['limit'])}.")}
{_pairs({**chosen, "score of the twin": card["twin"].get("threshold")})}
<h2>Calibration</h2>
{table(("#score", "#probability of fraud"), lines)}
<h2>Limits</h2>
{"".join(note(each) for each in card["limits"])}
<h2>Data</h2>
{_pairs({**card["data"], "label delay, days": card["label_delay_days"]})}
<h2>Twin</h2>
{_pairs(card["twin"])}
<h2>Features</h2>
{table(("feature", "reason"), ((name, reasons.get(name, "as in the record")) for name in card["features"]))}
<h2>Forest, code and libraries</h2>
{_pairs({**card["forest"], **made_by})}
<h2>Files, by SHA-256</h2>
{_pairs(card["files"])}"""
    return document(f"Model {card['model']}", body).encode()


def _by_week(tested: Scored, threshold: float) -> list[_Figures]:
    """Measure each week of a test; an interval is one of 90 %, over draws of cards."""
    weeks = []
    for begin in range(int(tested.days.min()), int(tested.days.max()) + 1, 7):
        week = tested.during(begin, begin + 7)
        if not len(week.days):
            continue
        weeks.append(
            {
                "from": str(np.datetime64(int(week.days.min()), "D")),
                "to": str(np.datetime64(int(week.days.max()), "D")),
                "transactions": len(week.labels),
                "labelled": int(week.known.sum()),
                "frauds": int(week.labels.sum()),
                **{
                    name: round(value, 4)
                    for name, value in (ranking(week) | alerting(week, threshold)).items()
                },
                "intervals": _intervals(week, threshold),
            }
        )
    return weeks


def _intervals(week: Scored, threshold: float) -> dict[str, list[float] | None]:
    free, labelled = week.unblocked(), week.labelled()
    ranked = Ranked.of(free.labels, free.scores)
    alerted = labelled.scores >= threshold
    hits = alerted & (labelled.labels == 1)
    of_labelled = labelled.customers, len(labelled.labels)
    found = {
        "precision": interval(lambda counts: _share(counts, hits, alerted), *of_labelled),
        "recall": interval(lambda counts: _share(counts, hits, labelled.labels == 1), *of_labelled),
    }
    if len(np.unique(free.labels)) > 1:
        found |= {"average_precision": interval(ranked.average_precision, free.customers, len(free.labels))}
    return {name: None if ends is None else [round(end, 4) for end in ends] for name, ends in found.items()}


def _share(counts: np.ndarray[Any, Any], part: np.ndarray[Any, Any], whole: np.ndarray[Any, Any]) -> float:
    """Share of what counts in `whole` that is in `part` too; NaN where nothing counts."""
    among = float(counts[whole].sum())
    return float(counts[part].sum()) / among if among else float("nan")


def _weeks(weeks: list[_Figures]) -> str:
    shown = (
        ("average precision", "average_precision"),
        ("CardPrecision@100", "card_precision_at_100"),
        ("alerts that are frauds", "precision"),
        ("frauds caught", "recall"),
        ("alerts a day", "alerts_per_day"),
    )

    def cell(week: _Figures, name: str) -> str:
        if name not in week:
            return "-"
        ends = week["intervals"].get(name)
        return f"{week[name]:.3g}" + (f" ({ends[0]:.3g} to {ends[1]:.3g})" if ends else "")

    return table(
        ("week of the twin's test", "#transactions", "#frauds", *(f"#{words}" for words, _ in shown)),
        (
            (
                f"{week['from']} to {week['to']}",
                f"{week['transactions']:,}",
                f"{week['frauds']:,}",
                *(cell(week, name) for _, name in shown),
            )
            for week in weeks
        ),
    )


def _bends(scores: list[float], shares: list[float]) -> Iterator[tuple[float, float]]:
    """Leave out knots between two of the same probability: the line is level there."""
    for number, knot in enumerate(zip(scores, shares, strict=True)):
        is_end = number in {0, len(scores) - 1}
        if is_end or len(set(shares[number - 1 : number + 2])) > 1:
            yield knot


def _pairs(values: dict[str, Any]) -> str:
    return table((), ((name.replace("_", " "), _words(value)) for name, value in values.items()))


def _words(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else "-" if value is None else str(value)
