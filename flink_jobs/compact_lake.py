"""Merge the lake's small files, one for each subtask and checkpoint, into few large ones.

playbooks/compact.yml runs this with Flink's access to the lake: AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY.
"""

import argparse
import os
import sys
from datetime import timedelta

import msgspec

from flink_jobs.store.compaction import CompactionError, compact
from flink_jobs.store.lake import LABELS_FOLDER, TRANSACTIONS_FOLDER
from flink_jobs.store.object_store import ObjectStoreError, s3_client
from flink_jobs.store.settings import SettingsError, load_settings


def main() -> int:
    """Run the command; 0 when no files are left to merge."""
    parser = argparse.ArgumentParser(prog="compact_lake", description=__doc__)
    parser.add_argument("--target-mb", type=int, default=128, help="size of a merged file, in MB")
    parser.add_argument(
        "--settled-s",
        type=int,
        default=3600,
        help="leave alone the newest file and those written up to so many seconds before it",
    )
    arguments = parser.parse_args()
    try:
        settings = load_settings()
        access = msgspec.structs.replace(
            settings.s3,
            access_key=os.environ["AWS_ACCESS_KEY_ID"],
            secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        )
        client, bucket = s3_client(access), settings.buckets.datalake
        for folder in (TRANSACTIONS_FOLDER, LABELS_FOLDER):
            merged = compact(
                client,
                bucket,
                folder,
                arguments.target_mb * 1024 * 1024,
                timedelta(seconds=arguments.settled_s),
            )
            what = f"{merged.files} files became {merged.into}" if merged.files else "nothing to merge"
            print(f"s3://{bucket}/{folder}: {what}")
    except KeyError as missing:
        print(f"compact_lake: {missing.args[0]} is not set; playbooks/compact.yml sets it", file=sys.stderr)
        return 1
    except (CompactionError, ObjectStoreError, SettingsError) as error:
        print(f"compact_lake: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
