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
_ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
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
    # onnxruntime has no other way to be told
    silenced = [
        node.lineno
        for node in ast.walk(TREES[module])
        if module == "flink_jobs" and ast.unparse(node) == "os.environ['ORT_DISABLE_TELEMETRY'] = '1'"
    ]
    assert written_environment(TREES[module]) == silenced


@pytest.mark.parametrize(
    "written",
    [
        "os.environ['A'] = 'b'",
        "os.environ['A'] += 'b'",
        "del os.environ['A']",
        "os.environ |= {'A': 'b'}",
        "os.environ = {}",
        "os.environ.update(A='b')",
        "os.environ.setdefault('A', 'b')",
        "os.environ.pop('A')",
        "os.environ.clear()",
        "os.environb[b'A'] = b'b'",
        "environment = os.environ",
        "change(os.environ)",
        "os.putenv('A', 'b')",
        "os.unsetenv('A')",
        "from os import environ",
        "from os import getenv, putenv as put",
        "import os as system",
        "setattr(os, 'environ', {})",
        "vars(os)",
    ],
)
def test_a_change_of_the_environment_is_seen_however_it_is_written(written: str) -> None:
    tree = ast.parse(f"import os\n\nprint(os.environ['A'], os.environ.get('B'), os.getcwd())\n{written}\n")
    assert written_environment(tree) == [4]


def written_environment(tree: ast.Module) -> list[int]:
    """Give the lines that may change the environment, or give it another name under which it is changed."""
    read = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            read.add(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            read.add(node.func.value)
    own = {node.value for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    lines = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            lines.update(node.lineno for alias in node.names if alias.name in _ENVIRONMENT)
        elif isinstance(node, ast.Import):
            lines.update(node.lineno for alias in node.names if alias.name == "os" and alias.asname)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "os":
            # of its attributes, a single value may be read
            if node.attr in _ENVIRONMENT and not (node.attr == "environ" and node in read):
                lines.add(node.lineno)
        elif isinstance(node, ast.Name) and node.id == "os" and node not in own:
            lines.add(node.lineno)
    return sorted(lines)


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
