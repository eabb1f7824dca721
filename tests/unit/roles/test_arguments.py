"""A role's argument specs are its documentation: they name what its defaults name, and what has none."""

import re
from pathlib import Path

import pytest
import yaml

ROLES = sorted((Path(__file__).parents[3] / "ansible/roles").iterdir())


def test_each_role_is_verified_somewhere() -> None:
    molecule = Path(__file__).parents[3] / "molecule"
    scenarios = {file.parent.name for file in molecule.glob("*/molecule.yml")}
    others = set(re.findall(r"^\| (\w+) \| [^|]*\|$", (molecule / "README.md").read_text(), re.MULTILINE))
    assert {role.name for role in ROLES} - scenarios == others - {"role"}


def test_each_scenario_has_as_many_hosts_as_the_readme_says() -> None:
    molecule = Path(__file__).parents[3] / "molecule"
    told = re.findall(r"^\| (\w+) \| (\d+) \|", (molecule / "README.md").read_text(), re.MULTILINE)
    hosts = {
        file.parent.name: str(len(yaml.safe_load(file.read_text())["platforms"]))
        for file in molecule.glob("*/molecule.yml")
    }
    assert dict(told) == hosts


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_and_argument_specs_name_the_same(role: Path) -> None:
    defaults = set(yaml.safe_load((role / "defaults/main.yml").read_text()) or {})
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    options = specs["main"].get("options", {})
    required = {name for name, option in options.items() if option.get("required")}
    optional = options.keys() - required
    assert defaults - options.keys() == set(), "have a default, but no description"
    assert required & defaults == set(), "are required, but have a default"
    assert optional - defaults == set(), "are described as optional, but have no default"


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_in_the_argument_specs_are_those_of_the_role(role: Path) -> None:
    defaults = yaml.safe_load((role / "defaults/main.yml").read_text()) or {}
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    told = {
        name: option["default"]
        for name, option in specs["main"].get("options", {}).items()
        if "default" in option
    }
    assert told == {name: defaults[name] for name in told}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_arguments_are_named_after_their_role(role: Path) -> None:
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    strangers = [name for name in specs["main"].get("options", {}) if not name.startswith(f"{role.name}_")]
    assert strangers == []
