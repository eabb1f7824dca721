"""The page of a flood: what came and was scored over time, and what each service took."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from soak_page import CAPTION, plot, problem_list

from training.axes import BLUE, GREY, RED, new_axes, png
from training.page import document, figures, note, table

HEADS = ("of", "#most memory, MB", "#allowed, MB")


def page(run: Mapping[str, Any]) -> str:
    """Render what `flood.py` keeps."""
    kinds = sorted({series["kind"] for series in run["series"]})
    over_time = [
        ("records a second", _rates(run["timeline"]), "that came (grey) and were scored (blue)"),
        ("records that wait", _waiting(run["timeline"]), "to be scored"),
        *((kind, plot(kind, run), CAPTION) for kind in kinds),
    ]
    return document(
        "Flood",
        f"""{note(_about(run))}
{problem_list(run["problems"])}
<h2>Over time</h2>
{figures(over_time)}
<h2>Memory</h2>
{table(HEADS, map(_line, run["memory"]))}""",
    )


def _about(run: Mapping[str, Any]) -> str:
    slowed = (
        f"TaskManagers had {run['allowance_percent']} % of a processor each. "
        if run["allowance_percent"]
        else ""
    )
    return (
        f"Begun {run['begun']}. {slowed}Of a backlog, {run['sustainable_tps']:,} a second were scored; "
        f"the flood was {run['flood_tps']:,} a second for {run['seconds']:g} s, {run['factor']:g} times as "
        f"many. {run['acknowledged']:,} were acknowledged, {run['waiting']:,} waited at its end. All were "
        f"scored {_after(run['drain_s'])}, in the lake {_after(run['lake_drain_s'])}. {run['lost']:,} are "
        f"lost; of {run['computed_anew']:,} that were computed anew, {run['differing']:,} differ."
    )


def _line(peak: Mapping[str, Any]) -> tuple[str, ...]:
    return peak["of"], f"{peak['peak_mb']:.0f}", f"{peak['bound_mb']:.0f}"


def _after(seconds: float | None) -> str:
    return "not in time" if seconds is None else f"{seconds:g} s later"


def _rates(timeline: list[tuple[float, int, int]]) -> bytes:
    figure, axes = new_axes("seconds", "records a second")
    for column, color in ((1, GREY), (2, BLUE)):
        steps = [
            (b[0], (b[column] - a[column]) / (b[0] - a[0])) for a, b in pairwise(timeline) if b[0] > a[0]
        ]
        axes.plot(*zip(*steps, strict=True), linewidth=1, color=color)
    axes.set(xlim=(0, None), ylim=(0, None))
    return png(figure)


def _waiting(timeline: list[tuple[float, int, int]]) -> bytes:
    figure, axes = new_axes("seconds", "records")
    axes.plot([at for at, *_ in timeline], [came - scored for _, came, scored in timeline], color=RED)
    axes.set(xlim=(0, None), ylim=(0, None))
    return png(figure)
