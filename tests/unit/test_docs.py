"""Commands, files, headings and links in the documentation are there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import yaml
from documented_commands import CHECKS, FILES, FOLDERS, ROOT, check, check_option, check_playbook, commands

from flink_jobs.domain.reasons import Reason
from flink_jobs.domain.transaction import Transaction

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "molecule/README.md", *ROOT.glob("docs/*.md")]
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class Block(NamedTuple):
    """What stands between fences, and the paragraph before it."""

    page: Path
    kind: str
    text: str
    before: str


def blocks(page: Path) -> Iterator[Block]:
    parts = re.split(r"^```(\w*)\n(.*?)^```\n", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for before, kind, text in zip(parts[::3], parts[1::3], parts[2::3], strict=False):
        yield Block(page, kind, text, before.rstrip().rpartition("\n\n")[2])


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```\n", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def spans(page: Path) -> list[str]:
    """Give what stands in backticks, on one line each."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(page))]


EVERY_BLOCK = [
    pytest.param(each, id=f"{each.page.name}-{each.text[:30]!r}") for page in PAGES for each in blocks(page)
]
BLOCKS_OF = {
    kind: [each for each in EVERY_BLOCK if each.values[0].kind == kind] for kind in ("sh", "text", "json")
}
EVERY_PAGE = [pytest.param(page, id=page.relative_to(ROOT).as_posix()) for page in PAGES]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 250


@pytest.mark.parametrize("block", EVERY_BLOCK)
def test_a_block_is_commands_output_a_record_or_a_picture(block: Block) -> None:
    assert block.kind in {"sh", "text", "json", "mermaid", "python"}


@pytest.mark.parametrize("block", BLOCKS_OF["sh"])
def test_commands_name_what_is_there(block: Block) -> None:
    typed = list(commands(block.text))
    assert typed
    for command in typed:
        check(command, whole=True)


@pytest.mark.parametrize("block", BLOCKS_OF["text"])
def test_output_has_the_date_of_its_run(block: Block) -> None:
    assert DATE.search(block.before), "say in the paragraph before it of which day's run it is"


@pytest.mark.parametrize("block", BLOCKS_OF["json"])
def test_a_record_is_one_of_the_projects(block: Block) -> None:
    record = msgspec.json.decode(block.text)
    kind: Any = Reason if "feature" in record else Transaction
    msgspec.convert(record, kind)
    assert record.keys() <= set(kind.__struct_fields__)


@pytest.mark.parametrize("page", EVERY_PAGE)
def test_commands_in_sentences_name_what_is_there(page: Path) -> None:
    for span in spans(page):
        program, _, rest = span.partition(" ")
        if span.startswith(("--", "-e ")):
            check_option(shlex.split(span))
        elif program.endswith(".yml") and rest:
            check_playbook(shlex.split(rest))
        elif re.fullmatch("fraud-[a-z-]+", program) or (rest and program in CHECKS):
            for command in commands(span):
                check(command, whole=False)


@pytest.mark.parametrize("page", EVERY_PAGE)
def test_files_that_are_named_are_there(page: Path) -> None:
    for span in spans(page):
        path = span.rstrip("/")
        if path.partition("/")[0] in FOLDERS and re.fullmatch(r"[\w./*-]+", path):
            assert list(ROOT.glob(path)), f"there is no {path}"
        elif re.fullmatch(r"(?!build/)[\w./-]+\.(yml|py|md|tf|tfvars|toml|cfg)", path):
            assert any(file == path or file.endswith(f"/{path}") for file in FILES), f"there is no {path}"


def anchors(page: Path) -> set[str]:
    """Give what GitHub makes of headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", EVERY_PAGE)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not link.startswith("https://"):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.is_file(), f"{link}: there is no such page"
            assert not anchor or anchor in anchors(target), f"{link}: there is no such heading"


def test_code_refers_to_headings_that_are_there() -> None:
    referred = []
    for file in FILES:
        if file.endswith((".py", ".yml", ".tf", ".sh", "Makefile")) and not file.startswith("tests/"):
            referred += re.findall(r"(docs/\w+\.md)(?:, ([A-Z][^)]+)\))?", (ROOT / file).read_text())
    assert referred
    for path, heading in referred:
        assert (ROOT / path).is_file(), f"there is no {path}"
        assert not heading or f"# {heading}\n" in (ROOT / path).read_text(), f"{path} has no {heading}"


def test_the_table_of_topics_says_how_long_they_are_kept() -> None:
    topics = yaml.safe_load((ROOT / "ansible/inventory/group_vars/all/topics.yml").read_text())["topics"]
    kept = {name: str(topic["config"]["retention.ms"] // 86_400_000) for name, topic in topics.items()}
    assert (
        dict(re.findall(r"^\| `(\w+)` \| (\d+) days ", (ROOT / "docs/data.md").read_text(), re.MULTILINE))
        == kept
    )


def test_topics_that_others_write_have_the_brokers_clock() -> None:
    """Their timestamps say what is ahead of the clock, and what retention takes."""
    topics = yaml.safe_load((ROOT / "ansible/inventory/group_vars/all/topics.yml").read_text())["topics"]
    for name in ("transactions", "fraud_labels"):
        assert topics[name]["config"]["message.timestamp.type"] == "LogAppendTime"


def test_decisions_are_numbered_one_after_another() -> None:
    numbers = re.findall(r"^## (\d+) ", (ROOT / "docs/decisions.md").read_text(), re.MULTILINE)
    assert [int(number) for number in numbers] == list(range(1, len(numbers) + 1))
