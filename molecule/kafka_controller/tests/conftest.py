import pytest
from testinfra.host import Host


@pytest.fixture(scope="session")
def brokers(hosts_of) -> dict[str, Host]:  # noqa: ANN001 - a fixture of ../../conftest.py
    return hosts_of("kafka")


@pytest.fixture(scope="session")
def controllers(hosts_of) -> dict[str, Host]:  # noqa: ANN001 - a fixture of ../../conftest.py
    return hosts_of("kafka_controller")
