"""This machine, on which all hosts of the lab run."""

import os
import shutil
from pathlib import Path

from lab import ROOT, BenchmarkError

# a service by what is in its processes' command lines
SERVICES = {
    "TaskManagerRunner": "taskmanager",
    # its Python, which in process mode has processes of its own
    "pyflink.fn_execution": "taskmanager",
    "kafka.Kafka": "kafka",
    "minio\0server": "minio",
    "QuorumPeerMain": "zookeeper",
    "StandaloneSessionClusterEntrypoint": "jobmanager",
}


def cpu_s() -> dict[str, float]:
    """Seconds of processor time that each service has taken so far."""
    ticks = os.sysconf("SC_CLK_TCK")
    spent = dict.fromkeys(SERVICES.values(), 0.0)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text()
            fields = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        for word, service in SERVICES.items():
            if word in command:
                spent[service] += (int(fields[11]) + int(fields[12])) / ticks
    return spent


def processor() -> str:
    """Name its processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), "unknown")


def check_disk(needed_bytes: int, what: str) -> None:
    """Raise BenchmarkError where the disk, which is the hosts' too, has less room than `what` takes."""
    free = shutil.disk_usage(ROOT).free
    if free < needed_bytes:
        raise BenchmarkError(
            f"{what} may take {needed_bytes / 1e9:.0f} GB of this machine's disk, and {free / 1e9:.0f} GB "
            "are free: make room, or choose fewer customers"
        )
