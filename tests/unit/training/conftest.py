from datetime import date
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from memory_store import MemoryStore
from nobodys_settings import SETTINGS

from flink_jobs.store import object_store
from flink_jobs.store.settings import Settings
from training.simulate import simulate


@pytest.fixture(scope="session")
def handbook_frame() -> pd.DataFrame:
    """Sixty days of a small town."""
    return simulate(customers=150, terminals=200, days=60, start=date(2024, 3, 1), seed=0)


@pytest.fixture
def ready_frame() -> pd.DataFrame:
    """Two days in the schema of creditcard.csv: V1 tells fraud."""
    rng = np.random.default_rng(0)
    rows = 600
    frame = pd.DataFrame({"Time": np.sort(rng.integers(0, 172_800, rows)).astype(float)})
    labels = (rng.random(rows) < 0.2).astype(int)
    for n in range(1, 29):
        frame[f"V{n}"] = rng.normal(size=rows) + (4.0 * labels if n == 1 else 0.0)
    frame["Amount"] = rng.gamma(2.0, 40.0, rows).round(2)
    frame["Class"] = labels
    return frame


@pytest.fixture
def settings() -> Settings:
    return SETTINGS


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    memory = MemoryStore()
    monkeypatch.setattr(object_store.boto3, "client", lambda *_, **_options: memory)
    return memory


@pytest.fixture
def settings_file(tmp_path: Path, settings: Settings) -> Path:
    path = tmp_path / "settings.json"
    path.write_bytes(msgspec.json.encode(settings))
    return path
