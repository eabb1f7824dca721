import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PLUGINS = PROJECT / "terraform/plugins"


class Root:
    """A Terraform root in a copy of the project: no state of real hosts is read or written."""

    def __init__(self, project: Path, name: str) -> None:
        self.project = project
        self.path = project / "terraform" / name
        self.program = shutil.which("terraform") or shutil.which("tofu") or PROJECT / ".venv/bin/tofu"
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [str(self.program), f"-chdir={self.path}", *arguments, "-no-color"]
        result = subprocess.run(command, check=False, capture_output=True, text=True, env=self.env)
        assert result.returncode == 0 or not check, f"{' '.join(command)}\n{result.stdout}{result.stderr}"
        return result

    def watch(self, *arguments: str) -> None:
        watch([str(self.program), f"-chdir={self.path}", *arguments, "-no-color"], self.env)


def watch(command: list[str], env: dict[str, str], cwd: Path = PROJECT, timeout_s: float = 1800) -> None:
    """Run a command for `timeout_s` at most; its output is seen at once (pytest -s), as it takes minutes."""
    started = time.monotonic()
    print(f"\n==> {' '.join(command)}", flush=True)
    result = subprocess.run(command, check=False, env=env, cwd=cwd, timeout=timeout_s)
    print(f"==> ended with {result.returncode} after {time.monotonic() - started:.0f} s", flush=True)
    assert result.returncode == 0, (
        f"{' '.join(command)} ended with {result.returncode}; its output stands above"
    )


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("project")
    ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*", "plugins")
    shutil.copytree(PROJECT / "terraform", copy / "terraform", ignore=ignored)
    shutil.copytree(PROJECT / "ansible/inventory/group_vars", copy / "ansible/inventory/group_vars")
    return copy
