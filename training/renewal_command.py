"""`fraud-renew-risk`: counts new records of the lake, and releases terminal risk made of them."""

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime

from flink_jobs.store.lake import LakeError
from flink_jobs.store.object_store import ObjectStoreError
from flink_jobs.store.settings import SettingsError, defaults_named, load_settings
from training.printable import printable
from training.release_writer import PromotionError
from training.risk_renewal import Renewal

_EPOCH = date(1970, 1, 1)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when terminal risk is up to date, or the lake has too little for it."""
    options = _parser().parse_args(argv)
    begun = time.monotonic()
    as_of = None if options.as_of is None else (options.as_of - _EPOCH).days
    try:
        renewed = Renewal(load_settings(options.settings), datetime.now(UTC)).run(as_of)
    except (LakeError, ObjectStoreError, PromotionError, SettingsError) as error:
        print(f"fraud-renew-risk: {printable(str(error))}", file=sys.stderr)
        return 1
    print(
        f"{renewed.records:,} new transactions, {renewed.labels:,} new labels; "
        f"{len(renewed.days)} days counted anew, {time.monotonic() - begun:.1f} s"
    )
    if renewed.release is None:
        print(f"unchanged: {renewed.reason}")
    else:
        print(f"release {renewed.release.number}: terminal risk of {renewed.risk}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fraud-renew-risk", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument(
        "--as-of",
        type=date.fromisoformat,
        metavar="DAY",
        help="make terminal risk for this day (default: today, and the latest day of the stream)",
    )
    parser.add_argument(
        "--settings",
        metavar="FILE",
        help=f"where MinIO is (default: {defaults_named()})",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
