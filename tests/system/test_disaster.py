"""All hosts are lost, and a backup that lies elsewhere comes back into new ones, by the runbook's commands.

The lab's hosts are destroyed. What it took, and what was lost, is printed and stands in build/disaster.json.
"""

import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, SSH_CONFIG, lab_hosts, nothing_is_lost, playbook, run, terraform, until
from kafka import KafkaConsumer, TopicPartition
from large_payments import histories_are_the_lakes

from flink_jobs.store.folders import BucketFolder
from flink_jobs.store.lake import TRANSACTIONS_FOLDER, open_lake
from flink_jobs.store.lake_files import LakeFiles
from flink_jobs.store.object_store import list_objects, read_object, s3_client
from flink_jobs.store.settings import S3, Settings

pytestmark = pytest.mark.slow
# of no network that the hosts are in: they reach it through their gateway, which is this machine
ELSEWHERE = "10.80.0.1"
SECRET = ROOT / "build/lab/secrets/backup_secret_key"
Place = tuple[int, int]


def runbook() -> list[str]:
    """Give the commands that docs/operate.md has for it."""
    page = (ROOT / "docs/operate.md").read_text()
    section = page.partition("### All hosts are lost\n")[2].partition("\n### ")[0]
    (block,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return block.splitlines()


def run_as_typed(line: str, settings: dict[str, str]) -> None:
    """Run a command in ansible/, with the settings that would stand in group_vars/all/backup.yml."""
    program, *arguments = shlex.split(line, comments=True)
    if program == "ansible-playbook":
        playbook(*arguments, **settings)
    else:
        assert program == "terraform"
        here = shutil.which(program) or "tofu"
        # there is nobody to say yes
        run(here, *arguments, cwd=ROOT / "ansible", TF_CLI_ARGS_apply="-auto-approve -input=false")
        assert until(lambda: all(map(answers, lab_hosts())), 180), "hosts do not answer"


def answers(host: str) -> bool:
    command = ["ssh", "-F", str(SSH_CONFIG), "-o", "ConnectTimeout=5", host, "sudo -n python3 -V"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A MinIO outside the lab with a bucket, and the settings that name it."""
    cache = Path(os.environ.get("FRAUD_CACHE", Path.home() / ".cache/fraud-detection"))
    program = max(cache.glob("minio-*/minio"), key=lambda file: file.stat().st_mtime)
    user, password = "copies", secrets.token_hex(20)
    settings = {
        "backup_endpoint": f"http://{ELSEWHERE}:9000",
        "backup_bucket": "copies-of-the-lab",
        "backup_access_key": user,
    }
    addresses = [f"--address={ELSEWHERE}:9000", f"--console-address={ELSEWHERE}:9001"]
    run("ip", "address", "replace", f"{ELSEWHERE}/32", "dev", "lo")
    log = (tmp_path / "minio.log").open("wb")
    server = subprocess.Popen(
        [program, "server", *addresses, str(tmp_path / "drive")],
        env=os.environ
        | {"MINIO_ROOT_USER": user, "MINIO_ROOT_PASSWORD": password, "MINIO_UPDATE": "off"}
        # its drive may be this machine's disk
        | {"MINIO_ROOTDISK_THRESHOLD_SIZE": "1"},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:

        def lives() -> bool:
            try:
                with urllib.request.urlopen(f"http://{ELSEWHERE}:9000/minio/health/live", timeout=2):
                    return True
            except OSError:
                return False

        assert until(lives), (tmp_path / "minio.log").read_text()
        there = s3_client(S3(settings["backup_endpoint"], user, password))
        there.create_bucket(Bucket=settings["backup_bucket"])
        SECRET.touch(mode=0o600)
        SECRET.write_text(password)
        yield settings
    finally:
        SECRET.unlink(missing_ok=True)
        server.terminate()
        server.wait(60)
        log.close()
        run("ip", "address", "delete", f"{ELSEWHERE}/32", "dev", "lo")


def places(settings: Settings) -> Counter[Place]:
    """Count the lake's transactions by partition and offset."""
    folder = BucketFolder(s3_client(settings.s3), settings.buckets.datalake, TRANSACTIONS_FOLDER)
    files = LakeFiles(folder)
    found: Counter[Place] = Counter()
    for day in files.days():
        for file in files.of_day(day):
            partitions, offsets = files.places(file)
            found.update(zip(partitions.tolist(), offsets.tolist(), strict=True))
    return found


def ids(settings: Settings) -> dict[Place, str]:
    """Give the id of each of the lake's transactions by its place."""
    found: dict[Place, str] = {}
    for batch in open_lake(settings).batches(["transaction_id"]):
        columns = (batch[name].to_pylist() for name in ("kafka_partition", "kafka_offset", "transaction_id"))
        found |= {(partition, offset): name for partition, offset, name in zip(*columns, strict=True)}
    return found


def released(settings: Settings) -> dict[str, bytes]:
    """Read what is in the bucket of models: models, releases, which are the log of promotions, and all."""
    store, bucket = s3_client(settings.s3), settings.buckets.models
    return {each.key: read_object(store, bucket, each.key) for each in list_objects(store, bucket, "")}


def topic_offsets(settings: Settings, topic: str) -> tuple[dict[int, int], dict[int, int]]:
    """Ask Kafka where the partitions of a topic begin and end."""
    consumer: Any = KafkaConsumer(bootstrap_servers=settings.kafka.bootstrap_servers.split(","))
    try:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        first, end = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
    finally:
        consumer.close()
    return {each.partition: first[each] for each in first}, {each.partition: end[each] for each in end}


def test_all_hosts_are_lost_and_a_backup_comes_back(
    tmp_path: Path, settings: Settings, elsewhere: dict[str, str]
) -> None:
    took_s: dict[str, float] = {}

    def timed(line: str) -> None:
        began_s = time.monotonic()
        run_as_typed(line, elsewhere)
        took_s[line.partition("#")[0].strip()] = round(time.monotonic() - began_s, 1)

    topic = settings.topics.transactions
    # as docs/operate.md says, Backups
    playbook("site.yml", "--tags", "minio", **elsewhere)
    models = released(settings)
    with nothing_is_lost(tmp_path):
        time.sleep(30)
        timed("ansible-playbook playbooks/backup.yml")
    before, (_, ended) = ids(settings), topic_offsets(settings, topic)
    hosts = lab_hosts()

    terraform("destroy", "-auto-approve", "-input=false")
    for line in runbook():
        timed(line)
        if "restore_anew" in line:
            # the jobs have not begun
            back, (first, end) = ids(settings), topic_offsets(settings, topic)
    assert lab_hosts() == hosts

    # what is back is all that came before some offset of each partition, and there the topic goes on
    lake_end = {number: 1 + max(o for p, o in back if p == number) for number, _ in back}
    assert back.items() <= before.items()
    holes = [place for place in before.keys() - back.keys() if place[1] < lake_end.get(place[0], 0)]
    assert holes == []
    assert first == end
    assert all(first[number] >= offset for number, offset in lake_end.items())
    assert all(first[number] <= offset for number, offset in ended.items())
    # releases and their log
    assert models.items() <= released(settings).items()
    # it works: nothing is lost or there twice, features are those of all that the lake has, alerts rise
    with nothing_is_lost(tmp_path, at_least=1):
        time.sleep(20)
    histories_are_the_lakes(settings)
    assert until(lambda: len(places(settings)) > len(back)), "nothing has come into the lake"
    after = places(settings)
    assert after.keys() >= back.keys()
    assert set(after.values()) == {1}
    assert all(o >= first[p] for p, o in after.keys() - back.keys())
    # now it has begun to work
    refused = " ".join(playbook("playbooks/restore_anew.yml", codes=(2,), **elsewhere).split())
    assert "Nothing was changed: this system has begun to work" in refused

    report = {
        "took_s": took_s,
        "restored_in_s": round(sum(took_s.values()) - took_s["ansible-playbook playbooks/backup.yml"], 1),
        "in_the_lake_before": len(before),
        "back": len(back),
        "lost_since_the_copy": len(before) - len(back),
        "goes_on_at": first,
    }
    (ROOT / "build/disaster.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))
