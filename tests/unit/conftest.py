"""What each unit test is kept apart from."""

import pytest


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the settings of a lab that runs in this checkout, or of this host."""
    monkeypatch.setenv("FRAUD_SETTINGS", "/nonexistent/settings.json")
