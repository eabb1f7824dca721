"""The page of a run of faults: a line and a timeline for each."""

from collections.abc import Mapping
from html import escape
from typing import Any

from training.axes import BLUE, GREY, RED, new_axes, png
from training.page import document, figures, note, table

HEADS = (
    "fault",
    "of",
    "#seed",
    "#acknowledged",
    "#lost",
    "#repeated in the lake",
    "#differing",
    "#dark, s",
    "#allowed, s",
    "#waited, s",
    "",
)


def page(run: Mapping[str, Any]) -> str:
    """Render what `rows.py` keeps."""
    rows = run["faults"]
    wrong = [row for row in rows if row["problems"]]
    return document(
        "Faults",
        f"""{note(_about(run))}
<h2>All of them</h2>
{table(HEADS, map(_line, rows))}
{_problems(wrong)}
<h2>Timelines</h2>
{note(TIMELINES)}
{figures((row["name"], _timeline(row["timeline"]), _caption(row)) for row in rows)}""",
    )


TIMELINES = (
    "Records a second: acknowledged (grey) and scored (blue), each at its first prediction. Red is the time "
    "between fault and repair; the dark time that counts is underlined."
)


def _about(run: Mapping[str, Any]) -> str:
    rows = run["faults"]
    wrong = sum(bool(row["problems"]) for row in rows)
    return (
        f"Begun {run['begun']}, seed {run['seed']}, {run['rate_tps']:g} transactions a second. {len(rows)} "
        f"faults, after {wrong} of which something did not hold. Dark is the longest time without a "
        "prediction while records were acknowledged, of some faults counted from the repair on; waited is "
        "the longest time for which acknowledged records waited for a prediction."
    )


def _line(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["name"],
        row["aim"],
        str(row["seed"]),
        f"{row['acknowledged']:,}",
        f"{row['lost']:,}",
        f"{row['repeated_in_lake']:,}",
        "not computed" if row["differing"] is None else f"{row['differing']:,}",
        f"{row['dark_s']:.1f}",
        f"{row['limit_s']:g}{' after repair' if row['after_repair'] else ''}",
        f"{row['recovered_s']:.1f}",
        "does not hold" if row["problems"] else "",
    )


def _problems(rows: list[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    items = "".join(f"<li>{escape(row['name'])}: {escape('; '.join(row['problems']))}</li>\n" for row in rows)
    return f"<h2>What did not hold</h2>\n<ul>\n{items}</ul>"


def _caption(row: Mapping[str, Any]) -> str:
    return f"{row['aim']}; dark for {row['dark_s']:.1f} s"


def _timeline(found: Mapping[str, Any]) -> bytes:
    figure, axes = new_axes("seconds", "records a second")
    axes.axvspan(found["broken_s"], found["mended_s"], color=RED, alpha=0.12)
    for name, colour in (("acknowledged", GREY), ("predicted", BLUE)):
        axes.plot(range(len(found[name])), found[name], color=colour, linewidth=1, label=name)
    axes.plot([found["dark_from_s"], found["dark_to_s"]], [0, 0], color=RED, linewidth=4)
    axes.set(xlim=(0, None), ylim=(0, None))
    return png(figure)
