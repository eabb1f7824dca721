"""What the cluster does, seen from outside."""

import http.client
import json
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import CONSOLE_PORT, PORT, Cluster, Refused

DENIED = "AccessDenied"


def status(address: str, path: str, port: int = PORT) -> int:
    connection = http.client.HTTPConnection(address, port, timeout=15)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.fixture
def stopped(cluster: Cluster) -> Iterator[Callable[[int], None]]:
    """Stop MinIO on a host for the time of a test."""
    taken = []

    def stop(node: int) -> None:
        taken.append(node)
        cluster.hosts[node].check_output("systemctl stop minio")

    yield stop
    for node in taken:
        cluster.hosts[node].check_output("systemctl start minio")
    for address in cluster.addresses:
        deadline = time.monotonic() + 60
        while status(address, "/minio/health/cluster?maintenance=true") != 200:
            assert time.monotonic() < deadline, f"{address} does not see the cluster whole again"
            time.sleep(0.5)


def put_within_a_minute(client: Any, **target: object) -> None:  # noqa: ANN401 - boto3 makes its classes at run time
    """Write; a host that lost power looks for others' drives only every 15 s, and refuses until then."""
    deadline = time.monotonic() + 60
    while True:
        try:
            client.put_object(**target)
        except ClientError as refusal:
            if refusal.response["Error"]["Code"] != "SlowDownWrite" or time.monotonic() > deadline:
                raise
        else:
            return


def test_every_host_sees_a_healthy_cluster(cluster: Cluster) -> None:
    for address in cluster.addresses:
        assert status(address, "/minio/health/live") == 200
        assert status(address, "/minio/health/cluster") == 200
        assert status(address, "/", CONSOLE_PORT) == 200


def test_written_through_one_host_read_through_another_while_a_third_is_down(
    cluster: Cluster, stopped: Callable[[int], None]
) -> None:
    key, body = f"molecule/{uuid.uuid4()}", b"x" * 300_000
    cluster.client("flink", 0).put_object(Bucket="datalake", Key=key, Body=body)
    stopped(2)
    assert cluster.client("flink", 1).get_object(Bucket="datalake", Key=key)["Body"].read() == body
    late = f"{key}-late"
    put_within_a_minute(cluster.client("flink", 3), Bucket="datalake", Key=late, Body=body)
    assert cluster.client("flink", 0).get_object(Bucket="datalake", Key=late)["Body"].read() == body
    for written in (key, late):
        cluster.client("flink").delete_object(Bucket="datalake", Key=written)


def test_scoring_reads_models_features_and_the_lake_only(cluster: Cluster, refused: Refused) -> None:
    trainer, scorer = cluster.client("training"), cluster.client("scoring")
    for bucket in ("models", "features"):
        trainer.put_object(Bucket=bucket, Key="molecule/model", Body=b"m")
        assert scorer.get_object(Bucket=bucket, Key="molecule/model")["Body"].read() == b"m"
        assert scorer.list_objects_v2(Bucket=bucket, Prefix="molecule/")["KeyCount"] == 1
        assert refused(scorer.put_object, Bucket=bucket, Key="molecule/other", Body=b"") == DENIED
        assert refused(scorer.delete_object, Bucket=bucket, Key="molecule/model") == DENIED
    cluster.client("flink").put_object(Bucket="datalake", Key="molecule/row", Body=b"r")
    assert scorer.get_object(Bucket="datalake", Key="molecule/row")["Body"].read() == b"r"
    assert refused(scorer.put_object, Bucket="datalake", Key="molecule/row", Body=b"") == DENIED
    assert refused(scorer.delete_object, Bucket="datalake", Key="molecule/row") == DENIED
    assert refused(scorer.list_objects_v2, Bucket="flink") == DENIED
    assert refused(scorer.get_object, Bucket="flink", Key="any") == DENIED


def test_training_reads_the_lake_without_writing_it(cluster: Cluster, refused: Refused) -> None:
    cluster.client("flink").put_object(Bucket="datalake", Key="molecule/row", Body=b"r")
    trainer = cluster.client("training")
    assert trainer.get_object(Bucket="datalake", Key="molecule/row")["Body"].read() == b"r"
    assert refused(trainer.put_object, Bucket="datalake", Key="molecule/row", Body=b"") == DENIED
    assert refused(trainer.delete_object, Bucket="datalake", Key="molecule/row") == DENIED
    assert refused(trainer.list_objects_v2, Bucket="flink") == DENIED


def test_the_audit_reads_the_lake_and_changes_nothing(cluster: Cluster, refused: Refused) -> None:
    cluster.client("flink").put_object(Bucket="datalake", Key="molecule/audited", Body=b"row")
    audit = cluster.client("audit")
    listed = audit.list_objects_v2(Bucket="datalake", Prefix="molecule/audited")
    assert [entry["Key"] for entry in listed["Contents"]] == ["molecule/audited"]
    assert audit.get_object(Bucket="datalake", Key="molecule/audited")["Body"].read() == b"row"
    assert refused(audit.put_object, Bucket="datalake", Key="molecule/audited", Body=b"") == DENIED
    assert refused(audit.delete_object, Bucket="datalake", Key="molecule/audited") == DENIED
    for bucket in ("models", "features", "flink"):
        assert refused(audit.list_objects_v2, Bucket=bucket) == DENIED


def test_flink_does_all_that_its_file_systems_need_in_its_buckets(cluster: Cluster, refused: Refused) -> None:
    flink = cluster.client("flink")
    part = b"p" * (5 * 1024 * 1024)
    for bucket in ("datalake", "flink"):
        flink.get_bucket_location(Bucket=bucket)
        target = {"Bucket": bucket, "Key": "molecule/part"}
        begun = {**target, "UploadId": flink.create_multipart_upload(**target)["UploadId"]}
        parts = [
            {"PartNumber": number, "ETag": flink.upload_part(**begun, PartNumber=number, Body=body)["ETag"]}
            for number, body in ((1, part), (2, b"end"))
        ]
        assert len(flink.list_parts(**begun)["Parts"]) == 2
        assert flink.list_multipart_uploads(Bucket=bucket, Prefix=target["Key"])["Uploads"]
        flink.complete_multipart_upload(**begun, MultipartUpload={"Parts": parts})
        assert flink.head_object(**target)["ContentLength"] == len(part) + 3
        abandoned = flink.create_multipart_upload(**target)["UploadId"]
        flink.abort_multipart_upload(**target, UploadId=abandoned)
        flink.copy_object(Bucket=bucket, Key="molecule/copy", CopySource=f"{bucket}/molecule/part")
        listed = flink.list_objects_v2(Bucket=bucket, Prefix="molecule/", Delimiter="/")
        assert {"molecule/part", "molecule/copy"} <= {entry["Key"] for entry in listed["Contents"]}
        keys = [{"Key": "molecule/part"}, {"Key": "molecule/copy"}]
        assert "Errors" not in flink.delete_objects(Bucket=bucket, Delete={"Objects": keys})
    for bucket in ("models", "features"):
        assert refused(flink.list_objects_v2, Bucket=bucket) == DENIED


def test_an_overwritten_model_can_be_read_back_and_its_versions_cannot_be_destroyed(
    cluster: Cluster, refused: Refused
) -> None:
    trainer = cluster.client("training")
    target = {"Bucket": "models", "Key": f"molecule/{uuid.uuid4()}"}
    first = trainer.put_object(**target, Body=b"first")["VersionId"]
    trainer.put_object(**target, Body=b"second")
    trainer.delete_object(**target)
    assert trainer.get_object(**target, VersionId=first)["Body"].read() == b"first"
    assert refused(trainer.delete_object, **target, VersionId=first) == DENIED


def test_old_versions_of_a_model_expire(cluster: Cluster) -> None:
    exported = cluster.hosts[0].check_output("mc --json ilm rule export lab/models")
    (rule,) = json.loads(exported)["config"]["Rules"]
    assert rule["Status"] == "Enabled"
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 90}


def test_users_cannot_administer(cluster: Cluster, refused: Refused) -> None:
    for user in ("audit", "compaction", "flink", "scoring", "training"):
        assert refused(cluster.client(user).create_bucket, Bucket="molecule-own") == DENIED
        assert refused(cluster.client(user).delete_bucket, Bucket="models") == DENIED


def test_anonymous_gets_nothing(cluster: Cluster) -> None:
    for path in ("/", "/models", "/datalake/?list-type=2", "/models/releases/00000001.json"):
        assert status(cluster.addresses[0], path) == 403


@pytest.mark.parametrize("access_key", ["minioadmin", "minio", "admin", "root"])
def test_default_credentials_are_refused(cluster: Cluster, refused: Refused, access_key: str) -> None:
    for secret_key in ("minioadmin", "minio123", "password"):
        client = cluster.client_with(access_key, secret_key)
        assert refused(client.list_buckets) == "InvalidAccessKeyId"
