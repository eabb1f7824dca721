import os
from collections.abc import Generator

import pytest
import testinfra
from testinfra.host import Host


def brokers() -> dict[str, Host]:
    hosts = testinfra.get_hosts(
        ["kafka"], ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"], connection="ansible", sudo=True
    )
    return {host.ansible.get_variables()["inventory_hostname"]: host for host in hosts}


@pytest.fixture(scope="session")
def nodes() -> dict[str, Host]:
    return brokers()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the journals where a test failed."""
    report = yield
    if report.when == "call" and report.failed:
        for name, host in brokers().items():
            journal = host.run("journalctl --unit=kafka --lines=30 --no-pager --output=cat").stdout
            report.sections.append((f"journal of kafka on {name}", journal))
    return report
