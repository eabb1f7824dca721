import json
from pathlib import Path

import pytest


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    """Names a broker and a store where none is."""
    topics = ("transactions", "predictions", "fraud_alerts", "transactions_dlq")
    settings = {
        "kafka": {"bootstrap_servers": "127.0.0.1:1"},
        "topics": dict(zip(topics, topics, strict=True)),
        "s3": {"endpoint_url": "http://127.0.0.1:1", "access_key": "a", "secret_key": "b"},
        "buckets": {name: name for name in ("datalake", "models", "features", "flink")},
    }
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(settings))
    return path
