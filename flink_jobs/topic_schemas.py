"""Write the JSON Schema of each topic: `python -m flink_jobs.topic_schemas docs/schemas`."""

import sys
from pathlib import Path

import msgspec

from flink_jobs.domain.contract import READ, WRITTEN, schema


def write_schemas(folder: Path) -> None:
    """Write a file for each topic."""
    folder.mkdir(parents=True, exist_ok=True)
    for topic in READ | WRITTEN:
        content = msgspec.json.format(msgspec.json.encode(schema(topic)), indent=2)
        (folder / f"{topic}.json").write_bytes(content + b"\n")


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]))
