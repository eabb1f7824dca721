"""An image of somebody else that has the alias of the hosts' image is neither replaced nor used."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

RunHere = Callable[..., subprocess.CompletedProcess[str]]
Apply = Callable[[list[dict[str, object]]], subprocess.CompletedProcess[str]]
INCUS = """#!/bin/sh
case $1-$2 in
  image-list) cat "${0%/*}/images" ;;
  image-import) echo "$@" > "${0%/*}/imported" ;;
esac
"""
# the recipe of root_fs that the image is made of
RECIPE = "0123456789ab"


@pytest.fixture
def apply(tmp_path: Path, run_here: RunHere) -> Apply:
    """Apply the role, except for building an image, where Incus has these."""

    def run(images: list[dict[str, object]]) -> subprocess.CompletedProcess[str]:
        (tmp_path / "images").write_text(json.dumps(images))
        (tmp_path / "incus").write_text(INCUS)
        (tmp_path / "incus").chmod(0o755)
        parts = [
            {"ansible.builtin.include_role": {"name": "lab_image", "tasks_from": name}}
            for name in ("preflight", "import")
        ]
        return run_here(parts, {"root_fs_id": RECIPE, "root_fs_dir": str(tmp_path)})

    return run


def image(*aliases: str, **properties: str) -> dict[str, object]:
    return {"aliases": [{"name": alias, "description": ""} for alias in aliases], "properties": properties}


# Incus gives null for an empty list
NAMELESS: dict[str, object] = {"aliases": None, "properties": {"os": "Debian"}}


def test_an_image_of_somebody_else_is_not_replaced(tmp_path: Path, apply: Apply) -> None:
    result = apply([NAMELESS, image("debian", "fraud-debian12", os="Debian")])
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
    tmp_path: Path, apply: Apply, present: list[dict[str, object]], *, imported: bool
) -> None:
    result = apply(present)
    assert result.returncode == 0, result.stdout
    assert (tmp_path / "imported").exists() is imported
    if imported:
        assert f"recipe={RECIPE}" in (tmp_path / "imported").read_text()
