"""The provider that a root requires is known before the root was ever initialised."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
RunHere = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.skipif(not (shutil.which("terraform") or shutil.which("tofu")), reason="Terraform is not here")
def test_a_root_with_a_backend_is_asked_before_it_is_initialised(tmp_path: Path, run_here: RunHere) -> None:
    root = tmp_path / "root"
    root.mkdir()
    # a version that is not pinned here is refused before it is built
    versions = (ROOT / "terraform/libvirt/versions.tf").read_text()
    (root / "versions.tf").write_text(versions.replace('"0.8.3"', '"9.9.9"'))
    variables = {
        "ansible_python_interpreter": "/usr/bin/python3",
        "terraform_provider_root": str(root),
        "terraform_provider_dir": str(tmp_path / "plugins"),
        "terraform_provider_name": "libvirt",
        "terraform_provider_module": "github.com/dmacvicar/terraform-provider-libvirt",
    }
    ran = run_here([{"ansible.builtin.include_role": {"name": "terraform_provider"}}], variables)
    told = " ".join((ran.stdout + ran.stderr).split())
    assert "terraform-provider-libvirt v9.9.9 is wanted" in told, told
