"""The page of a benchmark run."""

from statistics import mean
from typing import Any

from plots import LOADS, WAYS, plots

from training.page import document, figures, note, table

SERVICES = {
    "taskmanager": "TaskManagers",
    "kafka": "Kafka",
    "minio": "MinIO",
    "zookeeper": "ZooKeeper",
    "jobmanager": "JobManager",
}


FLOOR = (
    "The floor is the same load through a topic with three replicas to the same consumer, measured just "
    "after it, with no job between: what Kafka and this machine take by themselves, while ml_inference_job "
    "waits. Beside each percentile, how many times the floor's it is."
)
TURNS = (
    "As many transactions and customers as in the backlog, made so that only whose they are differs. Each "
    "load had its turn on the way there and on the way back; shown are means."
)
MADE = (
    "Flink SQL made the month, 10,000 customers after 10,000: 60 transactions of each. Those that are "
    "measured came after it, of all customers in turn."
)
SIZED = (
    "If the rate never changes. Cores are twice as many as were busy at that rate; of a rate that was not "
    "measured, they are calculated from what a record of the backlog costs. All else is calculated: "
    "subtasks, each with half of what one alone took from the backlog, up to the 32 that a job may have; "
    "state, by what a transaction takes in a checkpoint, for the 37 days that a history keeps it; Kafka's "
    "disks, with three replicas of seven days of transactions and three days of predictions, compressed as "
    "well as in the backlog."
)


def page(numbers: dict[str, Any]) -> str:
    """Render what `bench.py` writes as JSON."""
    return document(
        "How fast it is",
        f"""{note(_about(numbers))}
<h2>Throughput</h2>
{_throughput(numbers)}
{note(_throughput_note(numbers))}
<h3>By whose the transactions are</h3>
{_loads(numbers)}
{note(TURNS)}
<h3>By subtasks</h3>
{_scaling(numbers)}
{note(_scaling_note(numbers))}
<h2>What a transaction costs</h2>
{_costs(numbers)}
<h2>Latency</h2>
{_latency(numbers["latency_ms"])}
{note(_latency_note(numbers))}
<h2>State</h2>
{_state(numbers)}
{_months(numbers)}
<h2>Hosts for a rate</h2>
{_sizing(numbers)}
{note(SIZED)}
<h2>Plots</h2>
{figures(plots(numbers))}""",
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
        f"From the creation of a transaction to the arrival of its prediction at a consumer, in ms. {FLOOR} "
        f"After a TaskManager was killed, the next prediction came {numbers['recovery_s']} s later."
    )


def _throughput(numbers: dict[str, Any]) -> str:
    inference = numbers["throughput_tps"]["inference"]
    rows = [
        (name, f"{tps:,}", f"{inference / tps:.3g}", what)
        for way, (name, what) in WAYS.items()
        if (tps := numbers["throughput_tps"].get(way))
    ]
    return table(("", "#records a second", "#ml_inference_job is … times as fast", "what it does"), rows)


def _loads(numbers: dict[str, Any]) -> str:
    loads = {whose: {name: mean(found[name]) for name in found} for whose, found in numbers["loads"].items()}
    even = loads["even"]
    return table(
        ("", "#records a second", "#of the even load", "#processor time of a transaction, µs"),
        (
            (
                LOADS[whose],
                f"{loads[whose]['tps']:,.0f}",
                f"{loads[whose]['tps'] / even['tps']:.2f}",
                f"{loads[whose]['cpu_us']:.1f}",
            )
            for whose in LOADS
        ),
    )


def _scaling(numbers: dict[str, Any]) -> str:
    scaling = numbers["scaling"]
    return table(
        ("#subtasks", "#records a second", "#of one alone"),
        (
            (subtasks, f"{tps:,}", f"{tps / scaling['1']:.2f}" if "1" in scaling else "")
            for subtasks, tps in sorted(scaling.items(), key=lambda item: int(item[0]))
        ),
    )


def _scaling_note(numbers: dict[str, Any]) -> str:
    return (
        f"On {numbers['taskmanagers']} TaskManagers. Subtasks of one TaskManager share its Python, which "
        f"uses one core; and all hosts share {numbers['machine']['cores']} cores."
    )


def _costs(numbers: dict[str, Any]) -> str:
    return table(
        ("", "#processor time of a transaction, µs"),
        ((SERVICES.get(name, name), f"{us:.1f}") for name, us in numbers["cpu_us"]["inference"].items()),
    )


def _latency(latency_ms: dict[str, Any]) -> str:
    names = {"p50": "p50", "p99": "p99", "p999": "p99.9"}
    return table(
        (
            "#transactions a second",
            *(f"#{shown}{what}" for shown in names.values() for what in ("", ", floor", ", times the floor")),
            "#predictions",
        ),
        (
            (
                f"{int(rate):,}",
                *(
                    value
                    for name in names
                    for value in (
                        f"{found[name]:.0f}",
                        f"{found['floor'][name]:.1f}",
                        f"{found['to_floor'][name]:.1f}",
                    )
                ),
                f"{found['records']:,}",
            )
            for rate, found in latency_ms.items()
        ),
    )


def _state(numbers: dict[str, Any]) -> str:
    return table(
        ("", "#customers seen", "#transactions", "#checkpoint, MB", "#bytes a customer", "#ms"),
        (
            (
                _state_name(name),
                f"{found['customers']:,}",
                f"{found['transactions']:,}",
                f"{found['bytes'] / 1e6:,.1f}",
                f"{found['bytes'] / found['customers']:,.0f}",
                f"{found['ms']:,}",
            )
            for name, found in numbers["state"].items()
        ),
    )


def _state_name(name: str) -> str:
    if name == "whole_histories":
        return "histories of the backlog"
    return f"a {name} customers" if name.startswith("month") else f"a day of {name} customers"


def _months(numbers: dict[str, Any]) -> str:
    months = numbers.get("months")
    if not months:
        return note("make bench CUSTOMERS=1000000 also measures with a month of so many customers.")
    own = months["own_checkpoint"]
    rows = (
        ("records a second while the month was brought in", f"{months['before_tps']:,}"),
        ("records a second of all customers in turn, after it", f"{months['tps']:,}"),
        ("processor time of such a transaction, µs", f"{sum(months['cpu_us'].values()):.1f}"),
        ("Flink's own checkpoint at 1,000 a second: uploaded, MB", f"{own['bytes'] / 1e6:.1f}"),
        ("… and ms", f"{own['ms']:,}"),
    )
    return (
        f"<h3>A month of {months['customers']:,} customers</h3>"
        f"{table(('', '#'), rows)}{_latency(months['latency_ms'])}{note(MADE)}"
    )


def _sizing(numbers: dict[str, Any]) -> str:
    return table(
        (
            "#transactions a second",
            "cores are",
            "#subtasks",
            "#TaskManager cores",
            "#Kafka cores",
            "#Kafka disks, GB",
            "#state, GB",
            "#… a subtask",
            "#lake, GB a day",
        ),
        (
            (
                f"{size['tps']:,}",
                "measured" if size["measured"] else "calculated",
                str(size["subtasks"]),
                f"{size['taskmanager_cores']:.1f}",
                f"{size['kafka_cores']:.1f}",
                f"{size['kafka_gb']:,.0f}",
                f"{size['state_gb']:,.0f}",
                f"{size['state_gb_a_subtask']:,.0f}",
                f"{size['lake_gb_a_day']:,.1f}",
            )
            for size in numbers["sizing"]
        ),
    )
