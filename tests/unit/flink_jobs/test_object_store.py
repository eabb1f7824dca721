"""Listing goes through all pages; the stand-in for MinIO pages as S3 does."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from memory_store import MemoryStore
from moto import mock_aws

from flink_jobs.store.object_store import delete_object, list_keys, list_objects, write_object

# boto3 makes its classes at run time
Client = Any
KEYS = ["a/1", "a/2", "b/1", "c", "d/1", "d/2", "e/1"]


@pytest.fixture(params=["memory", "moto"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """Give the tests' own store, and moto's S3 with as few keys a page."""
    if request.param == "memory":
        yield MemoryStore(("models",))
        return
    with mock_aws():
        access = {"aws_access_key_id": "moto", "aws_secret_access_key": "moto"}
        s3 = boto3.client("s3", region_name="us-east-1", **access)
        s3.create_bucket(Bucket="models")
        s3.meta.events.register(
            "provide-client-params.s3.ListObjectsV2", lambda params, **_: params | {"MaxKeys": 2}
        )
        yield s3


@pytest.fixture(autouse=True)
def filled(client: Client) -> None:
    for key in reversed(KEYS):
        write_object(client, "models", key, b"12345")


def test_all_pages_are_listed_in_order(client: Client) -> None:
    assert list(list_keys(client, "models")) == KEYS
    assert list(list_keys(client, "models", folders=True)) == ["a/", "b/", "d/", "e/"]
    assert list(list_keys(client, "models", "d/")) == ["d/1", "d/2"]
    assert [(each.key, each.size) for each in list_objects(client, "models", "")] == [(k, 5) for k in KEYS]


def test_nothing_is_listed_where_nothing_is(client: Client) -> None:
    assert list(list_keys(client, "models", "z/")) == []
    assert list(list_keys(client, "models", "c", folders=True)) == []
    assert list(list_objects(client, "models", "z/")) == []


def test_what_is_deleted_while_it_is_listed_hides_nothing(client: Client) -> None:
    seen = []
    for key in list_keys(client, "models"):
        delete_object(client, "models", key)
        seen.append(key)
    assert seen == KEYS
    assert list(list_keys(client, "models")) == []
