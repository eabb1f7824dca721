"""The domain runs alike in a TaskManager, in training and in a test: it knows neither pyflink nor pandas."""

import subprocess
import sys
from pathlib import Path

import flink_jobs.domain

FORBIDDEN = ("pyflink", "pandas", "sklearn")


def test_the_domain_imports_neither_pyflink_nor_pandas() -> None:
    modules = sorted(
        f"flink_jobs.domain.{file.stem}" for file in Path(flink_jobs.domain.__path__[0]).glob("[!_]*.py")
    )
    assert "flink_jobs.domain.history" in modules
    program = f"import sys, {', '.join(modules)}; print(*sorted(set(sys.modules) & set({FORBIDDEN!r})))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not ran.stdout.strip(), f"importing the domain also imports {ran.stdout}"
