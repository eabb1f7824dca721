"""The audit of a running system: where all is whole nothing rings, where a record is missing it does."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import run, ssh, until
from kafka import KafkaProducer

from flink_jobs.store.lake import PREDICTIONS_FOLDER, TRANSACTIONS_FOLDER
from flink_jobs.store.lake_arrivals import ANSWER_COLUMNS
from flink_jobs.store.lake_files import PLACE_COLUMNS, open_parquet
from flink_jobs.store.object_store import list_objects, open_object
from flink_jobs.store.settings import Settings

SENT = 40
# Longer than the lake takes: what it lacks is said to be undecided.
LAG_S = 30
RINGS_WITHIN_S = 300
UNIT = "continuous-audit"
SHOW = f"fraud-audit --state /var/lib/{UNIT} --show"


@pytest.fixture
def training_host(hosts: dict[str, dict[str, Any]]) -> str:
    return next(name for name, host in hosts.items() if "training" in host["groups"])


@pytest.fixture
def minio_host(hosts: dict[str, dict[str, Any]]) -> str:
    return next(name for name, host in hosts.items() if "minio" in host["groups"])


def send(settings: Settings) -> set[tuple[int, int]]:
    """Send some transactions; give their places."""
    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers.split(","), acks="all")
    mark = f"audit-{time.time_ns()}"
    payment = {"event_time": "2025-05-01T12:00:00Z", "customer_id": mark, "terminal_id": "1", "amount": 20.0}
    sent = [
        producer.send(
            settings.topics.transactions,
            json.dumps(payment | {"transaction_id": f"{mark}-{number}"}).encode(),
            key=f"{number}".encode(),
        )
        for number in range(SENT)
    ]
    producer.flush(30)
    producer.close()
    return {(each.value.partition, each.value.offset) for each in sent}


def file_with(
    settings: Settings,
    store: Any,  # noqa: ANN401 - boto3 makes its classes at run time
    sent: set[tuple[int, int]],
    since_s: float,
    folder: str = TRANSACTIONS_FOLDER,
) -> str:
    """Wait until all of these, or their predictions, lie in a folder; give a file that has some of them."""
    found: dict[str, set[tuple[int, int]]] = {}
    columns = PLACE_COLUMNS if folder == TRANSACTIONS_FOLDER else ANSWER_COLUMNS[:2]

    def stored() -> bool:
        for each in list_objects(store, settings.buckets.datalake, f"{folder}/dt="):
            if each.modified.timestamp() > since_s - 5 and each.key not in found:
                opened = open_object(store, settings.buckets.datalake, each.key, each.size)
                table = open_parquet(opened).read(columns=list(columns))
                found[each.key] = set(zip(*(table[name].to_pylist() for name in columns), strict=True)) & sent
        return set().union(*found.values()) == sent

    assert until(stored), f"{len(set().union(*found.values()))} of {len(sent)} are in {folder}"
    return max(found, key=lambda key: len(found[key]))


@contextmanager
def taken_out(host: str, key: str) -> Iterator[None]:
    """Take a file out of the lake for a while."""
    aside = f"lab/backups/{UNIT}/{key.rpartition('/')[2]}"
    ssh(host, f"sudo mc cp --quiet lab/datalake/{key} {aside} && sudo mc rm --quiet lab/datalake/{key}")
    try:
        yield
    finally:
        ssh(host, f"sudo mc cp --quiet {aside} lab/datalake/{key} && sudo mc rm --quiet {aside}")


def looks(folder: Path, audited: int) -> Callable[[], bool]:
    """Look until so many transactions were asked about."""
    command = ("fraud-audit", "--state", str(folder), "--lag", str(LAG_S))

    def look() -> bool:
        run(*command, codes=(0, 1))
        return bool(json.loads((folder / "audit.json").read_text())["audited"] >= audited)

    return look


@pytest.mark.parametrize(
    ("folder", "found"), [(TRANSACTIONS_FOLDER, {"missing"}), (PREDICTIONS_FOLDER, {"lost", "undecided"})]
)
def test_a_whole_system_does_not_ring_and_a_file_that_is_gone_does(  # noqa: PLR0913, PLR0917 - fixtures
    folder: str,
    found: set[str],
    tmp_path: Path,
    settings: Settings,
    store: Any,  # noqa: ANN401 - boto3 makes its classes at run time
    minio_host: str,
) -> None:
    run("fraud-audit", "--state", str(tmp_path), "--lag", str(LAG_S))
    before_s = time.time()
    sent = send(settings)
    files = {
        each: file_with(settings, store, sent, before_s, each)
        for each in (TRANSACTIONS_FOLDER, PREDICTIONS_FOLDER)
    }
    with taken_out(minio_host, files[folder]):
        assert until(looks(tmp_path, SENT))
        result = json.loads((tmp_path / "audit.json").read_text())
        counts = {"lost": result["lost"], "undecided": result["undecided"], "missing": result["lake_missing"]}
        # of predictions, the file may be the one that has the last: then the lake seems to lag
        assert 0 < sum(counts[each] for each in found) <= SENT, result
        assert sum(counts[each] for each in counts.keys() - found) == result["lake_repeated"] == 0, result
        named = [place for each in counts for place in result[f"first_{each}"]]
        assert {tuple(map(int, place.split("-"))) for place in named} <= sent
        run("fraud-audit", "--state", str(tmp_path), "--show", codes=(1,))
    # it comes after all
    run("fraud-audit", "--state", str(tmp_path), "--lag", str(LAG_S))
    run("fraud-audit", "--state", str(tmp_path), "--show")


@pytest.mark.slow
def test_a_record_that_is_dropped_rings_on_the_training_host_within_five_minutes(
    settings: Settings,
    store: Any,  # noqa: ANN401 - boto3 makes its classes at run time
    training_host: str,
    minio_host: str,
) -> None:
    def rings() -> bool:
        return ssh(training_host, f"{SHOW} >/dev/null 2>&1; echo $?").strip() == "1"

    assert until(lambda: not rings(), RINGS_WITHIN_S), ssh(training_host, f"{SHOW} 2>&1 || true")
    # it must not have read the file before that is taken out
    ssh(training_host, f"sudo systemctl stop {UNIT}.timer")
    try:
        before_s = time.time()
        sent = send(settings)
        file = file_with(settings, store, sent, before_s)
        with taken_out(minio_host, file):
            ssh(training_host, f"sudo systemctl start {UNIT}.timer")
            assert until(rings, RINGS_WITHIN_S - (time.time() - before_s))
            told = ssh(training_host, f"{SHOW} 2>&1 || true")
            assert "transactions are not in the lake, the first (partition-offset): " in told
            assert "0 lost" in told
            result = f"systemctl show --property=Result --value {UNIT}.service"
            # while it runs, the unit has no result
            assert until(lambda: ssh(training_host, result).strip() == "exit-code")
    finally:
        ssh(training_host, f"sudo systemctl start {UNIT}.timer")
    assert until(lambda: not rings(), RINGS_WITHIN_S), ssh(training_host, f"{SHOW} 2>&1 || true")
    metrics = ssh(training_host, f"cat /var/lib/{UNIT}/audit.prom")
    assert "fraud_audit_lost 0\n" in metrics
    assert "fraud_audit_lake_missing 0\n" in metrics
