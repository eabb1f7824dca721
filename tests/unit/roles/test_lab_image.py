"""An image of somebody else that has the alias of the hosts' image is neither replaced nor used."""

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
INCUS = """#!/bin/sh
case $1-$2 in
  image-list) cat "${0%/*}/images" ;;
  image-import) echo "$@" > "${0%/*}/imported" ;;
esac
"""
# the recipe of root_fs that the image is made of
RECIPE = "0123456789ab"


def apply(folder: Path, images: list[dict[str, object]]) -> subprocess.CompletedProcess[str]:
    """Apply the role, except for building an image, where Incus has these."""
    (folder / "images").write_text(json.dumps(images))
    (folder / "incus").write_text(INCUS)
    (folder / "incus").chmod(0o755)
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "tasks": [
            {"ansible.builtin.include_role": {"name": "lab_image", "tasks_from": name}}
            for name in ("preflight", "import")
        ],
        "vars": {"root_fs_id": RECIPE, "root_fs_dir": str(folder)},
    }
    (folder / "play.yml").write_text(json.dumps([play]))
    return subprocess.run(
        ["ansible-playbook", "--connection=local", "--inventory=localhost,", str(folder / "play.yml")],
        cwd=ROOT / "ansible",
        env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def image(*aliases: str, **properties: str) -> dict[str, object]:
    return {"aliases": [{"name": alias, "description": ""} for alias in aliases], "properties": properties}


# Incus gives null for an empty list
NAMELESS: dict[str, object] = {"aliases": None, "properties": {"os": "Debian"}}


def test_an_image_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    result = apply(tmp_path, [NAMELESS, image("debian", "fraud-debian12", os="Debian")])
    assert result.returncode != 0
    told = " ".join(result.stdout.split())
    assert "Incus has an image fraud-debian12 already, which something else made." in told
    assert "incus image alias rename fraud-debian12 NAME" in told
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize(
    ("present", "imported"),
    [
        ([NAMELESS, image("fraud-debian13", os="Debian")], True),
        ([image("fraud-debian12", recipe="ba9876543210")], True),
        ([image("fraud-debian12", recipe=RECIPE)], False),
    ],
)
def test_the_projects_own_image_is_imported_when_its_recipe_changed(
    tmp_path: Path, present: list[dict[str, object]], *, imported: bool
) -> None:
    result = apply(tmp_path, present)
    assert result.returncode == 0, result.stdout
    assert (tmp_path / "imported").exists() is imported
    if imported:
        assert f"recipe={RECIPE}" in (tmp_path / "imported").read_text()
