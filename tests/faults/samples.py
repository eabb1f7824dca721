"""How much each service of the lab takes: memory, threads, descriptors, files, state."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from catalogue import JOBMANAGER, SERVICES, named
from containers import HostError
from system import JOBS, System

if TYPE_CHECKING:
    from flatness import Name

# A line for a process: unit, process, KB of memory of its own, threads, descriptors. Then the files.
PROCESSES = r"""
exec 2>/dev/null
for unit in {units}; do
  pid=$(systemctl show --property=MainPID --value "$unit")
  echo "$unit $pid" $(awk '/^RssAnon|^Threads/ {{ print $2 }}' "/proc/$pid/status" || echo 0 0) \
    $(ls "/proc/$pid/fd" | wc -l)
done
echo "files $(find {folders} -type f | wc -l)"
"""
# what Flink leaves behind: working files, and the bucket of checkpoints as it lies on a drive
FOLDERS = "/var/lib/flink /var/lib/minio/drive*/flink"
# how much memory a unit may have, in bytes
BOUND = "systemctl show --property=MemoryMax --value {unit}"


class Samples:
    """Takes them, and keeps each series.

    Attributes:
        series: by kind and whose it is.
        restarted: services whose process is not the one of the first sample.

    """

    def __init__(self, system: System) -> None:
        self._system = system
        self._units = {host: units_of(system.hosts, host) for host in sorted(system.hosts)}
        self._first: dict[str, str] = {}
        self.series: dict[Name, list[float]] = {}
        self.restarted: set[str] = set()

    def take(self) -> None:
        """Ask each host and Flink once.

        Raises:
            HostError, JobError: one does not answer.

        """
        for host, units in self._units.items():
            script = PROCESSES.format(units=" ".join(units), folders=FOLDERS)
            self._note(host, self._system.containers.shell(host, script).splitlines())
        for job in JOBS:
            latest = self._system.checkpoints(self._system.job(job))["latest"]["completed"]
            if latest:
                self._add("state, MB", job, latest["state_size"] / 1e6)

    def told(self) -> list[dict[str, Any]]:
        """Give each series as it is kept in JSON."""
        return [
            {"kind": kind, "of": of, "samples": values} for (kind, of), values in sorted(self.series.items())
        ]

    def _note(self, host: str, lines: Iterable[str]) -> None:
        for line in lines:
            unit, *told = line.split()
            if unit == "files":
                self._add("files", host, float(told[0]))
                continue
            pid, memory_kb, threads, descriptors = told
            service = f"{unit} of {host}"
            if self._first.setdefault(service, pid) != pid or pid == "0":
                self.restarted.add(service)
            self._add("memory, MB", service, int(memory_kb) / 1000)
            self._add("threads", service, float(threads))
            self._add("descriptors", service, float(descriptors))

    def _add(self, kind: str, of: str, value: float) -> None:
        self.series.setdefault((kind, of), []).append(value)


def memory_bounds(system: System) -> dict[str, float]:
    """Tell how much memory each service may have at most, in MB, by the names of the series.

    Raises:
        HostError: a host does not answer, or a service has no bound.

    """
    found = {}
    for host in sorted(system.hosts):
        for unit in units_of(system.hosts, host):
            told = system.containers.shell(host, BOUND.format(unit=unit)).strip()
            if not told.isdecimal():
                raise HostError(f"{unit} of {host} has no bound of memory: MemoryMax={told}")
            found[f"{unit} of {host}"] = int(told) / 1e6
    return found


def units_of(hosts: Mapping[str, Mapping[str, Any]], host: str) -> list[str]:
    """Name the units of the system's services that a host has."""
    found = [unit for _, unit, groups in SERVICES.values() if host in named(hosts, *groups)]
    return found + ([JOBMANAGER] if host in named(hosts, "flink_jobmanager") else [])
