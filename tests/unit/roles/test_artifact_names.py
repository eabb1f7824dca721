"""An artefact is named by all that it is made of: what changes is built again, as another release."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar

init_plugin_loader()  # lookups

ROOT = Path(__file__).parents[3]
GROUP_VARS = ROOT / "ansible/inventory/group_vars/all"
ROLE = ROOT / "ansible/roles/artifacts"
# What each is made of; the rest of versions.yml is not packed.
MADE_OF = {
    "kafka": {"kafka_version", "scala_version", "log4j_version"},
    "zookeeper": {"zookeeper_version", "log4j_version"},
    "flink": {"flink_version", "flink_kafka_connector_version", "hadoop_version", "zstd_jni_version"},
    "minio": {"minio_version"},
}
NOT_PACKED = {"java_package"}
# Tasks that make no artefact: checks, and the project's own wheel, which is built each time.
NO_RECIPES = {"tasks/main.yml", "tasks/preflight.yml", "tasks/app.yml"}


def versions() -> dict[str, str]:
    loaded: dict[str, str] = yaml.safe_load((GROUP_VARS / "versions.yml").read_text())
    return loaded


def names(root: Path = ROOT, **changed: str) -> dict[str, str]:
    """The path of every artefact, by artefact, with some versions changed."""
    loader = DataLoader()
    loader.set_basedir(str(root))
    variables: dict[str, Any] = {}
    for file in sorted(GROUP_VARS.glob("*.yml")):
        variables |= loader.load_from_file(str(file), trusted_as_template=True)
    templar = Templar(loader, variables | {"project_root": str(root), "artifacts_dir": "/cache"} | changed)
    programs: dict[str, str] = templar.template(variables["artifacts"])
    packages: dict[str, str] = templar.template(variables["package_archives"])
    return programs | {f"wheels {place}": archive for place, archive in packages.items()}


def others(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what artefacts are made of."""
    shutil.copytree(ROLE, tmp_path / "ansible/roles/artifacts")
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    return tmp_path


def test_each_version_is_packed_or_known_not_to_be() -> None:
    assert set.union(*MADE_OF.values()) | NOT_PACKED == versions().keys()


@pytest.mark.parametrize("version", sorted(set.union(*MADE_OF.values())))
def test_another_version_of_a_part_is_another_artefact_where_it_is_packed_and_nowhere_else(
    version: str,
) -> None:
    packed_in = {name for name, made_of in MADE_OF.items() if version in made_of}
    assert others(names(), names(**{version: versions()[version] + ".1"})) == packed_in


def test_same_content_elsewhere_has_the_same_name(checkout: Path) -> None:
    assert names(checkout) == names()


RECIPES = {
    str(file.relative_to(ROLE))
    for folder in ("files", "tasks")
    for file in (ROLE / folder).rglob("*")
    if file.is_file()
}
# Otherwise, the recipe's folder or the first word of its name says which.
PACKED_BY = {"pack": {"kafka", "zookeeper", "flink"}, "wheels": {"wheels flink", "wheels training"}}


@pytest.mark.parametrize("recipe", sorted(RECIPES - NO_RECIPES))
def test_another_recipe_is_another_artefact(checkout: Path, recipe: str) -> None:
    file = checkout / "ansible/roles/artifacts" / recipe
    file.write_text(file.read_text() + "# another\n")
    program = re.split("[/_.]", recipe)[1]
    assert others(names(), names(checkout)) == PACKED_BY.get(program, {program})


@pytest.mark.parametrize(
    ("lock", "artefacts"),
    [
        ("flink.txt", {"wheels flink"}),
        ("training.txt", {"wheels training"}),
        ("uv.txt", {"wheels flink", "wheels training"}),
    ],
)
def test_another_lock_is_another_archive(checkout: Path, lock: str, artefacts: set[str]) -> None:
    file = checkout / "requirements" / lock
    file.write_text(file.read_text() + "# another\n")
    assert others(names(), names(checkout)) == artefacts
