"""The page of a soak: what each service took, over time."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from training.axes import new_axes, png
from training.page import document, figures, note, table

HEADS = ("of", "kind", "#second third", "#last third", "#allowed", "")
CAPTION = "a line for each service, host or job; samples in the order in which they were taken"


def page(run: Mapping[str, Any]) -> str:
    """Render what `soak.py` keeps."""
    kinds = sorted({series["kind"] for series in run["series"]})
    return document(
        "Soak",
        f"""{note(_about(run))}
{problem_list(run["problems"])}
<h2>Over time</h2>
{figures((kind, plot(kind, run), CAPTION) for kind in kinds)}
<h2>Each series</h2>
{table(HEADS, map(_line, run["growths"]))}""",
    )


def _about(run: Mapping[str, Any]) -> str:
    return (
        f"Begun {run['begun']}: {run['minutes']:g} minutes, {run['rate_tps']:g} transactions a second, "
        f"{run['acknowledged']:,} acknowledged, {run['restarts']} restarts of a job. What nine tenths of the "
        "samples do not exceed may be a tenth more in the last third than in the second, or a little more "
        "where it is small."
    )


def problem_list(problems: Iterable[str]) -> str:
    """Render what did not hold, if anything."""
    items = "".join(f"<li>{escape(each)}</li>\n" for each in problems)
    return f"<h2>What did not hold</h2>\n<ul>\n{items}</ul>" if items else ""


def _line(growth: Mapping[str, Any]) -> tuple[str, ...]:
    before, after, allowed = growth["before"], growth["after"], growth["allowed"]
    wrong = "grew" if after > allowed else ""
    return growth["of"], growth["kind"], f"{before:.0f}", f"{after:.0f}", f"{allowed:.0f}", wrong


def plot(kind: str, run: Mapping[str, Any]) -> bytes:
    """Draw all series of a kind."""
    figure, axes = new_axes("sample", kind)
    for series in run["series"]:
        if series["kind"] == kind:
            axes.plot(series["samples"], linewidth=1, label=series["of"])
    axes.set(xlim=(0, None), ylim=(0, None))
    axes.legend(fontsize=5, ncols=2, frameon=False)
    return png(figure)
