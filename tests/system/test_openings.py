"""The hosts' ports and the connections between them, held against the table of openings in network.yml."""

from typing import Any

import pytest
from conftest import ssh
from openings import ESTABLISHED, LISTENING, Seen, callers_amiss, ports_amiss

pytestmark = pytest.mark.always


@pytest.fixture(scope="module")
def seen(hosts: dict[str, dict[str, Any]]) -> dict[str, Seen]:
    return {
        name: Seen(host["ip"], set(host["groups"]), ssh(name, LISTENING), ssh(name, ESTABLISHED))
        for name, host in hosts.items()
    }


def test_each_port_that_listens_is_in_the_table_and_each_in_the_table_listens(seen: dict[str, Seen]) -> None:
    assert [*ports_amiss(seen)] == []


def test_the_table_allows_each_connection_that_there_is(seen: dict[str, Seen]) -> None:
    assert [*callers_amiss(seen)] == []
