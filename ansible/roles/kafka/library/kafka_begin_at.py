#!/usr/bin/python
"""Let empty partitions of a stopped Kafka broker begin at other offsets than 0."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: kafka_begin_at
short_description: Let empty partitions of a stopped broker begin at other offsets than 0
description:
  - Kafka takes the name of a partition's first segment for its first offset. This renames an empty one's.
  - All replicas of a partition have to be renamed before one of their brokers starts, or the others follow
    whoever leads.
  - Changes nothing where one of them has records, or the broker runs or was killed.
options:
  data_dir:
    description: The broker's folder with a folder for each partition.
    type: path
    required: true
  offsets:
    description: By topic and partition, the first offset, of partitions of which this broker has a replica.
    type: dict
    required: true
author: fraud-detection
"""

EXAMPLES = """
- name: Let the topic go on where the former one ended
  kafka_begin_at:
    data_dir: /var/lib/kafka/data
    offsets: {transactions: {"0": 5120, "1": 4711}}
"""

RETURN = """
partitions:
  description: Folders of the partitions that begin elsewhere now.
  returned: always
  type: list
  elements: str
"""

SEGMENT = re.compile(r"(\d{20})\.log")
# They name the offset at which the leader began, and grow again by themselves.
LEADER_EPOCHS = "leader-epoch-checkpoint"
CLEAN = ".kafka_cleanshutdown"


class Beginning(NamedTuple):
    """A partition's folder, where it begins, and where it is to begin."""

    folder: Path
    base: int
    wanted: int


def find_beginnings(data_dir: Path, offsets: dict[str, dict[str, int]]) -> list[Beginning]:
    """Return the partitions that begin elsewhere; raise ValueError if one has records, or is not there."""
    found = []
    for topic, partitions in sorted(offsets.items()):
        for partition, wanted in sorted(partitions.items()):
            folder = data_dir / f"{topic}-{partition}"
            if not folder.is_dir():
                raise ValueError(f"there is no {folder}: has this broker made its replica yet?")
            matches = {each: SEGMENT.fullmatch(each.name) for each in folder.iterdir()}
            segments = {int(match[1]): each for each, match in matches.items() if match}
            if len(segments) != 1 or any(each.stat().st_size for each in segments.values()):
                raise ValueError(f"{folder} has records, or had some: it cannot begin at offset {wanted}")
            (base,) = segments
            if base not in (0, int(wanted)):
                raise ValueError(f"{folder} begins at offset {base} already, not at 0 or {wanted}")
            if base != int(wanted):
                found.append(Beginning(folder, base, int(wanted)))
    return found


def begin(beginning: Beginning) -> None:
    """Name an empty partition's files by its first offset, the segment last: if cut off, begin again."""
    folder, base, wanted = beginning
    for stale in (LEADER_EPOCHS, f"{base:020}.snapshot"):
        (folder / stale).unlink(missing_ok=True)
    for suffix in ("index", "timeindex", "log"):
        file = folder / f"{base:020}.{suffix}"
        if file.exists():
            file.rename(folder / f"{wanted:020}.{suffix}")


def check_stopped(data_dir: Path) -> None:
    """Raise ValueError unless the broker was stopped in good order: then it left a file.

    One that was killed may not know yet of partitions that its folder has: it would make them anew, and lead.
    """
    if not (data_dir / CLEAN).exists():
        raise ValueError(f"the broker of {data_dir} runs, or was killed: start it, and stop it in good order")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "data_dir": {"type": "path", "required": True},
            "offsets": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    data_dir = Path(module.params["data_dir"])
    try:
        check_stopped(data_dir)
        found = find_beginnings(data_dir, module.params["offsets"])
    except ValueError as error:
        module.fail_json(msg=str(error))
    for each in found:
        if not module.check_mode:
            begin(each)
    module.exit_json(changed=bool(found), partitions=[each.folder.name for each in found])


if __name__ == "__main__":
    main()
