"""What an operator does and sees: nothing changes by itself, and the usual commands answer."""

import re
import stat
from typing import Any

import boto3
import botocore
import botocore.exceptions
import msgspec
import pytest
from botocore.config import Config
from conftest import ROOT, assert_unchanged, playbook, run, ssh, terraform
from kafka_quorum import STATUS, read_quorum

from flink_jobs.store.release import release_key
from flink_jobs.store.settings import Settings


def test_a_plan_after_the_apply_shows_no_change() -> None:
    terraform("plan", "-input=false", "-detailed-exitcode")


def test_a_dry_run_names_what_would_change(brokers: list[str]) -> None:
    told = playbook(
        "site.yml",
        "--check",
        "--diff",
        kafka_properties={"log.cleaner.backoff.ms": 16000},
        flink_properties={"heartbeat.interval": "6 s"},
        topics_min_insync_replicas=1,
    )
    for line in (
        "+log.cleaner.backoff.ms=16000",
        "-heartbeat.interval: 5 s",
        "+heartbeat.interval: 6 s",
        "+            min.insync.replicas: '1'",
    ):
        assert line in told
    for restart in (
        "kafka : See whether the broker is to restart for what is different since it started",
        "flink : Restart the JobManager",
    ):
        assert re.search(rf"TASK \[{restart}\].*\n(?:.*\n)?changed: ", told), restart
    assert "log.cleaner" not in ssh(brokers[0], "sudo cat /etc/kafka/broker.properties")


# After the dry run: this shows that the dry run changed nothing, too.
def test_a_second_site_run_changes_nothing() -> None:
    assert_unchanged(playbook("site.yml"))


@pytest.mark.always
def test_both_jobs_run(jobmanager: str) -> None:
    listing = ssh(jobmanager, "flink list")
    for job in ("ml_inference_job", "kafka_to_minio_job"):
        assert re.search(rf"{job} \(RUNNING\)", listing), listing


@pytest.mark.always
@pytest.mark.parametrize(
    "topic", ["transactions", "predictions", "fraud_alerts", "transactions_dlq", "fraud_labels"]
)
def test_topics_have_three_replicas_in_sync(brokers: list[str], topic: str) -> None:
    described = ssh(brokers[0], f"kafka-topics --describe --topic {topic}")
    assert "ReplicationFactor: 3" in described
    in_sync = re.findall(r"Isr: ([\d,]+)", described)
    assert in_sync
    assert all(len(brokers.split(",")) == 3 for brokers in in_sync), described


@pytest.mark.always
def test_the_quorum_has_three_voters_and_a_leader(brokers: list[str]) -> None:
    quorum = read_quorum(ssh(brokers[0], STATUS))
    assert len(set(quorum.voters)) == 3, quorum
    assert quorum.leader in quorum.voters, quorum


@pytest.mark.always
def test_secrets_are_readable_by_their_owner_only() -> None:
    secrets = [*(ROOT / "build/lab/secrets").iterdir(), ROOT / "build/lab/settings.json"]
    assert len(secrets) > 3
    for file in secrets:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    ignored = run("git", "check-ignore", *map(str, secrets)).splitlines()
    assert len(ignored) == len(secrets)


@pytest.mark.always
@pytest.mark.parametrize(("user", "password"), [("minioadmin", "minioadmin"), ("admin", "password")])
def test_default_credentials_open_nothing(settings: Settings, user: str, password: str) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=settings.s3.endpoint_url,
        aws_access_key_id=user,
        aws_secret_access_key=password,
        region_name=settings.s3.region,
    )
    with pytest.raises(botocore.exceptions.ClientError, match="InvalidAccessKeyId"):
        client.list_objects_v2(Bucket=settings.buckets.models)


@pytest.mark.always
def test_without_credentials_nothing_is_read_or_written(settings: Settings) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=settings.s3.endpoint_url,
        region_name=settings.s3.region,
        config=Config(signature_version=botocore.UNSIGNED),
    )
    for bucket in msgspec.structs.astuple(settings.buckets):
        for call, arguments in (
            (client.list_objects_v2, {}),
            (client.get_object, {"Key": release_key(1)}),
            (client.put_object, {"Key": "system-test", "Body": b""}),
        ):
            with pytest.raises(botocore.exceptions.ClientError) as refused:
                call(Bucket=bucket, **arguments)
            assert refused.value.response["Error"]["Code"] == "AccessDenied", (bucket, call)
    with pytest.raises(botocore.exceptions.ClientError, match="AccessDenied"):
        client.list_buckets()


@pytest.mark.always
def test_the_data_scientist_may_read_the_lake_and_not_write_it(settings: Settings, store: Any) -> None:  # noqa: ANN401 - boto3
    store.list_objects_v2(Bucket=settings.buckets.datalake)
    with pytest.raises(botocore.exceptions.ClientError, match="AccessDenied"):
        store.put_object(Bucket=settings.buckets.datalake, Key="raw/transactions/intruder", Body=b"")
