"""Watches a job: how fast it works through a backlog, and how soon it answers."""

import json
import math
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from lab import PARTITIONS, BenchmarkError, Lab

# the first half of a backlog warms a job up, and fills its state
FIRST_SHARE, LAST_SHARE = 0.5, 0.95
SAMPLE_S = 0.2
FEWEST_SAMPLES = 5
PATIENCE_S = 120
PERCENTILES = {"p50": 50, "p99": 99, "p999": 99.9}
READ_TPS = 4000
FEWEST_PREDICTIONS = 5000


def throughput(
    count: Callable[[], int],
    total: int,
    spent: Callable[[], dict[str, float]],
    longest_s: float | None = None,
) -> dict[str, Any]:
    """Watch a job work through a backlog.

    Args:
        count: tells how many records are done by now; none is when the job begins.
        total: how many are done in the end.
        spent: tells how many seconds of processor time each service has taken by now.
        longest_s: how long to watch a job that would take too long; the second half of it is measured.

    Returns:
        tps: records a second from FIRST_SHARE of the backlog on.
        cpu_us: microseconds of processor time for each of these records, by service.
        samples: [seconds, records] from the first record on.

    """
    looks = _looks(count)
    started, first = next((at, done) for at, done in looks if done)
    begin_s = FIRST_SHARE * longest_s if longest_s else None
    samples, measured = [(0.0, first)], []
    spent_before: dict[str, float] = {}
    while samples[-1][1] < LAST_SHARE * total and (longest_s is None or samples[-1][0] < longest_s):
        at, done = next(looks)
        seconds = at - started
        samples.append((seconds, done))
        if seconds >= begin_s if begin_s else done >= FIRST_SHARE * total:
            spent_before = spent_before or spent()
            measured.append((seconds, done))
    spent_after = spent()
    if len(measured) < FEWEST_SAMPLES:
        raise BenchmarkError(f"all records were done after {samples[-1][0]:.1f} s, too soon to measure")
    seconds_measured, records = np.array(measured).T
    # a line through all samples: the first and the last count no more than the others
    slope = float(np.polyfit(seconds_measured, records, 1)[0])
    cpu_us = {
        service: round((spent_after[service] - begun) / float(records[-1] - records[0]) * 1e6, 1)
        for service, begun in spent_before.items()
    }
    return {
        "tps": round(slope),
        "cpu_us": cpu_us,
        "samples": [[round(at, 2), done] for at, done in samples],
    }


def _looks(count: Callable[[], int]) -> Iterator[tuple[float, int]]:
    """Give the time and the records done, every SAMPLE_S seconds; raise if none is done for PATIENCE_S."""
    moved_at, most = time.monotonic(), 0
    while True:
        at, done = time.monotonic(), count()
        if done > most:
            moved_at, most = at, done
        elif at - moved_at > PATIENCE_S:
            raise BenchmarkError(f"the job did nothing for {PATIENCE_S} s, with {done:,} records done")
        yield at, done
        time.sleep(SAMPLE_S)


def latency(lab: Lab, send: list[str], predictions: str, rate_tps: int) -> dict[str, Any]:
    """Time from the creation of a transaction to the arrival of its prediction at a consumer.

    The consumer reads as many of the topic's partitions as bring about READ_TPS predictions a second. Of a
    slow stream, few partitions would tell little, as the job writes 256 KB to one before it goes on to the
    next; of a fast one, all partitions would take a fifth of a core to read.

    Args:
        lab: where the job runs.
        send: the command that sends the transactions.
        predictions: the topic.
        rate_tps: how many transactions a second it sends.

    Returns:
        Percentiles in milliseconds, how many predictions they are of, and how many cores each service kept
        busy meanwhile.

    """
    consumer = lab.consumer(predictions, min(PARTITIONS, math.ceil(PARTITIONS * READ_TPS / rate_tps)))
    found: list[float] = []
    spent, started = lab.cpu_s(), time.monotonic()
    with subprocess.Popen(send, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as sending:
        while sending.poll() is None:
            for records in consumer.poll(timeout_ms=200).values():
                arrived_ms = time.time() * 1000
                found += (arrived_ms - json.loads(record.value)["kafka_timestamp_ms"] for record in records)
        output = sending.stdout.read() if sending.stdout else ""
    seconds = time.monotonic() - started
    cores = {service: round((now - spent[service]) / seconds, 2) for service, now in lab.cpu_s().items()}
    consumer.close()
    if sending.returncode:
        raise BenchmarkError(f"{' '.join(send)} ended with {sending.returncode}:\n{output}")
    if len(found) < FEWEST_PREDICTIONS:
        raise BenchmarkError(f"{len(found)} predictions arrived, too few for percentiles")
    values = {name: round(float(np.percentile(found, q)), 1) for name, q in PERCENTILES.items()}
    return {**values, "predictions": len(found), "cores": cores}


def silence(count: Callable[[], int], longest_s: float) -> float:
    """Return the seconds for which no record was done while records were being sent.

    It watches for a silence of a second at least, and until records have been done again for two seconds.
    """
    last, last_at = count(), time.monotonic()
    deadline = last_at + longest_s
    silent, again = 0.0, 0.0
    while time.monotonic() < deadline:
        time.sleep(SAMPLE_S / 4)
        now, done = time.monotonic(), count()
        if done != last:
            if now - last_at > 1:
                silent, again = max(silent, now - last_at), now
            last, last_at = done, now
        if silent and now - again > 2 and now - last_at < 1:
            return silent
    raise BenchmarkError(f"the job was not seen to stop and go on within {longest_s:.0f} s")
