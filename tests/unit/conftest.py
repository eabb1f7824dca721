"""What each unit test is kept apart from."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the settings of a lab that runs in this checkout, or of this host."""
    monkeypatch.setenv("FRAUD_SETTINGS", str(tmp_path / "no-settings.json"))
