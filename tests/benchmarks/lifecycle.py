"""`make lifecycle`: what a model is worth in the weeks after its promotion, while terminal risk is renewed.

Needs no lab: the lake and the releases lie in a store in this process. Ends with 1 where what is served is
worse than it has to be.
"""

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests/shared"))

from runs import add_data, read_data  # noqa: E402 - the path comes first
from s3_server import s3_server  # noqa: E402

from flink_jobs.store.object_store import s3_client  # noqa: E402
from training.lifecycle import WEEKS, live  # noqa: E402
from training.lifecycle_page import lifecycle_page  # noqa: E402
from training.options import positive  # noqa: E402
from training.tables import DatasetError  # noqa: E402


def main() -> int:
    """Live, and write page and numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_data(parser)
    parser.add_argument("--weeks", type=positive, default=WEEKS, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("build"), metavar="DIR")
    options = parser.parse_args()
    try:
        dataset = read_data(options)
        with s3_server() as settings:
            for bucket in (settings.buckets.datalake, settings.buckets.models, settings.buckets.features):
                s3_client(settings.s3).create_bucket(Bucket=bucket)
            lived = live(dataset, settings, weeks=options.weeks)
    except DatasetError as error:
        print(f"lifecycle: {error}", file=sys.stderr)
        return 1
    numbers = {
        "weeks": [each._asdict() for each in lived.weeks],
        "retraining": lived.retraining,
        "renewals": lived.renewals,
        "gained": lived.gained,
        "data": {"source": dataset.source, "sha256": dataset.sha256},
    }
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "lifecycle.json").write_text(json.dumps(numbers, indent=2, default=str) + "\n")
    page = lifecycle_page(lived, dataset.source)
    (options.output / "lifecycle.html").write_text(page)
    print("week  served   fresh  retrained  not renewed")
    for each in lived.weeks:
        print(
            f"{each.week:>4}{each.served:>8.3f}{each.fresh:>8.3f}{each.retrained:>11.3f}{each.not_renewed:>13.3f}"
        )
    if lived.gained:
        print("gained by retraining: {:+.4f} to {:+.4f} in the mean (90 %)".format(*lived.gained))
    for shortcoming in lived.shortcomings():
        print(f"lifecycle: {shortcoming}", file=sys.stderr)
    return 1 if lived.shortcomings() else 0


if __name__ == "__main__":
    sys.exit(main())
