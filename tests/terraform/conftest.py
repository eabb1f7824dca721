import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]

# Modules without a provider, that have tests beside them.
TESTED_MODULES = sorted(
    f"modules/{file.parent.name}" for file in PROJECT.glob("terraform/modules/*/*.tftest.hcl")
)

Terraform = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """Run Terraform (or OpenTofu) on a copy of the project: no state of a real lab is read or written."""
    program = shutil.which("terraform") or shutil.which("tofu") or PROJECT / ".venv/bin/tofu"
    copy = tmp_path_factory.mktemp("project")
    ignored = shutil.ignore_patterns(".terraform", "*.tfstate*", "plugins")
    shutil.copytree(PROJECT / "terraform", copy / "terraform", ignore=ignored)
    shutil.copytree(PROJECT / "ansible/inventory/group_vars", copy / "ansible/inventory/group_vars")
    env = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}

    def run(folder: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(program), f"-chdir={copy / 'terraform' / folder}", *arguments, "-no-color"]
        return subprocess.run(command, check=False, capture_output=True, text=True, env=env)

    for folder in ("lab", *TESTED_MODULES):
        result = run(folder, "init", "-input=false")
        assert result.returncode == 0, result.stderr
    return run
