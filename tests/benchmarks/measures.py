"""Watches a job: how fast it works through a backlog, and how soon it answers."""

import json
import math
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from lab import PARTITIONS, BenchmarkError, Lab
from machine import cpu_s

# the first half of a backlog warms a job up, and fills its state
FIRST_SHARE, LAST_SHARE = 0.5, 0.95
SAMPLE_S = 0.2
FEWEST_SAMPLES = 5
PATIENCE_S = 120
# so many of a run's samples are kept at most
KEPT_SAMPLES = 400
PERCENTILES = {"p50": 50, "p99": 99, "p999": 99.9}
READ_TPS = 4000
FEWEST_PREDICTIONS = 5000


def throughput(
    count: Callable[[], int],
    total: int,
    spent: Callable[[], dict[str, float]],
    longest_s: float | None = None,
    before: int = 0,
) -> dict[str, Any]:
    """Watch a job work through a backlog.

    Args:
        count: tells how many records are done by now; none is when the job begins.
        total: how many are done in the end.
        spent: tells how many seconds of processor time each service has taken by now.
        longest_s: how long to watch a job that would take too long; the second half of it is measured.
        before: the first so many records are no part of the backlog, but what fills the state before it.

    Returns:
        tps: records a second from FIRST_SHARE of the backlog on.
        before_tps: of the records before it, from FIRST_SHARE of these on; None if there are none.
        cpu_us: microseconds of processor time for each record of the backlog, by service.
        samples: [seconds, records] from the first record on, KEPT_SAMPLES at most.

    """
    looks = _looks(count)
    started, first = next((at, done) for at, done in looks if done)
    samples = [(0.0, first)]
    begun: tuple[int, dict[str, float]] | None = None
    begin, end = (before + round(share * (total - before)) for share in (FIRST_SHARE, LAST_SHARE))
    while samples[-1][1] < end and (longest_s is None or samples[-1][0] < longest_s):
        at, done = next(looks)
        samples.append((at - started, done))
        if not begun and (at - started >= FIRST_SHARE * longest_s if longest_s else done >= begin):
            begun = done, spent()
    ended, spent_after = samples[-1][1], spent()
    if not begun or sum(done >= begun[0] for _, done in samples) < FEWEST_SAMPLES:
        raise BenchmarkError(f"all records were done after {samples[-1][0]:.1f} s, too soon to measure")
    cpu_us = {
        service: round((spent_after[service] - seconds) / (ended - begun[0]) * 1e6, 1)
        for service, seconds in begun[1].items()
    }
    return {
        "tps": round(slope(samples, begun[0], ended)),
        "before_tps": round(slope(samples, round(FIRST_SHARE * before), before)) if before else None,
        "cpu_us": cpu_us,
        "samples": [[round(at, 2), done] for at, done in samples[:: len(samples) // KEPT_SAMPLES + 1]],
    }


def slope(samples: Sequence[tuple[float, int]], first: int, last: int) -> float:
    """Give the records a second between two numbers of records.

    It is that of a line through all samples: the first and the last count no more than the others.
    """
    seconds, records = np.array([sample for sample in samples if first <= sample[1] <= last]).T
    return float(np.polyfit(seconds, records, 1)[0])


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


def latency(
    lab: Lab, send: list[str], topic: str, rate_tps: int, created_ms: Callable[[Any], float]
) -> dict[str, Any]:
    """Time from the creation of a transaction to the arrival of what a consumer waits for.

    The consumer reads as many of the topic's partitions as bring about READ_TPS records a second. Of a
    slow stream, few partitions would tell little, as the job writes 256 KB to one before it goes on to the
    next; of a fast one, all partitions would take a fifth of a core to read.

    Args:
        lab: where the job runs.
        send: the command that sends the transactions.
        topic: of the predictions, or for the floor that of the transactions themselves.
        rate_tps: how many transactions a second it sends.
        created_ms: tells when the transaction of a record was created, in ms since 1970.

    Returns:
        Percentiles in milliseconds, how many records they are of, and how many cores each service kept
        busy meanwhile.

    """
    consumer = lab.consumer(topic, min(PARTITIONS, math.ceil(PARTITIONS * READ_TPS / rate_tps)))
    found: list[float] = []
    spent, started = cpu_s(), time.monotonic()
    with subprocess.Popen(send, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as sending:
        while sending.poll() is None:
            for records in consumer.poll(timeout_ms=200).values():
                arrived_ms = time.time() * 1000
                found += (arrived_ms - created_ms(record) for record in records)
        output = sending.stdout.read() if sending.stdout else ""
    seconds = time.monotonic() - started
    cores = {service: round((now - spent[service]) / seconds, 2) for service, now in cpu_s().items()}
    consumer.close()
    if sending.returncode:
        raise BenchmarkError(f"{' '.join(send)} ended with {sending.returncode}:\n{output}")
    if len(found) < FEWEST_PREDICTIONS:
        raise BenchmarkError(f"{len(found)} records of {topic} arrived, too few for percentiles")
    values = {name: round(float(np.percentile(found, q)), 1) for name, q in PERCENTILES.items()}
    return {**values, "records": len(found), "cores": cores}


def when_sent(record: Any) -> float:  # noqa: ANN401 - kafka-python ships no types
    """Tell when the producer of a transaction created it, in ms since 1970: for the floor."""
    return float(record.timestamp)


def when_scored_was_sent(prediction: Any) -> float:  # noqa: ANN401 - as above
    """Tell when the producer of a prediction's transaction created it, in ms since 1970."""
    return float(json.loads(prediction.value)["kafka_timestamp_ms"])


def to_floor(found: dict[str, Any], floor: dict[str, Any]) -> dict[str, float]:
    """Give each percentile of a latency as a multiple of the floor's."""
    return {name: round(found[name] / floor[name], 2) for name in PERCENTILES}


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
