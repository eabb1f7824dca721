"""A job on Flink's mini cluster: JobManager, TaskManager and Python in one JVM, files in the place of Kafka.

Statements and columns are the job's own; only connectors are others.
"""

import base64
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import pyarrow.parquet as pq
from py4j.protocol import Py4JJavaError
from pyflink.common import Configuration
from pyflink.common.job_client import JobClient
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment, TableResult

from flink_jobs.configuration import sql_options
from flink_jobs.store.lake import is_finished

# as a cluster has them (role flink); a job that fails stays so, and says why, unless told otherwise
OPTIONS = {
    "state.backend.type": "rocksdb",
    "execution.checkpointing.incremental": "true",
    "execution.checkpointing.interval": "300 ms",
    "python.executable": sys.executable,
}
TIMEOUT_S = 120


def on_files(ddl: str, folder: Path) -> str:
    """Give DDL of a topic's table with the same columns, in files below `folder`; other DDL as it is.

    What Kafka tells of a record becomes a column like others. A table that is written has Parquet files,
    as these appear with each checkpoint.
    """
    if "'connector' = 'kafka'" not in ddl:
        return ddl
    columns = ddl.partition("WITH (")[0]
    named = re.search(r"CREATE TABLE (\w+)", columns)
    assert named
    path = folder / named[1]
    path.mkdir(exist_ok=True)
    read = " VIRTUAL" in columns
    options = {"connector": "filesystem", "path": path.as_uri()} | (
        {"format": "json", "source.monitor-interval": "50 ms"} if read else {"format": "parquet"}
    )
    columns = re.sub(r" METADATA( VIRTUAL)?", "", columns)
    return f"{columns}WITH ({sql_options(options)})"


def record(payload: bytes | None, partition: int, offset: int, timestamp: str) -> dict[str, Any]:
    """Give a record as it lies in Kafka; its timestamp as SQL writes it, in UTC."""
    return {
        "payload": None if payload is None else base64.b64encode(payload).decode(),
        "partition": partition,
        "offset": offset,
        "timestamp": f"{timestamp}Z",
    }


class JobFailedError(RuntimeError):
    """A job has failed: causes, without the frames of Java's stack."""


class Job:
    """A job that runs; as a context, it is cancelled in the end.

    Attributes:
        folder: where its tables lie, a folder each.

    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(
        self,
        environment: StreamExecutionEnvironment,
        submit: Callable[[StreamTableEnvironment], TableResult | JobClient],
        savepoint: str | None = None,
        parallelism: int = 2,
        *,
        restarts: bool = False,
    ) -> Self:
        """Start the job, from a savepoint or without state, with so many subtasks; `restarts` if it fails."""
        options = OPTIONS | {
            "restart-strategy.type": "fixed-delay" if restarts else "none",
            "parallelism.default": str(parallelism),
            "execution.checkpointing.dir": (self.folder / "checkpoints").as_uri(),
        }
        if savepoint is not None:
            options["execution.state-recovery.path"] = savepoint
        configuration = Configuration()
        for option, value in options.items():
            configuration.set_string(option, value)
        environment.configure(configuration)
        submitted = submit(StreamTableEnvironment.create(environment))
        self._client = submitted if isinstance(submitted, JobClient) else submitted.get_job_client()
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._client.get_job_execution_result().done():
            self._client.cancel().result()

    def feed(self, table: str, records: Iterable[Mapping[str, Any] | str]) -> None:
        """Let the job read these, in their order."""
        # a job that goes on knows the names of the files that it has read
        name = f"{time.time_ns()}.json"
        hidden = self.folder / table / f".{name}"
        hidden.write_text("".join(json.dumps(record) + "\n" for record in records))
        hidden.rename(hidden.with_name(name))

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Read what checkpoints have completed; what the names of folders say is a column too."""
        rows = []
        for file in sorted((self.folder / table).rglob("*")):
            parts = file.relative_to(self.folder).parts
            if file.is_file() and all(is_finished(part) for part in parts):
                told = dict(part.split("=") for part in parts if "=" in part)
                rows += [row | told for row in pq.ParquetFile(file).read().to_pylist()]
        return rows

    def until(self, done: Callable[[], object], what: str) -> None:
        """Wait for what a job does; where the job fails instead, raise its error."""
        deadline = time.monotonic() + TIMEOUT_S
        while not done():
            self._raise_failure()
            assert time.monotonic() < deadline, f"not within {TIMEOUT_S} s: {what}"
            time.sleep(0.1)

    def _raise_failure(self) -> None:
        result = self._client.get_job_execution_result()
        try:
            if result.done():
                result.result()
        except Py4JJavaError as error:
            causes = (
                line for line in str(error).splitlines() if not line.lstrip().startswith(("at ", "... "))
            )
            raise JobFailedError("\n".join(causes)) from None

    def stop(self) -> str:
        """Stop the job; give the savepoint that it goes on from."""
        # PyFlink's own does not name the format, which Java wants (2.3)
        formats = get_gateway().jvm.org.apache.flink.core.execution.SavepointFormatType
        stopped = self._client._j_job_client.stopWithSavepoint(  # noqa: SLF001 - as told above
            False,  # noqa: FBT003 - Java's
            (self.folder / "savepoints").as_uri(),
            formats.CANONICAL,
        )
        path: str = stopped.get()
        self._client.get_job_execution_result().result()
        return path
