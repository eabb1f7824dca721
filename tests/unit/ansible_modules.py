"""Loads what Ansible copies to hosts, which is in no package."""

import importlib.util
import sys
from pathlib import Path
from typing import Any


def load(name: str, file: Path) -> Any:  # noqa: ANN401 - a module that mypy does not know
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded
    spec.loader.exec_module(loaded)
    return loaded
