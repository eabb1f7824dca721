"""Rows are kept as they come, and a run goes on where it was cut off."""

import json
from pathlib import Path

import pytest
from rows import RowsError, open_rows


def test_a_run_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    run = open_rows(file, None, 200, 11)
    run.append({"name": "a", "seed": 1})
    run.append({"name": "b", "seed": 2})
    again = open_rows(file, None, 100, 12)
    assert again.run["seed"] == 11
    assert again.run["rate_tps"] == 200
    assert again.done == [("a", 1), ("b", 2)]
    again.append({"name": "c", "seed": 3})
    assert [each["name"] for each in json.loads(file.read_text())["faults"]] == ["a", "b", "c"]


def test_another_run_keeps_the_one_before(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    open_rows(file, 1, 200, 11).append({"name": "a", "seed": 1})
    assert open_rows(file, 1, 200, 11).done == [("a", 1)]
    other = open_rows(file, 2, 200, 11)
    assert (other.run["seed"], other.done) == (2, [])
    # until there is something to keep
    assert json.loads(file.read_text())["seed"] == 1
    other.append({"name": "b", "seed": 2})
    other.append({"name": "c", "seed": 3})
    assert len(json.loads(file.read_text())["faults"]) == 2
    assert json.loads((tmp_path / "faults-1.json").read_text())["faults"] == [{"name": "a", "seed": 1}]


@pytest.mark.parametrize("content", ["[", "{}", '{"seed": 1}', "[]"])
def test_a_file_that_is_no_run_is_left_alone(tmp_path: Path, content: str) -> None:
    file = tmp_path / "faults.json"
    file.write_text(content)
    with pytest.raises(RowsError, match="no run of faults"):
        open_rows(file, None, 200, 1)
    assert file.read_text() == content
