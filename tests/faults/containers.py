"""The lab's hosts as this suite reaches them: through Incus, which needs no network and no sshd of theirs."""

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, NamedTuple

ROOT = Path(__file__).parents[2]
OWNER = ROOT / "terraform/lab"
COMMAND_TIMEOUT_S = 120.0
# a playbook, or hosts that are made again
LONG_TIMEOUT_S = 3600.0
# a host that has just been started runs no command for some seconds
MEND_TIMEOUT_S = 120.0
# of the journal of a unit that has failed
LAST_LINES = 5
# where a step is done, if not on a host
HERE, PRODUCER = "here", "producer"


class HostError(RuntimeError):
    """A command on a host, or here, did not succeed."""


class Step(NamedTuple):
    """Something to do.

    Attributes:
        where: a host; HERE: this machine, from the top of the checkout; PRODUCER: a setting of the producer.
        command: for bash, or `NAME=NUMBER` for the producer.

    """

    where: str
    command: str


# how a command is run here: words, timeout in s; gives what it printed
Run = Callable[[Sequence[str], float], str]


def run(command: Sequence[str], timeout_s: float = COMMAND_TIMEOUT_S) -> str:
    """Run a command from the top of the checkout; return what it printed.

    Raises:
        HostError: it ended with another status than 0, or not in time.

    """
    try:
        ran = subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | {"ANSIBLE_FORCE_COLOR": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        raise HostError(f"{' '.join(command)} did not end within {timeout_s:g} s") from None
    if ran.returncode:
        raise HostError(
            f"{' '.join(command)} ended with {ran.returncode}: {(ran.stdout + ran.stderr)[-2000:]}"
        )
    return ran.stdout


class Containers:
    """The hosts of the lab of this checkout, and of no other."""

    def __init__(self, names: Iterable[str], run: Run = run) -> None:
        """Look whose the hosts are.

        Raises:
            HostError: one belongs to another lab, or Incus does not answer.

        """
        self.names = sorted(names)
        self._run = run
        for name in self.names:
            self._own(name)

    def shell(self, name: str, command: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """Run a command as root on a host; return what it printed. HostError as for `run`."""
        self._known(name)
        return self._run(["incus", "exec", name, "--", "bash", "-euc", command], timeout_s)

    def fed(self, name: str, command: str, told: IO[bytes]) -> subprocess.Popen[bytes]:
        """Begin a command as root on a host, which reads what its caller writes; `told` gets its messages.

        Raises:
            HostError: it is no host of this lab.

        """
        self._known(name)
        words = ["incus", "exec", name, "--", "bash", "-euc", command]
        return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=told, stderr=subprocess.STDOUT)

    def do(self, step: Step) -> None:
        """Do a step on a host or here; HostError as for `run`."""
        if step.where == HERE:
            self._run(["bash", "-euo", "pipefail", "-c", step.command], LONG_TIMEOUT_S)
        else:
            self.shell(step.where, step.command)

    def mend(self, steps: Sequence[Step], timeout_s: float = MEND_TIMEOUT_S) -> list[str]:
        """Do each step, again and again until it succeeds or time is up; say what did not."""
        failed = []
        for step in steps:
            deadline = time.monotonic() + timeout_s
            while True:
                try:
                    self.do(step)
                    break
                except HostError as error:
                    if time.monotonic() > deadline:
                        failed.append(f"not mended: {error}")
                        break
                time.sleep(1)
        return failed

    def failed_services(self) -> list[str]:
        """Say which units have failed, with the end of their journals, and which hosts do not answer."""

        def look(name: str) -> list[str]:
            try:
                listed = self.shell(name, "systemctl --failed --plain --no-legend").splitlines()
                units = [line.split()[0] for line in listed if line.strip()]
                return [f"{unit} of {name} has failed: {self._last_said(name, unit)}" for unit in units]
            except HostError as error:
                return [f"{name} does not answer: {error}"]

        with ThreadPoolExecutor(max(len(self.names), 1)) as pool:
            return [each for found in pool.map(look, self.names) for each in found]

    def _last_said(self, name: str, unit: str) -> str:
        """Give the last lines of a unit's journal, those of systemd about it left out."""
        of_unit = f"_SYSTEMD_UNIT={shlex.quote(unit)}"
        return self.shell(name, f"journalctl --output cat --lines {LAST_LINES} {of_unit}").strip()

    def forget_failures(self) -> None:
        """Let no unit count as failed any more; HostError as for `run`."""
        for name in self.names:
            self.shell(name, "systemctl reset-failed")

    def _known(self, name: str) -> None:
        if name not in self.names:
            raise HostError(f"{name} is no host of this lab; there are {', '.join(self.names)}")

    def _own(self, name: str) -> None:
        ask = ["incus", "config", "get", name, "user.fraud_owner"]
        try:
            owner = self._run(ask, COMMAND_TIMEOUT_S).strip()
        except HostError:
            # Incus does not answer, or there is no such host: a run was cut off before it was made again
            if name in self._run(["incus", "list", "--format=csv", "--columns=n"], COMMAND_TIMEOUT_S).split():
                raise
            return
        if owner != str(OWNER):
            raise HostError(
                f"{name} belongs to {owner or 'nobody that is known'}, not to {OWNER}: leave it alone"
            )
