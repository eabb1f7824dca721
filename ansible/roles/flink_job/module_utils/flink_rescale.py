"""Which parallelism a job with shards can be given, and in which steps.

A job gathers records in shards, each in one subtask. In a snapshot, what is being gathered belongs to the
shards of the job that made it. So both the former and the new number of shards are multiples of the new
parallelism.
"""

from __future__ import annotations

import math

from ansible.module_utils.flink_cluster import JobError

MOST_SUBTASKS = 32
# Flink's key groups: a shard has one at least. With so many, each has one, so any number of subtasks can
# share them.
MOST_SHARDS = 128


def can_share(shards: int, parallelism: int) -> bool:
    """Tell whether each shard is one subtask's own."""
    return shards == MOST_SHARDS or shards % parallelism == 0


def check_shards(name: str, parallelism: int, shards: int) -> None:
    """Check that the subtasks of a job can share its shards.

    Raises:
        JobError: they cannot; says what can be.

    """
    if not 1 <= parallelism <= MOST_SUBTASKS:
        raise JobError(
            f"{name} is to have {parallelism} subtasks; it can have 1 to {MOST_SUBTASKS}. "
            f"Choose fewer: -e flink_jobs_parallelism={MOST_SUBTASKS}"
        )
    if not can_share(shards, parallelism) or not parallelism <= shards <= MOST_SHARDS:
        raise JobError(
            f"{name} is to have {shards} shards, which {parallelism} subtasks cannot share. Choose a "
            f"multiple of {parallelism}, at most {MOST_SHARDS}: -e flink_jobs_shards={2 * parallelism}"
        )


def check_rescale(name: str, parallelism: int, shards: int, former_shards: int) -> None:
    """Check that a job can go on from a snapshot of a job with other shards.

    Raises:
        JobError: it cannot; says which steps lead there, none of which needs more subtasks.

    """
    if can_share(former_shards, parallelism):
        return
    between, between_shards = max(
        (subtasks, shards if can_share(shards, subtasks) else math.lcm(subtasks, parallelism))
        for subtasks in range(1, parallelism)
        if former_shards % subtasks == 0
        and (can_share(shards, subtasks) or math.lcm(subtasks, parallelism) <= MOST_SHARDS)
    )
    raise JobError(
        f"{name} has {former_shards} shards, which {parallelism} subtasks cannot share, and what is being "
        "gathered stays with them. Nothing was stopped. Go there in two steps: first "
        f"ansible-playbook playbooks/jobs.yml -e flink_jobs_parallelism={between} "
        f"-e flink_jobs_shards={between_shards}; then what you have just run"
    )
