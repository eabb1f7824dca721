"""Each Terraform root's hosts have secrets of their own, and messages name the root that is in use."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def ansible(project: Path, root: str, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Ansible before any host is made, on a project in another folder."""
    inventory = project / "inventory"
    inventory.mkdir(exist_ok=True)
    if not (inventory / "group_vars").exists():
        (inventory / "group_vars").symlink_to(ROOT / "ansible/inventory/group_vars")
    return subprocess.run(
        [program, "--inventory", str(inventory), "--extra-vars", f"project_root={project}", *arguments],
        cwd=ROOT / "ansible",
        env=os.environ | {"TERRAFORM_ROOT": root, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("root", "folder"),
    [
        ("terraform/lab", "{project}/build/lab"),
        ("terraform/libvirt/", "{project}/build/libvirt"),
        ("/srv/copy/terraform/aws", "/srv/copy/build/aws"),
    ],
)
def test_a_deployments_own_files_lie_under_its_name(tmp_path: Path, root: str, folder: str) -> None:
    shown = ansible(tmp_path, root, "ansible", "localhost", "-m", "debug", "-a", "var=secrets_dir")
    assert f"{folder.format(project=tmp_path)}/secrets" in shown.stdout, shown.stdout + shown.stderr


@pytest.mark.parametrize(
    "versions", sorted(ROOT.glob("terraform/*/versions.tf")), ids=lambda file: file.parent.name
)
def test_a_roots_state_lies_under_its_own_name(versions: Path) -> None:
    """A backend's path takes no variable: a copied root with the same path would use the other's state."""
    assert f'path = "../../build/{versions.parent.name}/terraform.tfstate"' in versions.read_text()


def test_a_checkout_that_has_made_nothing_yet_is_told_what_to_do_first(tmp_path: Path) -> None:
    told = validate(tmp_path, "terraform/lab")
    assert "Make them with: terraform -chdir=terraform/lab apply" in told
    assert "changed=0" in told, told


@pytest.fixture
def former(tmp_path: Path) -> Path:
    """A project whose secrets an earlier version has made."""
    (tmp_path / "build/secrets").mkdir(parents=True)
    (tmp_path / "build/secrets/minio_root").write_text("former")
    (tmp_path / "build/past-simulation-2025-04-18.json").touch()
    return tmp_path


def validate(project: Path, root: str) -> str:
    return " ".join(ansible(project, root, "ansible-playbook", "playbooks/validate.yml").stdout.split())


def test_a_lab_keeps_the_secrets_that_it_was_made_with(former: Path) -> None:
    assert "Make them with: terraform -chdir=terraform/lab apply" in validate(former, "terraform/lab")
    assert (former / "build/lab/secrets/minio_root").read_text() == "former"
    assert (former / "build/lab/past-simulation-2025-04-18.json").exists()
    assert sorted(path.name for path in (former / "build").iterdir()) == ["lab"]


def test_no_other_deployment_takes_the_labs_secrets(former: Path) -> None:
    assert "Make them with: terraform -chdir=terraform/libvirt apply" in validate(former, "terraform/libvirt")
    assert (former / "build/secrets/minio_root").exists()
    assert not (former / "build/libvirt").exists()


def test_other_deployments_keep_the_secrets_that_they_were_made_with(former: Path) -> None:
    """States used to lie in their roots: libvirt's was moved since, aws' was not, and gone's is empty."""
    made, gone = '{"resources": [{"instances": []}]}', '{"resources": []}'
    states = {
        "terraform/libvirt/terraform.tfstate": "",
        "build/libvirt/terraform.tfstate": made,
        "terraform/aws/terraform.tfstate": made,
        "terraform/gone/terraform.tfstate": gone,
        # one that this version made, and one that has its own secrets already
        "build/new/terraform.tfstate": made,
        "terraform/given/terraform.tfstate": made,
        "build/given/secrets/minio_root": "its own",
    }
    for path, state in states.items():
        (former / path).parent.mkdir(parents=True)
        (former / path).write_text(state)
    (former / "build/secrets/minio_root").chmod(0o600)
    validate(former, "terraform/lab")
    kept = {file.parts[-3]: file for file in former.glob("build/*/secrets/minio_root")}
    texts = {"aws": "former", "lab": "former", "libvirt": "former", "given": "its own"}
    assert {name: file.read_text() for name, file in kept.items()} == texts
    assert kept["libvirt"].stat().st_mode & 0o777 == 0o600


def test_secrets_that_are_there_are_not_replaced(former: Path) -> None:
    (former / "build/lab/secrets").mkdir(parents=True)
    validate(former, "terraform/lab")
    assert not list((former / "build/lab/secrets").iterdir())
