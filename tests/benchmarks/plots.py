"""The plots of a benchmark run, as PNG."""

from statistics import mean
from typing import Any

from matplotlib.ticker import NullFormatter

from training.axes import BLUE, GREY, RED, new_axes, png

WAYS = {
    "pass_through": ("Flink SQL alone", "the same JSON from topic to topic: no features, no Python"),
    "inference": ("ml_inference_job", "features, model, predictions, alerts and dead letters"),
    "per_record": ("one record at a time", "the same work and code, without micro-batches"),
    "plain": ("the plain way", "process mode, scikit-learn's predict_proba for each record"),
}
LOADS = {
    "even": "every customer as often as any other",
    "zipf": "the k-th customer 1/k as often as the first",
    "hot": "one customer makes a tenth, the others are even",
}


def plots(numbers: dict[str, Any]) -> tuple[tuple[str, bytes, str], ...]:
    """Give each plot's title, picture and caption."""
    return (
        ("Records a second", _bars(numbers), "Logarithmic: each line is ten times the one before."),
        (
            "Through the backlog",
            _backlog(numbers),
            "Where a line is flat, a checkpoint was made.",
        ),
        (
            "By whose the transactions are",
            _loads(numbers),
            "Two runs of each, in turns; the dashed line is 0.8 of the even load's mean.",
        ),
        (
            "By subtasks",
            _scaling(numbers),
            f"All hosts share {numbers['machine']['cores']} cores; the dashed line takes more.",
        ),
        (
            "Latency",
            _latencies(numbers),
            "From the median (bottom) to the 99.9th percentile (top); hollow: the floor, without a job.",
        ),
        ("Checkpoints", _checkpoints(numbers), "Size of a full checkpoint as customers are added."),
        *(
            [
                (
                    f"A month of {numbers['months']['customers']:,} customers",
                    _months(numbers),
                    "Their months, cohort after cohort; past the dashed line, all of them in turn.",
                )
            ]
            if "months" in numbers
            else []
        ),
    )


def _bars(numbers: dict[str, Any]) -> bytes:
    figure, axes = new_axes("records a second, logarithmic", "")
    found = [(WAYS[way][0], numbers["throughput_tps"][way]) for way in reversed(WAYS)]
    names, values = zip(*found, strict=True)
    bars = axes.barh(names, values, color=[BLUE if name == WAYS["inference"][0] else GREY for name in names])
    axes.bar_label(bars, [f"{value:,}" for value in values], padding=4)
    axes.set(xscale="log", xlim=(10, 5 * max(values)))
    axes.grid(visible=False, axis="y")
    return png(figure)


def _backlog(numbers: dict[str, Any]) -> bytes:
    figure, axes = new_axes("seconds since the first record", "records scored")
    shown = {
        "warm_up": (GREY, "all TaskManagers, first run"),
        "subtasks_1": (RED, "one subtask"),
        "inference": (BLUE, "all TaskManagers, last run"),
    }
    for name, (colour, label) in shown.items():
        # where there is one TaskManager, one subtask is the whole job
        if name not in numbers["samples"]:
            continue
        axes.plot(*zip(*numbers["samples"][name], strict=True), color=colour, label=label)
    axes.set(xlim=(0, None), ylim=(0, None))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.legend(loc="lower right")
    return png(figure)


def _loads(numbers: dict[str, Any]) -> bytes:
    figure, axes = new_axes("", "records a second")
    for place, whose in enumerate(LOADS):
        found = numbers["loads"][whose]["tps"]
        axes.bar(place, mean(found), width=0.5, color=BLUE if whose == "even" else GREY)
        axes.plot([place] * len(found), found, "o", color=RED, label="a run" if place == 0 else None)
        axes.annotate(
            f"{mean(found) / mean(numbers['loads']['even']['tps']):.2f}",
            (place, max(found)),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
        )
    axes.axhline(0.8 * mean(numbers["loads"]["even"]["tps"]), color=RED, linestyle="--", linewidth=1)
    axes.set_xticks(range(len(LOADS)), LOADS)
    axes.margins(y=0.12)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.grid(visible=False, axis="x")
    axes.legend(loc="lower right")
    return png(figure)


def _scaling(numbers: dict[str, Any]) -> bytes:
    figure, axes = new_axes("subtasks", "records a second")
    found = sorted((int(subtasks), tps) for subtasks, tps in numbers["scaling"].items())
    subtasks, tps = zip(*found, strict=True)
    axes.plot(subtasks, tps, "o-", color=BLUE, label="measured")
    axes.plot(
        subtasks,
        [tps[0] / subtasks[0] * count for count in subtasks],
        "--",
        color=GREY,
        label="as many times as the first",
    )
    for count, each in found:
        axes.annotate(f"{each:,}", (count, each), xytext=(6, -12), textcoords="offset points", fontsize=9)
    axes.set(xlim=(0, max(subtasks) + 1), ylim=(0, None))
    axes.set_xticks(subtasks)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.legend(loc="upper left")
    return png(figure)


def _latencies(numbers: dict[str, Any]) -> bytes:
    figure, axes = new_axes("transactions a second", "milliseconds, logarithmic")
    rates = {f"{int(rate):,}": found for rate, found in numbers["latency_ms"].items()}
    if months := numbers.get("months"):
        label = f"{{}},\na month of\n{months['customers']:,} customers"
        rates |= {label.format(f"{int(rate):,}"): each for rate, each in months["latency_ms"].items()}
    for place, found in enumerate(rates.values()):
        for at, each, hollow in ((place + 0.1, found, False), (place - 0.15, found["floor"], True)):
            axes.plot([at, at], [each["p50"], each["p999"]], color=GREY, linewidth=1.5, zorder=1)
            for name, colour in (("p50", BLUE), ("p99", RED), ("p999", GREY)):
                axes.plot(
                    at,
                    each[name],
                    "o",
                    color=colour,
                    markerfacecolor="white" if hollow else colour,
                    label=name if place == 0 and not hollow else None,
                )
                axes.annotate(
                    f"{each[name]:.0f}",
                    (at, each[name]),
                    xytext=(-8 if hollow else 8, -3),
                    textcoords="offset points",
                    ha="right" if hollow else "left",
                    fontsize=9,
                )
    axes.set_xticks(range(len(rates)), list(rates))
    axes.set(yscale="log", xlim=(-0.6, len(rates) - 0.4))
    # room for the legend
    axes.set_ylim(top=2 * axes.get_ylim()[1])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.legend(loc="upper left", ncols=3)
    return png(figure)


def _months(numbers: dict[str, Any]) -> bytes:
    figure, axes = new_axes("minutes since the first record", "records scored")
    months = numbers["months"]
    seconds, records = zip(*months["samples"], strict=True)
    axes.plot([each / 60 for each in seconds], records, color=BLUE)
    axes.axhline(months["before"], color=RED, linestyle="--", linewidth=1)
    axes.set(xlim=(0, None), ylim=(0, None))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    return png(figure)


def _checkpoints(numbers: dict[str, Any]) -> bytes:
    figure, axes = new_axes("customers, logarithmic", "megabytes, logarithmic")
    days = [found for name, found in numbers["state"].items() if name[0].isdigit()]
    months = [found for name, found in numbers["state"].items() if not name[0].isdigit()]
    for found, style, colour, label in (
        (days, "o-", BLUE, "a day of their transactions"),
        (months, "o", RED, "a month of them"),
    ):
        at, sizes = zip(*((each["customers"], each["bytes"] / 1e6) for each in found), strict=True)
        axes.plot(at, sizes, style, color=colour, label=label)
        for x, y, each in zip(at, sizes, found, strict=True):
            axes.annotate(f"{each['ms']:,} ms", (x, y), xytext=(6, -12), textcoords="offset points")
    low, high = (edge(each["customers"] for each in numbers["state"].values()) for edge in (min, max))
    axes.set(xscale="log", yscale="log", xlim=(low / 2, 4 * high))
    axes.set_ylim(min(each["bytes"] for each in days) / 2e6, None)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.legend(loc="upper left")
    return png(figure)
