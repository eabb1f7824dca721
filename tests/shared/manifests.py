"""A model's manifest, for tests that make a model of their own."""

from flink_jobs.domain.features import FEATURE_NAMES
from flink_jobs.domain.manifest import Manifest


def manifest_with(**fields: object) -> Manifest:
    """Give the manifest of a model on histories, with all of its features and with these fields."""
    plain = {
        "version": "v",
        "created_at": "2024-03-01T00:00:00Z",
        "kind": "history",
        "features": list(FEATURE_NAMES),
        "threshold": 0.5,
        "metrics": {},
        "data": {},
        "libraries": {},
        "files": {},
        "fingerprint": "",
    }
    return Manifest(**(plain | fields))
