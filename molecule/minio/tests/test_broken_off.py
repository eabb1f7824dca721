"""After a run that broke off, the next one completes it: every host serves with the settings on its disk."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Cluster
from test_cluster import status

CONVERGE = Path(__file__).parents[1] / "converge.yml"
INPUTS = ("/etc/minio/minio.env", "/opt/minio")


def limit(requests: int) -> list[str]:
    """A setting that all hosts must share."""
    return ["--extra-vars", json.dumps({"minio_settings": {"MINIO_API_REQUESTS_MAX": str(requests)}})]


def assert_all_serve_with(requests: int, cluster: Cluster, up_to_date: Callable[..., bool]) -> None:
    for host, address in zip(cluster.hosts, cluster.addresses, strict=True):
        assert f'MINIO_API_REQUESTS_MAX="{requests}"' in host.file(INPUTS[0]).content_string
        assert up_to_date(host, "minio.service", *INPUTS), f"{address} runs with former settings"
        assert status(address, "/minio/health/cluster") == 200


@pytest.mark.slow
def test_the_next_run_completes_one_that_broke_off(
    cluster: Cluster,
    apply: Callable[..., Any],
    breaks: Callable[[int, int], list[int]],
    up_to_date: Callable[..., bool],
) -> None:
    # on each: settings, the question what to restart, and the restart
    for changes in breaks(12, 1):
        apply(CONVERGE, *limit(1000 + changes), break_off_after=changes)
        apply(CONVERGE, *limit(1000 + changes))
        assert_all_serve_with(1000 + changes, cluster, up_to_date)


def test_the_next_run_restarts_the_peers_that_a_host_waits_for(
    cluster: Cluster, apply: Callable[..., Any], up_to_date: Callable[..., bool]
) -> None:
    """All hosts have new settings on their disks, but only one was restarted: it finds no peer with them."""
    broken = apply(CONVERGE, *limit(2000), break_off_after=5).stdout
    assert "broken off after: minio : See whether MinIO is to restart" in broken
    cluster.hosts[0].check_output("systemctl restart --no-block minio")
    time.sleep(5)
    assert cluster.hosts[0].run("systemctl is-active minio").stdout.strip() == "activating"
    apply(CONVERGE, *limit(2000))
    assert_all_serve_with(2000, cluster, up_to_date)


@pytest.mark.slow
def test_a_dry_run_shows_what_it_would_restart(cluster: Cluster, apply: Callable[..., Any]) -> None:
    told = apply(CONVERGE, *limit(3000), "--check").stdout
    assert told.count("changed: [minio-") == 3 * len(cluster.hosts), told  # settings, question, restart
    assert 'MINIO_API_REQUESTS_MAX="3000"' not in cluster.hosts[0].file(INPUTS[0]).content_string


@pytest.mark.slow
def test_a_setting_of_each_host_alone_restarts_one_host_at_a_time(
    cluster: Cluster, apply: Callable[..., Any], outages: Callable[..., Any]
) -> None:
    with outages(dict.fromkeys(cluster.addresses, 9000)) as seen:
        apply(CONVERGE, *limit(2000), "--extra-vars", json.dumps({"minio_memory_mb": 400}))
    assert max(map(len, seen)) == 1, seen
    assert {address for down in seen for address in down} == set(cluster.addresses)
