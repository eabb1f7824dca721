"""One table of features, for code, manifest and readers."""

from pathlib import Path

from flink_jobs.domain.features import FEATURE_NAMES, FEATURES

README = Path(__file__).parents[3] / "README.md"


def test_each_feature_has_a_name_of_its_own_a_unit_and_a_reason() -> None:
    assert len(set(FEATURE_NAMES)) == len(FEATURES)
    assert all(feature.name and feature.unit and feature.reason for feature in FEATURES)


def test_the_readme_shows_the_table() -> None:
    """Where this fails, put the expected lines into the README."""
    table = README.read_text().partition("| feature | unit | reason |\n| --- | --- | --- |\n")[2]
    rows = table.partition("\n\n")[0].splitlines()
    assert rows == [f"| `{each.name}` | {each.unit} | {each.reason} |" for each in FEATURES]
