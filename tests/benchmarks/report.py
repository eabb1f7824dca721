"""The page of a benchmark run."""

from typing import Any

from matplotlib.ticker import NullFormatter

from training.page import BLUE, GREY, RED, document, figures, new_axes, note, png, table

WAYS = {
    "pass_through": ("Flink SQL alone", "the same JSON from topic to topic: no features, no Python"),
    "inference": ("ml_inference_job", "features, model, predictions, alerts and dead letters"),
    "per_record": ("one record at a time", "the same work and code, without micro-batches"),
    "plain": ("the plain way", "process mode, scikit-learn's predict_proba for each record"),
}
SERVICES = {"taskmanager": "TaskManagers", "kafka": "Kafka", "minio": "MinIO", "jobmanager": "JobManager"}


SIZED = (
    "Cores are twice as many as were busy at that rate; for a rate that was not measured, they follow from "
    "what a record of the backlog costs. Kafka's disks hold three replicas of seven days of transactions and "
    "three days of predictions, compressed as well as in the backlog."
)


def page(numbers: dict[str, Any]) -> str:
    """Render what `bench.py` writes as JSON."""
    return document(
        "How fast it is",
        f"""{note(_about(numbers))}
<h2>Throughput</h2>
{_throughput(numbers)}
{note(_throughput_note(numbers))}
<h2>What a transaction costs</h2>
{_costs(numbers)}
<h2>Latency</h2>
{_latency(numbers)}
{note(_latency_note(numbers))}
<h2>State</h2>
{_state(numbers)}
<h2>Hosts for a rate</h2>
{_sizing(numbers)}
{note(SIZED)}
<h2>Plots</h2>
{figures(_plots(numbers))}""",
    )


def _about(numbers: dict[str, Any]) -> str:
    machine, data = numbers["machine"], numbers["data"]
    return (
        f"{numbers['date']}; {machine['processor']}, {machine['cores']} cores, which all hosts of the lab, "
        f"producer and consumer share. The transactions of {data['source']}, {data['copies']} times with "
        f"other customers: the first {data['backlog']:,} are the backlog, the others are sent live. Topics "
        "have three replicas, and producers wait for all of them."
    )


def _throughput_note(numbers: dict[str, Any]) -> str:
    return (
        "Over the second half of the backlog, with the state that the first half left; for a job that takes "
        "one record at a time, over the second half of a minute. "
        f"kafka_to_minio_job takes {numbers['lake_records_per_s']:,} records a second into the lake."
    )


def _latency_note(numbers: dict[str, Any]) -> str:
    return (
        "From the creation of a transaction to the arrival of its prediction at a consumer, in milliseconds. "
        f"After a TaskManager was killed, the next prediction came {numbers['recovery_s']} s later."
    )


def _throughput(numbers: dict[str, Any]) -> str:
    inference = numbers["throughput_tps"]["inference"]
    rows = [
        (name, f"{tps:,}", f"{inference / tps:.3g}", what)
        for way, (name, what) in WAYS.items()
        if (tps := numbers["throughput_tps"].get(way))
    ]
    rows += [
        (f"ml_inference_job, {count} TaskManager", f"{tps:,}", f"{inference / tps:.3g}", "the same on fewer")
        for count, tps in numbers["scaling"].items()
        if count != str(numbers["taskmanagers"])
    ]
    return table(("", "#records a second", "#ml_inference_job is … times as fast", "what it does"), rows)


def _costs(numbers: dict[str, Any]) -> str:
    return table(
        ("", "#processor time of a transaction, µs"),
        ((SERVICES.get(name, name), f"{us:.1f}") for name, us in numbers["cpu_us"]["inference"].items()),
    )


def _latency(numbers: dict[str, Any]) -> str:
    return table(
        ("#transactions a second", "#p50", "#p99", "#p99.9", "#predictions"),
        (
            (
                f"{int(rate):,}",
                *(f"{found[name]:.0f}" for name in ("p50", "p99", "p999")),
                f"{found['predictions']:,}",
            )
            for rate, found in numbers["latency_ms"].items()
        ),
    )


def _state(numbers: dict[str, Any]) -> str:
    return table(
        ("", "#customers seen", "#transactions", "#checkpoint, MB", "#bytes a customer", "#ms"),
        (
            (
                "histories of a month" if name == "whole_histories" else f"a day, of {name} customers",
                f"{found['customers']:,}",
                f"{found['transactions']:,}",
                f"{found['bytes'] / 1e6:.1f}",
                f"{found['bytes'] / found['customers']:,.0f}",
                f"{found['ms']:,}",
            )
            for name, found in numbers["state"].items()
        ),
    )


def _sizing(numbers: dict[str, Any]) -> str:
    return table(
        (
            "#transactions a second",
            "#TaskManager cores",
            "#Kafka cores",
            "#Kafka disks, GB",
            "#lake, GB a day",
        ),
        (
            (
                f"{size['tps']:,}" + ("" if size["measured"] else " (extrapolated)"),
                f"{size['taskmanager_cores']:.1f}",
                f"{size['kafka_cores']:.1f}",
                f"{size['kafka_gb']:,.0f}",
                f"{size['lake_gb_a_day']:,.1f}",
            )
            for size in numbers["sizing"]
        ),
    )


def _plots(numbers: dict[str, Any]) -> tuple[tuple[str, bytes, str], ...]:
    return (
        ("Records a second", _bars(numbers), "Logarithmic: each line is ten times the one before."),
        (
            "Through the backlog",
            _backlog(numbers),
            "Where a line is flat, a checkpoint was made.",
        ),
        ("Latency", _latencies(numbers), "From the median (bottom) to the 99.9th percentile (top)."),
        ("Checkpoints", _checkpoints(numbers), "Size of a full checkpoint as customers are added."),
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
    for name, colour in (("warm_up", GREY), ("one_taskmanager", RED), ("inference", BLUE)):
        seconds, records = zip(*numbers["samples"][name], strict=True)
        label = {
            "warm_up": "all TaskManagers, first run",
            "one_taskmanager": "one TaskManager",
            "inference": "all TaskManagers, third run",
        }[name]
        axes.plot(seconds, records, color=colour, label=label)
    axes.set(xlim=(0, None), ylim=(0, None))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.legend(loc="lower right")
    return png(figure)


def _latencies(numbers: dict[str, Any]) -> bytes:
    figure, axes = new_axes("transactions a second", "milliseconds, logarithmic")
    for place, found in enumerate(numbers["latency_ms"].values()):
        axes.plot([place, place], [found["p50"], found["p999"]], color=GREY, linewidth=1.5)
        for name, colour in (("p50", BLUE), ("p99", RED), ("p999", GREY)):
            axes.plot(place, found[name], "o", color=colour, label=name if place == 0 else None)
            axes.annotate(
                f"{found[name]:.0f}",
                (place, found[name]),
                xytext=(8, -3),
                textcoords="offset points",
                fontsize=9,
            )
    rates = [f"{int(rate):,}" for rate in numbers["latency_ms"]]
    axes.set_xticks(range(len(rates)), rates)
    axes.set(yscale="log", ylim=(10, None), xlim=(-0.5, len(rates) - 0.3))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.legend(loc="lower right", ncols=3)
    return png(figure)


def _checkpoints(numbers: dict[str, Any]) -> bytes:
    figure, axes = new_axes("customers, logarithmic", "megabytes, logarithmic")
    found = [size for name, size in numbers["state"].items() if name != "whole_histories"]
    customers, sizes = zip(*((each["customers"], each["bytes"] / 1e6) for each in found), strict=True)
    axes.plot(customers, sizes, "o-", color=BLUE, label="a day of their transactions")
    whole = numbers["state"]["whole_histories"]
    axes.plot(whole["customers"], whole["bytes"] / 1e6, "o", color=RED, label="histories of a month")
    for x, each in zip(customers, found, strict=True):
        axes.annotate(
            f"{each['ms']} ms", (x, each["bytes"] / 1e6), xytext=(6, -12), textcoords="offset points"
        )
    axes.set(xscale="log", yscale="log", xlim=(None, 3 * max(customers)), ylim=(min(sizes) / 2, None))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.legend(loc="lower right")
    return png(figure)
