"""Kafka's own console producer on a broker's host: records of kafka-python cost too much for a flood."""

import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from catalogue import named
from containers import HostError
from system import System

FLUSH_TIMEOUT_S = 180.0
# of what it says if it fails
TOLD_BYTES = 2_000
# By itself the tool tries a record four times, for 1.5 s each, and then drops it.
COMMAND = (
    "exec kafka-console-producer --topic {topic} --reader-property parse.key=true --compression-codec lz4 "
    "--request-required-acks all --message-send-max-retries 2147483647 --request-timeout-ms 30000 "
    "--batch-size 131072 --timeout 20"
)


@contextmanager
def console_producer(
    system: System, topic: str, flush_timeout_s: float = FLUSH_TIMEOUT_S
) -> Iterator[Callable[[bytes], None]]:
    """Give what takes lines: a key, a tab and a record each; it waits where Kafka does not take more.

    After the block Kafka has confirmed each record, or the producer has given it up.

    Raises:
        HostError: the producer failed, or was not done in time after the block.

    """
    host = sending_host(system.hosts)
    with tempfile.TemporaryFile() as told:
        process = system.containers.fed(host, COMMAND.format(topic=topic), told)

        def write(lines: bytes) -> None:
            assert process.stdin is not None
            try:
                process.stdin.write(lines)
                process.stdin.flush()
            except OSError as error:
                raise HostError(f"the producer on {host} has ended: {error}; {_end(told)}") from None

        try:
            yield write
            process.communicate(timeout=flush_timeout_s)
        except subprocess.TimeoutExpired:
            raise HostError(
                f"the producer on {host} was not done {flush_timeout_s:g} s after the last record"
            ) from None
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            raise HostError(f"the producer on {host} ended with {process.returncode}: {_end(told)}")


def sending_host(hosts: Mapping[str, Mapping[str, Any]]) -> str:
    """Choose a broker's host, one without a TaskManager if there is any."""
    workers = named(hosts, "flink_taskmanager")
    return min(named(hosts, "kafka"), key=lambda host: (host in workers, host))


def _end(told: IO[bytes]) -> str:
    told.seek(0)
    return told.read()[-TOLD_BYTES:].decode(errors="replace").strip()
