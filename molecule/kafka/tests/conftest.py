import pytest
from testinfra.host import Host


@pytest.fixture(scope="session")
def nodes(hosts_of) -> dict[str, Host]:  # noqa: ANN001 - a fixture of ../../conftest.py
    return hosts_of("kafka")
