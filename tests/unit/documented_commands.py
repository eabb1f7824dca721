"""Checks that a command in the documentation names targets, playbooks, options and units that exist."""

import argparse
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDERS = {"docs", ".config", "ansible", "clients", "flink_jobs", "molecule", "requirements", "terraform"}
FOLDERS |= {"tests", "training"}
FILES = [
    path.relative_to(ROOT).as_posix()
    for path in chain(ROOT.glob("*"), *(ROOT.glob(f"{folder}/**/*") for folder in FOLDERS))
]
MAKEFILE = (ROOT / "Makefile").read_text()
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
# programs of the machine that a reader may use beside the project's
COMMON = {"grep", "source", "."}


def commands(text: str) -> Iterator[list[str]]:
    """Give the words of each command; a part in parentheses or after a pipe is a command of its own."""
    for line in text.splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        command: list[str] = []
        for word in chain(words, [";"]):
            if set(word) <= set("();<>|&"):
                yield from [command] if command else []
                command = []
            else:
                command.append(word)


def found(path: str) -> Path:
    """Give a path that is typed at the top of the checkout or in ansible/."""
    places = [place / path for place in (ROOT, ROOT / "ansible") if (place / path).exists()]
    assert places, f"there is no {path}"
    return places[0]


def check_make(words: list[str]) -> None:
    parts = {file.parent.name for file in ROOT.glob("molecule/*/molecule.yml")}
    parts |= set(re.findall(r"^test-([a-z]+):", MAKEFILE, re.MULTILINE))
    for word in words:
        name, is_variable, value = word.partition("=")
        if is_variable:
            assert f"$({name})" in MAKEFILE, f"make knows no variable {name}"
            assert name != "PART" or value in parts, f"make test knows no PART={value}"
            assert name != "TFVARS" or not value or (ROOT / "terraform/lab" / value).exists(), value
        else:
            assert re.search(rf"^{re.escape(word)}:", MAKEFILE, re.MULTILINE), f"make knows no target {word}"


@cache
def ansible_text() -> str:
    """Give what playbooks, roles and inventory say, without comments."""
    files = (file.read_text() for file in (ROOT / "ansible").glob("**/*.yml"))
    return re.sub(r"(^|\s)#.*", "", "\n".join(files))


@cache
def help_of(program: str) -> str:
    return subprocess.run([program, "--help"], check=True, capture_output=True, text=True).stdout


def check_playbook(words: list[str]) -> None:
    waiting = iter(words)
    for word in waiting:
        if not word.startswith("-"):
            assert (ROOT / "ansible" / word).is_file(), f"there is no playbook {word}"
            continue
        assert re.search(rf"(^|\s){word}[\s,]", help_of("ansible-playbook")), (
            f"ansible-playbook knows no {word}"
        )
        value = next(waiting, "") if word in {"-e", "--tags", "--skip-tags", "--limit"} else ""
        if not value:
            continue
        if word == "-e":
            names = json.loads(value) if value.startswith("{") else [value.partition("=")[0]]
            for name in names:
                assert re.search(rf"\b{name}\b", ansible_text()), f"nothing reads {name}"
        elif word in {"--tags", "--skip-tags"}:
            check_tags(value)


def check_tags(value: str) -> None:
    playbooks = [ROOT / "ansible/site.yml", *ROOT.glob("ansible/playbooks/*.yml")]
    tags: set[str] = set()
    for play in (play for file in playbooks for play in yaml.safe_load(file.read_text())):
        given = play.get("tags", [])
        tags |= {given} if isinstance(given, str) else {*given}
    assert set(value.split(",")) <= tags, f"no play has the tag {value}"


def check_terraform(words: list[str]) -> None:
    root = ROOT / "terraform/lab"
    for word in words:
        option, _, value = word.partition("=")
        if option == "-chdir":
            root = found(value)
        elif option == "-var-file":
            assert (root / value).is_file(), f"there is no {value} in {root}"
        elif option == "-var":
            declared = "".join(file.read_text() for file in root.glob("*.tf"))
            assert f'variable "{value.partition("=")[0]}"' in declared, f"{root} has no variable {value}"
    verbs = [word for word in words if not word.startswith("-")]
    assert verbs, "no subcommand"
    assert verbs[0] in {"init", "plan", "apply", "destroy", "state"}, f"no subcommand {verbs[0]}"


class Parsed(Exception):  # noqa: N818 - not an error
    """The command line was understood; nothing was run."""


def parser_of(script: str, arguments: list[str], *, whole: bool) -> argparse.ArgumentParser:
    """Give the parser of a console script, which has read the arguments if they are a whole command line."""
    module, _, function = SCRIPTS[script].partition(":")
    original: Any = argparse.ArgumentParser.parse_args
    seen: list[argparse.ArgumentParser] = []

    def parse_args(self: argparse.ArgumentParser, *rest: Any) -> None:  # noqa: ANN401 - as argparse has it
        seen.append(self)
        if whole:
            original(self, *rest)
        raise Parsed

    def error(_: argparse.ArgumentParser, message: str) -> None:
        raise AssertionError(f"{script}: {message}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
        patch.setattr(argparse.ArgumentParser, "error", error)
        with pytest.raises(Parsed):
            getattr(import_module(module), function)(arguments)
    return seen[0]


def understood(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Give the options and subcommands of a parser."""
    yield from parser._option_string_actions  # noqa: SLF001 - argparse has no public list of them
    for action in parser._actions:  # noqa: SLF001 - as above
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            yield from action.choices
            yield from chain.from_iterable(understood(each) for each in action.choices.values())


def check_script(script: str, words: list[str], *, whole: bool) -> None:
    assert script in SCRIPTS, f"there is no command {script}"
    known = set(understood(parser_of(script, words, whole=whole)))
    asked = [word for word in words if word.startswith("--")]
    asked += words[:1] if script == "fraud-models" else []
    assert set(asked) <= known, f"{script} knows no {set(asked) - known}"


def check_option(words: list[str]) -> None:
    """An option without its command is one of some command of the project, or of ansible-playbook."""
    scripts = chain.from_iterable(understood(parser_of(script, [], whole=False)) for script in SCRIPTS)
    if words[0] not in set(scripts):
        check_playbook(words)


def check_unit(words: list[str]) -> None:
    """`journalctl -u UNIT`, `systemctl VERB UNIT`."""
    unit = re.sub(r"@.*", "@", words[-1])
    units = {re.sub(r"\.(service|timer)\.j2", "", Path(file).name) for file in FILES if file.endswith(".j2")}
    # role scheduled_command names its units as it is told
    units.update(re.findall(r"scheduled_command_name: ([a-z-]+)$", ansible_text(), re.MULTILINE))
    assert unit in units, f"no role makes a unit {unit}"


def check_ssh(words: list[str]) -> None:
    options, host, *remote = words[:2], *words[2:]
    assert options[0] == "-F"
    assert options[1] in {
        f"build/{root.parent.name}/ssh_config" for root in ROOT.glob("terraform/*/pools.tf")
    }
    assert re.fullmatch(r"node\d+", host)
    check([word for word in remote if word != "sudo"], whole=True) if remote else None


def check_export(words: list[str]) -> None:
    name, _, value = words[0].partition("=")
    assert name in {"TERRAFORM_ROOT", "ANSIBLE_CONFIG"}
    found(value.removeprefix("$PWD/"))


def check_path(words: list[str]) -> None:
    found(words[-1])


def check_scenario(words: list[str]) -> None:
    name = words[words.index("-s") + 1]
    assert (ROOT / "molecule" / name / "molecule.yml").exists(), f"no scenario {name}"


def check_host_tool(program: str) -> None:
    tools = yaml.safe_load((ROOT / "ansible/roles/kafka/vars/main.yml").read_text())["kafka_tools"]
    scripts = {Path(file).name.removesuffix(".j2").rpartition(".")[0] for file in FILES if "/roles/" in file}
    assert program in tools or program in scripts or program.replace("-", "_") in scripts, program


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "make": check_make,
    "ansible-playbook": check_playbook,
    "terraform": check_terraform,
    "molecule": check_scenario,
    "ssh": check_ssh,
    "export": check_export,
    "journalctl": check_unit,
    "systemctl": check_unit,
    "cd": check_path,
    "pytest": check_path,
    "xargs": lambda words: check(words[2:], whole=True),  # after -d '\n'
}


def check(command: list[str], *, whole: bool) -> None:
    program, *words = command
    if program.startswith("fraud-"):
        check_script(program, words, whole=whole)
    elif program.startswith(("kafka-", "flink")):
        check_host_tool(program)
    elif program not in COMMON:
        assert program in CHECKS, f"{program}: nothing here checks it"
        CHECKS[program](words)
