"""What make calls, in which order and with what, seen by stand-ins for Terraform and Ansible."""

import os
import re
import shutil
import subprocess
import sys
import time
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from training.instants import parse_instant

ROOT = Path(__file__).parents[2]
# the programs of a bare machine that make needs for the lab; terraform and tofu are not among them
BARE = (
    "bash",
    "cat",
    "chmod",
    "cksum",
    "date",
    "env",
    "make",
    "mkdir",
    "mv",
    "rm",
    "sh",
    "sleep",
    "test",
    "touch",
)
STAND_IN = """#!/bin/sh
printf '%s\\037' "${0##*/}" "$TERRAFORM_ROOT" "$ANSIBLE_CONFIG" "$@" >> "${0%/*}/calls"
echo >> "${0%/*}/calls"
"""
BUILDS_TOFU = """
case $* in *control_node.yml*) cat "${0%/*}/stand_in" > "${0%/*}/tofu"; chmod +x "${0%/*}/tofu";; esac
"""

# writes the file that the option in {option} names
WRITES = """
until [ "$1" = {option} ]; do shift; done
echo written > "$2"
"""


class Checkout:
    """A checkout on a bare machine: the Makefile, and stand-ins for what it calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.machine = folder.parent / "bin"
        self.machine.mkdir()
        for name in BARE:
            program = shutil.which(name)
            assert program
            (self.machine / name).symlink_to(program)
        for path in (
            "ansible/inventory/group_vars/all",
            "ansible/playbooks",
            "build/flink",
            "requirements",
            "terraform/lab/scripts",
            ".venv/bin",
        ):
            (folder / path).mkdir(parents=True)
        shutil.copy(ROOT / "Makefile", folder)
        for path in (
            "requirements/uv.txt",
            "requirements/dev.txt",
            "pyproject.toml",
            "ansible/playbooks/jobs_tests.yml",
            "ansible/inventory/group_vars/all/versions.yml",
            ".venv/installed",
            "build/flink/installed",
        ):
            (folder / path).touch()
        (folder / "terraform/lab/grown.tfvars").write_text("pools = {}\n")
        (folder / ".venv/bin/stand_in").write_text(STAND_IN)
        self.program(".venv/bin/ansible-playbook", STAND_IN + BUILDS_TOFU)
        self.refuse_plans(with_status=0)

    def program(self, path: str, text: str) -> None:
        file = self.folder / path
        file.write_text(text)
        file.chmod(0o755)

    def let_stream(self) -> None:
        """Let make stream come to its end, which needs the project's Python."""
        self.program(".venv/bin/fraud-producer", STAND_IN)
        self.program(".venv/bin/fraud-consumer", STAND_IN + WRITES.format(option="--ready-file"))
        self.program(".venv/bin/fraud-audit", STAND_IN + WRITES.format(option="--output"))
        python = f"#!/bin/sh\nPYTHONPATH='{ROOT}' exec '{sys.executable}' \"$@\"\n"
        self.program(".venv/bin/python", python)
        (self.folder / "build/lab").mkdir()
        (self.folder / "build/lab/where-to-look.txt").touch()

    def refuse_plans(self, with_status: int) -> None:
        self.program("terraform/lab/scripts/check_plan.py", f"#!/bin/sh\nexit {with_status}\n")

    def make(self, *arguments: str, fails: bool = False, **variables: str) -> list[list[str]]:
        """Run make; return its calls of Terraform or OpenTofu, and of Ansible."""
        calls = self.folder / ".venv/bin/calls"
        calls.unlink(missing_ok=True)
        environment = {"PATH": str(self.machine), "HOME": "/root", "TERRAFORM_ROOT": "terraform/libvirt"}
        environment |= variables
        ran = subprocess.run(
            ["make", *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ran.returncode != 0) is fails, ran.stdout + ran.stderr
        seen = calls.read_text().splitlines() if calls.exists() else []
        made = [call.removesuffix("\x1f").split("\x1f") for call in seen]
        # make is about the lab, though TERRAFORM_ROOT names another deployment
        assert {root for _, root, *_ in made} <= {"terraform/lab"}
        assert {config for _, _, config, *_ in made} <= {str(self.folder / "ansible/ansible.cfg")}
        return [[program, *arguments] for program, _, _, *arguments in made]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    folder = tmp_path / "a checkout"
    folder.mkdir()
    return Checkout(folder)


def planned_with(calls: list[list[str]]) -> list[str]:
    """Return the var-files of the plan."""
    (plan,) = (call for call in calls if "plan" in call)
    return [argument.removeprefix("-var-file=") for argument in plan if argument.startswith("-var-file=")]


def extra_variables(site: list[str]) -> dict[str, Any]:
    """Return those that site.yml is given as YAML."""
    found = {}
    for option, value in pairwise(site):
        if option == "-e" and value.startswith("{"):
            found |= yaml.safe_load(value)
    return found


def test_a_bare_machine_gets_opentofu_and_uses_it(checkout: Checkout) -> None:
    calls = checkout.make("up")
    assert [call[0] for call in calls] == ["ansible-playbook", *["tofu"] * 4, "ansible-playbook"]
    commands = [next(word for word in call[1:] if not word.startswith("-")) for call in calls]
    assert commands == ["playbooks/control_node.yml", "init", "plan", "show", "apply", "site.yml"]


def test_a_grown_topology_stays_grown(checkout: Checkout) -> None:
    assert planned_with(checkout.make("up")) == []
    assert planned_with(checkout.make("up", "TFVARS=grown.tfvars")) == ["grown.tfvars"]
    (checkout.folder / "terraform/lab/grown.tfvars").unlink()
    (remembered,) = planned_with(checkout.make("up"))
    assert (checkout.folder / "terraform/lab" / remembered).read_text() == "pools = {}\n"
    assert planned_with(checkout.make("up", "TFVARS=")) == []
    assert planned_with(checkout.make("up")) == []


def test_a_plan_that_is_refused_is_neither_applied_nor_remembered(checkout: Checkout) -> None:
    checkout.refuse_plans(with_status=1)
    calls = checkout.make("up", "TFVARS=grown.tfvars", fails=True)
    assert not any("apply" in call or "site.yml" in call for call in calls)
    checkout.refuse_plans(with_status=0)
    assert planned_with(checkout.make("up")) == []


# the second: of a lab that an earlier version made
@pytest.mark.parametrize("state", ["build/lab/terraform.tfstate", "terraform/lab/terraform.tfstate"])
def test_down_removes_the_lab_and_nothing_of_others(checkout: Checkout, state: str) -> None:
    checkout.make("up", "TFVARS=grown.tfvars")
    for path in ("build/libvirt/secrets/minio_root", "build/aws/ssh/id_ed25519", "build/evaluation.html"):
        (checkout.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (checkout.folder / path).touch()
    others = {path for path in checkout.folder.glob("build/**/*") if "lab" not in path.parts}
    (checkout.folder / "build/lab/secrets").mkdir()
    (checkout.folder / state).touch()

    calls = checkout.make("down")
    assert ["destroy" in call for call in calls] == [False, True, False]
    assert set(checkout.folder.glob("build/**/*")) == others
    assert not (checkout.folder / state).exists()


# the second: preparing the machine failed half way
@pytest.mark.parametrize("prepared", [True, False])
def test_down_removes_what_a_plan_alone_has_made(checkout: Checkout, *, prepared: bool) -> None:
    if not prepared:
        checkout.program(".venv/bin/ansible-playbook", "#!/bin/sh\nexit 1\n")
    checkout.make("plan", fails=not prepared)
    checkout.program(".venv/bin/ansible-playbook", STAND_IN)
    assert checkout.make("down") == [["ansible-playbook", "playbooks/control_node_remove.yml"]]
    assert not (checkout.folder / "build/lab").exists()
    assert checkout.make("down") == []


def test_the_parts_of_make_test_and_their_budgets(checkout: Checkout) -> None:
    for name in ("ansible-lint", "git", "mypy", "pytest", "ruff", "shellcheck", "yamllint"):
        checkout.program(f".venv/bin/{name}", STAND_IN)
    calls = checkout.make("test")
    folders = [word for call in calls if call[0] == "pytest" for word in call if word.startswith("tests/")]
    scenarios = "tests/roles/test_scenarios.py"
    parts = ["tests/unit", "tests/parity", "tests/jobs", "tests/roles", scenarios]
    assert [folder for folder in folders if "::" not in folder] == [*parts, "tests/terraform", "tests/system"]
    # they run before the scenarios, as they use the name of a scenario's host
    assert [call for call in calls if f"--ignore={scenarios}" in call] == [
        call for call in calls if "tests/roles" in call
    ]
    own = {folder.partition("::")[2] for folder in folders if "::" in folder}
    assert own == {f"test_role[{name}]" for name in ("cluster", "control_node", "upgrade")}
    # by make test alone: a part runs all that it has
    assert {call[-1] if "system" in call[-1] else "scenarios" for call in calls if "--draw" in call} == {
        "tests/system",
        "scenarios",
    }
    for part in ("roles", "lab"):
        assert not any("--draw" in call for call in checkout.make("test", f"PART={part}"))
    times = [line.split() for line in (checkout.folder / "build/test-times").read_text().splitlines()]
    assert [part for part, _, _ in times] == ["check", "roles", "lab"]
    assert sum(int(budget) for _, budget, _ in times) == 60


def test_another_lab_on_this_machine_ends_make_test_before_its_first_part(checkout: Checkout) -> None:
    checkout.refuse_plans(with_status=1)
    for name in ("git", "mypy", "pytest", "ruff"):
        checkout.program(f".venv/bin/{name}", STAND_IN)
    calls = checkout.make("test", fails=True)
    assert "plan" in " ".join(word for call in calls for word in call)
    assert {call[0] for call in calls}.isdisjoint({"mypy", "pytest", "ruff"})


def test_slow_tests_of_a_scenario_run_in_its_own_part_alone(checkout: Checkout) -> None:
    for name in ("ansible-lint", "git", "mypy", "ruff", "shellcheck", "yamllint"):
        checkout.program(f".venv/bin/{name}", STAND_IN)
    noted = checkout.folder / "noted"
    checkout.program(".venv/bin/pytest", f'#!/bin/sh\necho "${{SCENARIOS_IN_SHORT:-whole}} $*" >>"{noted}"\n')
    (checkout.folder / "molecule/kafka").mkdir(parents=True)
    (checkout.folder / "molecule/kafka/molecule.yml").touch()

    def how(*arguments: str) -> set[str]:
        noted.unlink(missing_ok=True)
        checkout.make("test", *arguments)
        runs = [line.split() for line in noted.read_text().splitlines()]
        return {run[0] for run in runs if any(word.startswith("tests/roles/test_scenarios") for word in run)}

    assert how() == {"1"}
    assert how("PART=roles") == {"1"}
    assert how("PART=kafka") == {"whole"}


def test_flink_is_unpacked_for_the_jobs_tests_once_for_each_version(checkout: Checkout) -> None:
    assert checkout.make("build/flink/installed") == []
    installed = checkout.folder / "build/flink/installed"
    os.utime(installed, (0, 0))
    (call,) = checkout.make("build/flink/installed")
    assert call == ["ansible-playbook", "playbooks/jobs_tests.yml"]
    assert checkout.make("build/flink/installed") == []


def test_what_the_parts_took_is_printed_before_the_last_line(tmp_path: Path) -> None:
    now = int(time.time())
    (tmp_path / "times").write_text(f"check 4 {now - 600}\nlab 20 {now - 420}\n")
    shown = subprocess.run(
        ["pytest", "--collect-only", "--quiet", "tests/system/test_labels.py"],
        cwd=ROOT,
        env=os.environ | {"TEST_TIMES": str(tmp_path / "times")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert re.search(
        r"\ncheck +3\.0 of +4\nlab +7\.\d of +20\ntogether +10\.\d of +24\n.*collected.*\n$", shown
    )


@pytest.mark.parametrize(
    ("data", "given"),
    [
        ("~/some data.csv", "/root/some data.csv"),
        ("it's $$HOME.csv", "{folder}/it's $HOME.csv"),
        ("data.csv", "{folder}/data.csv"),
        ("s3://bucket/data.csv", "s3://bucket/data.csv"),
    ],
)
def test_training_data_is_found_from_everywhere(checkout: Checkout, data: str, given: str) -> None:
    site = checkout.make("up", f"DATA={data}", "UNTIL=2018-07-01")[-1]
    assert extra_variables(site)["training_data"] == given.format(folder=checkout.folder)


MAPPED = "event_time=step*1h@2017-01-01,customer_id=nameOrig"


@pytest.mark.parametrize("usable", [True, False])
def test_the_demos_data_is_checked_before_hosts_are_made(checkout: Checkout, *, usable: bool) -> None:
    checkout.program(".venv/bin/fraud-train", STAND_IN + ("" if usable else "exit 1\n"))
    checkout.program(".venv/bin/ansible-playbook", STAND_IN + "exit 1\n")
    demo = ("demo", "DATA=a file.csv", "UNTIL=2018-07-01", f"COLUMNS={MAPPED}")
    check, *others = checkout.make(*demo, fails=True)
    data = ["--data", "a file.csv", "--columns-option", "COLUMNS=", "--columns", MAPPED]
    assert check == ["fraud-train", "--check", *data, "--until", "2018-07-01"]
    assert [call[0] for call in others] == ["ansible-playbook"] * usable
    # what lies in MinIO as well: where there is none, nor any other lab, the check says so
    calls = checkout.make("demo", "DATA=s3://bucket/data.csv", "UNTIL=2018-07-01", fails=True)
    assert [call[0] for call in calls] == ["fraud-train", *["ansible-playbook"] * usable]
    # the simulation need not be, unless it is cut elsewhere
    assert [call[0] for call in checkout.make("demo", fails=True)] == ["ansible-playbook"]
    check, *others = checkout.make("demo", "UNTIL=2025-03-31 06:00", fails=True)
    assert check == ["fraud-train", "--check", "--until", "2025-03-31 06:00"]
    assert [call[0] for call in others] == ["ansible-playbook"] * usable


@pytest.mark.parametrize(
    "until",
    [
        "2018-07-01",
        "2018-W26-7",
        "20180701T120000",
        "2018-07-01T12:00",
        "2018-07-01T12:00:00",
        "2018-07-01T12:00:00Z",
        "2018-07-01T12:00:00.25+02:00",
        "2018-07-01 12:00",
        "2018-07-01 12:00:00-05:30",
        # any character may stand there
        "2018-07-01/12:00",
        "2018-07-01'12:00",
        '2018-07-01"12:00',
    ],
)
def test_the_demo_takes_every_form_of_time_that_its_check_takes(checkout: Checkout, until: str) -> None:
    checkout.let_stream()
    checkout.program(".venv/bin/fraud-train", STAND_IN)
    demo = ("demo", "DATA=a file.csv", f"UNTIL={until}")
    calls = checkout.make(*demo)
    assert calls[0][-2:] == ["--until", until]
    (site,) = (call for call in calls if "site.yml" in call)
    assert extra_variables(site)["training_until"] == until
    past, streamed = (call for call in calls if call[0] == "fraud-producer")
    assert past[past.index("--until") + 1] == streamed[streamed.index("--since") + 1] == until
    assert parse_instant(until) - parse_instant(past[past.index("--since") + 1]) == timedelta(days=37)
    # the past is sent once
    assert [call[0] for call in checkout.make(*demo)].count("fraud-producer") == 1


def test_a_new_lab_is_sent_the_past_that_a_former_one_had(checkout: Checkout) -> None:
    def sent() -> int:
        """Count what make stream sends: the past, if the lab has not had it, and the stream."""
        return [call[0] for call in checkout.make("stream")].count("fraud-producer")

    checkout.let_stream()
    key = checkout.folder / "build/lab/ssh/id_ed25519.pub"
    key.parent.mkdir()
    key.write_text("ssh-ed25519 AAAA 2026-11-30T10:00:00Z\n")
    assert [sent(), sent()] == [2, 1]
    # terraform destroy removes the keys and nothing else here; apply makes new ones
    key.unlink()
    key.write_text("ssh-ed25519 AAAB 2026-11-30T11:00:00Z\n")
    assert [sent(), sent()] == [2, 1]


def test_a_rate_and_a_limit_reach_the_producer_as_they_are_given(checkout: Checkout) -> None:
    checkout.let_stream()
    calls = checkout.make("stream", "LIMIT=1 it's", "RATE=$$(exit) >x")
    sent = [call for call in calls if call[0] == "fraud-producer"][-1]
    assert sent[3:7] == ["--limit", "1 it's", "--rate", "$(exit) >x"]


@pytest.mark.parametrize("target", ["demo", "up", "stream", "evaluate", "lifecycle", "bench"])
def test_a_mapping_without_data_is_refused_at_once(checkout: Checkout, target: str) -> None:
    assert checkout.make(target, f"COLUMNS={MAPPED}", fails=True) == []


def test_a_mapping_of_columns_reaches_all_who_read_the_data(checkout: Checkout) -> None:
    checkout.let_stream()
    for name in ("fraud-producer", "fraud-evaluate"):
        checkout.program(f".venv/bin/{name}", STAND_IN + "exit 1\n")
    given = ("DATA=data.csv", "UNTIL=2018-07-01", f"COLUMNS={MAPPED}")
    assert extra_variables(checkout.make("up", *given)[-1])["training_columns"] == MAPPED
    for target in ("stream", "evaluate"):
        (call,) = checkout.make(target, *given, fails=True)
        assert call[1:7] == ["--data", "data.csv", "--columns-option", "COLUMNS=", "--columns", MAPPED]
    checkout.program(".venv/bin/python", STAND_IN)
    (call,) = checkout.make("lifecycle", *given)
    assert call[:4] == ["python", "tests/benchmarks/lifecycle.py", "--data", "data.csv"]
    assert call[-1] == MAPPED
    # a terminal's width
    (call,) = checkout.make("evaluate", fails=True, COLUMNS="120")
    assert call == ["fraud-evaluate"]


def test_faults_are_told_which_and_how_many(checkout: Checkout) -> None:
    checkout.program(".venv/bin/python", STAND_IN)
    # the rate of make stream is not theirs
    assert checkout.make("faults") == [["python", "tests/faults/faults.py"]]
    (call,) = checkout.make("faults", "SEED=7", "ONLY=poison@checkpoint", "COUNT=1", "RATE=50")
    options = ["--seed", "7", "--only", "poison@checkpoint", "--count", "1", "--rate", "50"]
    assert call == ["python", "tests/faults/faults.py", *options]
    (call,) = checkout.make("faults", "ONLY=it's $$(one)")
    assert call[-2:] == ["--only", "it's $(one)"]


@pytest.mark.parametrize(
    ("given", "stays"),
    [
        ([], True),
        (["LIMIT=10"], True),
        (["UNTIL=2025-05-01"], False),
        (["DATA=data.csv", "UNTIL=2018-07-01"], False),
    ],
)
def test_a_promoted_model_stays_unless_another_is_asked_for(
    checkout: Checkout, given: list[str], *, stays: bool
) -> None:
    site = checkout.make("up", *given)[-1]
    assert ("training_replaces=false" in site) == stays


@pytest.mark.parametrize("exists", [True, False])
def test_terraforms_configuration_is_named_only_where_there_is_one(tmp_path: Path, *, exists: bool) -> None:
    configuration = tmp_path / "terraformrc"
    if exists:
        configuration.touch()
    shown = subprocess.run(
        ["make", "--no-print-directory", "--eval", "environment: ; @env", "environment"],
        cwd=ROOT,
        env=os.environ | {"TF_CLI_CONFIG_FILE": str(configuration)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert (f"TF_CLI_CONFIG_FILE={configuration}" in shown.splitlines()) == exists
