"""Merge the lake's small files, one for each subtask and checkpoint, into few large ones.

`lake-compaction.timer` and playbooks/compact.yml run this with access that may write to the lake:
AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from flink_jobs.store.compaction import CompactionError, LakeFolder
from flink_jobs.store.compaction_lock import CompactionLock, CompactionLockedError
from flink_jobs.store.lake import FOLDERS
from flink_jobs.store.object_store import ObjectStoreError, s3_client
from flink_jobs.store.settings import SettingsError, load_settings


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when nothing is left to merge. What cannot be merged keeps back nothing else."""
    arguments = _parser().parse_args(argv)
    try:
        settings = load_settings()
        access = msgspec.structs.replace(
            settings.s3,
            access_key=os.environ["AWS_ACCESS_KEY_ID"],
            secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        )
        client, bucket = s3_client(access), settings.buckets.datalake
        lock = CompactionLock(client, bucket)
        outcome: list[str] = []
        problems: list[str] = []
        for folder in FOLDERS:
            try:
                compacted = LakeFolder(client, bucket, folder, lock.renew).compact(
                    arguments.target_mb * 1024 * 1024,
                    timedelta(seconds=arguments.settled_s),
                    datetime.now(UTC),
                    timedelta(seconds=arguments.kept_s),
                )
            except CompactionError as error:
                problems.append(str(error))
                continue
            problems += compacted.problems
            outcome.append(f"{folder}: {compacted}")
            print(f"s3://{bucket}/{outcome[-1]}")
        lock.release([*outcome, *problems])
    except KeyError as missing:
        print(f"compact_lake: {missing.args[0]} is not set; playbooks/compact.yml sets it", file=sys.stderr)
        return 1
    except (CompactionLockedError, ObjectStoreError, SettingsError) as error:
        print(f"compact_lake: {error}", file=sys.stderr)
        return 1
    for problem in problems:
        print(f"compact_lake: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="compact_lake", description=__doc__)
    parser.add_argument("--target-mb", type=int, default=128, help="size of a merged file, in MB")
    parser.add_argument(
        "--settled-s",
        type=int,
        default=3600,
        help="leave alone the newest file and those written up to so many seconds before it",
    )
    parser.add_argument(
        "--kept-s",
        type=int,
        default=3600,
        help="delete what was merged so many seconds after the merge: who listed it has read it by then",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
