"""`pytest --draw 8` runs eight of the tests, others with each commit, besides those that are marked `always`.

FRAUD_SEED=number draws as it says instead, and FRAUD_SEED=all runs all.
"""

import os
import random
import subprocess

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--draw", type=int, metavar="COUNT", help="run only so many tests, drawn by the commit or FRAUD_SEED"
    )


def seed() -> str:
    """FRAUD_SEED, else the checkout's commit, else a constant."""
    if given := os.environ.get("FRAUD_SEED"):
        return given
    ran = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return ran.stdout.strip()[:12] or "5"


def pytest_report_header(config: pytest.Config) -> str | None:
    count = config.getoption("--draw")
    return f"draw: {count} tests, by FRAUD_SEED={seed()}" if count is not None else None


@pytest.hookimpl(trylast=True)  # after -m and --deselect
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    count = config.getoption("--draw")
    if count is None or seed() == "all":
        return
    pool = [item for item in items if item.get_closest_marker("always") is None]
    drawn = random.Random(seed()).sample(pool, min(count, len(pool)))  # noqa: S311 - no secret
    left = [item for item in pool if item not in drawn]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]
