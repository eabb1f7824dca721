"""One JVM for all of them, and a store with a model that calls everything a fraud."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from pyflink.java_gateway import get_gateway
from s3_server import s3_server
from sklearn.ensemble import RandomForestClassifier

from flink_jobs.domain.features import FEATURE_NAMES
from flink_jobs.domain.terminal_risk import SCHEMA
from flink_jobs.store.object_store import s3_client
from flink_jobs.store.settings import Settings
from training.publish import Candidate, promote, write

ROOT = Path(__file__).parents[2]
FLINK_HOME = ROOT / "build/flink"


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a store in which a model is promoted that raises an alert, with its features, each time."""
    with s3_server() as settings:
        for bucket in (settings.buckets.models, settings.buckets.features, settings.buckets.datalake):
            s3_client(settings.s3).create_bucket(Bucket=bucket)
        matrix = np.random.default_rng(0).uniform(0, 200, (50, len(FEATURE_NAMES))).astype(np.float32)
        candidate = Candidate(
            forest=RandomForestClassifier(2, random_state=0).fit(matrix, matrix[:, 0] > 100),
            kind="history",
            features=FEATURE_NAMES,
            threshold=0.0,
            threshold_choice={},
            metrics={},
            data={},
            twin={},
            calibration=None,
            fingerprint="",
            holdout=matrix,
            scores=np.linspace(0, 1, len(matrix)),
            terminal_risk=SCHEMA.empty_table(),
        )
        folder = tmp_path_factory.mktemp("model")
        write(candidate, folder)
        promote(folder, settings)
        yield settings


@pytest.fixture(scope="session")
def flink(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The JVM that jobs run in, Python of their tasks included; it ends with the tests."""
    if not (FLINK_HOME / "installed").exists():
        pytest.fail(f"{FLINK_HOME} is missing: make build/flink/installed unpacks Flink there", pytrace=False)
    folder = tmp_path_factory.mktemp("flink")
    (folder / "settings.json").write_bytes(msgspec.json.encode(settings))
    packages = [path for path in sys.path if path.endswith("site-packages")]
    # tasks import what is checked out, and operators of tests
    imported = [str(ROOT), str(Path(__file__).parent), str(ROOT / "tests/shared"), *packages]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "FLINK_HOME": str(FLINK_HOME),
            "FLINK_LOG_DIR": str(folder),
            "FRAUD_SETTINGS": str(folder / "settings.json"),
            "PYTHONPATH": os.pathsep.join(imported),
            # short-lived: no time for the optimizing compiler
            "JVM_ARGS": "-Xmx1g -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Duser.timezone=UTC",
        }.items():
            patch.setenv(name, value)
        gateway = get_gateway()
    yield
    gateway.shutdown()
