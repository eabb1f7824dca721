import os
from collections.abc import Generator

import pytest
import testinfra


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the journal where a test failed."""
    report = yield
    if report.when == "call" and report.failed:
        (host,) = testinfra.get_hosts(
            ["flink"],
            ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"],
            connection="ansible",
            sudo=True,
        )
        journal = host.run("journalctl --unit='flink-*' --lines=60 --no-pager --output=cat").stdout
        report.sections.append(("journal of Flink", journal))
    return report
