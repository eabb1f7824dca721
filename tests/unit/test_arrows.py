"""Clients import training, training the store, the store the domain; a name stands for one thing."""

import ast
import graphlib
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("flink_jobs", "training", "clients")
FILES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for package in PACKAGES
    for file in sorted((ROOT / package).rglob("*.py"))
}
TREES = {name: ast.parse(file.read_text()) for name, file in FILES.items()}

# What each group may import besides itself. A module belongs to the first group that begins its name.
MAY_IMPORT: dict[str, set[str]] = {
    "flink_jobs.domain": set(),
    "flink_jobs.store": {"flink_jobs.domain"},
    "flink_jobs": {"flink_jobs.domain", "flink_jobs.store"},
    "training": {"flink_jobs.domain", "flink_jobs.store"},
    "clients": {"flink_jobs.domain", "flink_jobs.store", "training"},
}
# pyarrow: a table of terminal risk is looked up without making Python objects of its terminals
DOMAIN_NEEDS = {"numpy", "onnxruntime", "msgspec", "pyarrow"}
# modules that reach beyond the process, or start another process or thread
NOT_IN_THE_DOMAIN = {
    *("argparse", "asyncio", "concurrent", "http", "multiprocessing", "os", "pathlib", "queue", "selectors"),
    *("shutil", "signal", "socket", "subprocess", "tempfile", "threading", "urllib"),
}
# They parse options for commands, and only commands import them.
OPTIONS = {"clients.command", "training.column_option", "training.options"}


def imported(tree: ast.Module) -> Iterator[str]:
    """Give the modules that a module imports, anywhere in it, and for type checking too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, "relative imports hide where an arrow points"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in FILES else node.module


def group(module: str) -> str:
    return next(name for name in MAY_IMPORT if f"{module}.".startswith(f"{name}."))


IMPORTS = {name: set(imported(tree)) for name, tree in TREES.items()}
OURS = {name: {each for each in found if each in FILES} for name, found in IMPORTS.items()}


def commands() -> set[str]:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    guard = "if __name__ == '__main__':"
    run_as_main = {name for name, tree in TREES.items() if guard in ast.unparse(tree).splitlines()}
    return run_as_main | {target.partition(":")[0] for target in scripts.values()}


@pytest.mark.parametrize("module", FILES)
def test_arrows_point_one_way(module: str) -> None:
    own = group(module)
    for target in sorted(OURS[module]):
        assert group(target) in MAY_IMPORT[own] | {own}, f"{module} imports {target}"


def test_imports_make_no_circle() -> None:
    # raises CycleError, which names the modules
    tuple(graphlib.TopologicalSorter(OURS).static_order())


@pytest.mark.parametrize("module", [name for name in FILES if group(name) == "flink_jobs.domain"])
def test_the_domain_imports_nothing_that_reaches_beyond_it(module: str) -> None:
    libraries = {name.partition(".")[0] for name in IMPORTS[module]} - set(PACKAGES)
    own = {name for name in libraries if name in sys.stdlib_module_names}
    assert libraries - own <= DOMAIN_NEEDS
    assert not own & NOT_IN_THE_DOMAIN


@pytest.mark.parametrize("module", sorted(FILES.keys() - commands() - OPTIONS))
def test_libraries_know_neither_options_nor_commands(module: str) -> None:
    assert not IMPORTS[module] & ({"argparse", "optparse"} | OPTIONS | commands())


@pytest.mark.parametrize("module", sorted(commands() | OPTIONS))
def test_commands_do_not_import_one_another(module: str) -> None:
    assert not IMPORTS[module] & commands()


@pytest.mark.parametrize("module", FILES)
def test_nothing_passes_arguments_through_the_environment(module: str) -> None:
    environment = "os.environ"
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == environment:
            assert isinstance(node.ctx, ast.Load), f"{module}:{node.lineno}"
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {f"{environment}.{name}" for name in ("setdefault", "update", "pop")}
            assert called not in {"os.putenv", "os.unsetenv"}, f"{module}:{node.lineno}"


@pytest.mark.parametrize(
    "module", [name for name, found in IMPORTS.items() if found & {"threading", "concurrent.futures"}]
)
def test_where_threads_are_started_each_object_writes_its_own_attributes(module: str) -> None:
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            assert ast.unparse(node.value) == "self", f"{module}:{node.lineno}: {ast.unparse(node)}"


def test_a_name_stands_for_one_thing() -> None:
    modules = [name for name in FILES if FILES[name].name != "__init__.py"]
    stands_for = defaultdict[str, set[str]](set)
    for name in modules:
        # a plural is easily read as its singular
        stands_for[name.rpartition(".")[2].removesuffix("s")].add(name)
    for name in modules:
        for node in TREES[name].body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                stands_for[f"{node.name}()"].add(name)
    # where each command begins, and how each job is wired to its tables
    jobs = {name for name in modules if name.endswith("_job")}
    assert stands_for.pop("job_tables()") == stands_for.pop("submit()") == jobs
    del stands_for["main()"]
    assert not {name: found for name, found in stands_for.items() if len(found) > 1}
