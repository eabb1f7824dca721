"""What hosts a rate takes: as measured at that rate, or calculated from what a record of a backlog costs."""

import math
from typing import Any

from flink_jobs.domain.history import DAY_S, KEPT_S
from flink_jobs.shards import MOST_SUBTASKS

SIZED_TPS = (1_000, 10_000, 100_000)
# how busy cores and subtasks may be
BUSY = 0.5
REPLICAS, KEPT_DAYS = 3, {"transactions": 7, "predictions": 3}


def sizes(numbers: dict[str, Any]) -> list[dict[str, Any]]:
    """Give a line for each rate, up to what MOST_SUBTASKS take.

    Returns:
        tps, and what it takes if it never changes: subtasks, taskmanager_cores, kafka_cores, kafka_gb (all
        replicas), state_gb, state_gb_a_subtask, lake_gb_a_day; measured: whether the cores are.

    """
    most_tps = MOST_SUBTASKS * BUSY * numbers["scaling"]["1"]
    digits = 10 ** (len(str(int(most_tps))) - 2)
    return [_size(numbers, tps) for tps in (*SIZED_TPS, int(most_tps) // digits * digits)]


def state_bytes(numbers: dict[str, Any]) -> float:
    """Give the size of a checkpoint for each transaction that its histories hold."""
    if months := numbers.get("months"):
        found = numbers["state"][f"month of {months['customers']:,}"]
        return float(found["bytes"] / found["transactions"])
    return float(numbers["state"]["whole_histories"]["bytes"] / numbers["data"]["in_histories"])


def _size(numbers: dict[str, Any], tps: int) -> dict[str, Any]:
    kafka, lake = numbers["kafka_bytes"], numbers["lake"]
    kept = sum(kafka[name] * days for name, days in KEPT_DAYS.items()) * REPLICAS * DAY_S
    measured = numbers["latency_ms"].get(str(tps))
    # a backlog's batches are large, so a record in them costs less than at a rate that was measured
    backlog = {service: us * tps / 1e6 for service, us in numbers["cpu_us"]["inference"].items()}
    busy = measured["cores"] if measured else backlog
    subtasks = math.ceil(tps / (BUSY * numbers["scaling"]["1"]))
    state_gb = tps * KEPT_S * state_bytes(numbers) / 1e9
    return {
        "tps": tps,
        "measured": measured is not None,
        "subtasks": subtasks,
        "taskmanager_cores": round(busy["taskmanager"] / BUSY, 2),
        "kafka_cores": round(busy["kafka"] / BUSY, 2),
        "kafka_gb": round(tps * kept / 1e9, 1),
        "state_gb": round(state_gb, 1),
        "state_gb_a_subtask": round(state_gb / subtasks, 1),
        "lake_gb_a_day": round(tps * DAY_S * lake["bytes"] / lake["records"] / 1e9, 2),
    }
