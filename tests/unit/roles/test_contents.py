"""Ansible writes no file without content, so a loop that may be empty is never all that a file has."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ANSIBLE = Path(__file__).parents[3] / "ansible"
COPY = "ansible.builtin.copy"


def contents(node: Any) -> Iterator[str]:  # noqa: ANN401 - YAML
    """Give what tasks write that is a template with statements."""
    if isinstance(node, dict):
        written = (node.get(COPY) or {}).get("content")
        if isinstance(written, str) and "{%" in written:
            yield written
        node = list(node.values())
    if isinstance(node, list):
        for part in node:
            yield from contents(part)


def test_a_file_has_content_though_its_loops_are_empty() -> None:
    files = [*ANSIBLE.glob("roles/*/tasks/*.yml"), *ANSIBLE.glob("playbooks/**/*.yml")]
    found = [(file, content) for file in files for content in contents(yaml.safe_load(file.read_text()))]
    assert {"base", "scheduled_command"} <= {file.parts[-3] for file, _ in found}
    for file, content in found:
        always = re.sub(r"\{% for .*?\{% endfor %\}|\{% if .*?\{% endif %\}", "", content, flags=re.DOTALL)
        assert always.strip(), f"{file}: Ansible fails with 'src (or content) is required':\n{content}"
