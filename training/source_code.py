"""Which code and libraries made a model."""

import hashlib
import importlib.metadata
import subprocess
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).parents[1]
# Modules that decide a model; the others read, write and serve it.
_PACKAGES = ("training", "flink_jobs/domain")
_LIBRARIES = ("scikit-learn", "skl2onnx", "onnx", "onnxruntime", "numpy", "pandas")


@cache
def code_sha256() -> str:
    """Digest of the modules that decide a model, installed or checked out."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for file in sorted((_ROOT / package).glob("*.py")):
            digest.update(f"{package}/{file.name}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


@cache
def commit() -> str | None:
    """Give the commit that is checked out; None where the code is installed, or differs from any commit."""
    if not (_ROOT / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(_ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 - its own words

    try:
        return None if git("status", "--porcelain", "--", *_PACKAGES) else git("rev-parse", "HEAD")
    except (OSError, subprocess.CalledProcessError):
        return None


def library_versions() -> dict[str, str]:
    """Versions of the libraries that make a model."""
    return {name: importlib.metadata.version(name) for name in _LIBRARIES}


def package_version() -> str:
    """Version of this project as installed."""
    try:
        return importlib.metadata.version("fraud-detection")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
