"""The one way to MinIO from Python."""

# ruff: noqa: ANN401 - boto3 makes its classes at run time

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple, overload

import boto3
import botocore.config
import botocore.exceptions

from flink_jobs.store.settings import S3

_REMEDIES = {
    "NoSuchBucket": "ansible-playbook site.yml makes the buckets",
    "AccessDenied": "models are written with the settings of the user `training`",
}
# The object is there already, or another request is just writing it.
_EXISTS = ("PreconditionFailed", "ConditionalRequestConflict")


class ObjectStoreError(RuntimeError):
    """An object could not be read or written: which, where, and what to do."""


def s3_client(settings: S3) -> Any:
    """Make a client; it gives up on a silent server after a few seconds instead of minutes."""
    return boto3.client(
        "s3",
        endpoint_url=settings.endpoint_url,
        aws_access_key_id=settings.access_key,
        aws_secret_access_key=settings.secret_key,
        region_name=settings.region,
        config=botocore.config.Config(
            connect_timeout=5,
            read_timeout=30,
            retries={"max_attempts": 3, "mode": "standard"},
            s3={"addressing_style": "path"},
        ),
    )


@overload
def read_object(client: Any, bucket: str, key: str) -> bytes: ...
@overload
def read_object(client: Any, bucket: str, key: str, *, missing_ok: bool) -> bytes | None: ...
def read_object(client: Any, bucket: str, key: str, *, missing_ok: bool = False) -> bytes | None:
    """Read a whole object; None if it is missing and `missing_ok`.

    Raises:
        ObjectStoreError: not there, not allowed, or the server does not answer.

    """
    where = f"s3://{bucket}/{key} at {client.meta.endpoint_url}"
    try:
        content: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    except client.exceptions.NoSuchKey as error:
        if missing_ok:
            return None
        raise ObjectStoreError(f"cannot read {where}: {error}") from None
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        raise ObjectStoreError(f"cannot read {where}: {error}") from None
    return content


class StoredObject(NamedTuple):
    """An object, without its content: size in bytes, and when it was written."""

    key: str
    size: int
    modified: datetime


def list_keys(client: Any, bucket: str, prefix: str = "", *, folders: bool = False) -> Iterator[str]:
    """List the keys below a prefix, in their order; or the folders right below it, each ending with a slash.

    Raises:
        ObjectStoreError: no such bucket, not allowed, or the server does not answer.

    """
    for page in _pages(client, bucket, {"Prefix": prefix} | ({"Delimiter": "/"} if folders else {})):
        if folders:
            yield from (found["Prefix"] for found in page.get("CommonPrefixes", ()))
        else:
            yield from (found["Key"] for found in page.get("Contents", ()))


def list_objects(client: Any, bucket: str, prefix: str) -> Iterator[StoredObject]:
    """List the objects below a prefix, in the order of their keys; ObjectStoreError as for `list_keys`."""
    for page in _pages(client, bucket, {"Prefix": prefix}):
        for found in page.get("Contents", ()):
            yield StoredObject(found["Key"], found["Size"], found["LastModified"])


def _pages(client: Any, bucket: str, request: dict[str, str]) -> Iterator[dict[str, Any]]:
    while True:
        try:
            page = client.list_objects_v2(Bucket=bucket, **request)
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            where = f"s3://{bucket}/{request['Prefix']} at {client.meta.endpoint_url}"
            raise ObjectStoreError(f"cannot list {where}: {error}") from None
        yield page
        if not page.get("IsTruncated"):
            return
        request = {**request, "ContinuationToken": page["NextContinuationToken"]}


def write_object(client: Any, bucket: str, key: str, content: bytes) -> None:
    """Write a whole object; readers see the old content or the new one.

    Raises:
        ObjectStoreError: no such bucket, not allowed, or the server does not answer.

    """
    _change(client, "write", bucket, key, lambda: client.put_object(Bucket=bucket, Key=key, Body=content))


def create_object(client: Any, bucket: str, key: str, content: bytes) -> bool:
    """Write a whole object unless there is one already; False if there is: it stays as it is.

    It may be the writer's own: the client repeats a request that got no answer.

    Raises:
        ObjectStoreError: as for `write_object`.

    """
    created = True

    def create() -> None:
        nonlocal created
        try:
            client.put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
        except botocore.exceptions.ClientError as error:
            if error.response["Error"]["Code"] not in _EXISTS:
                raise
            created = False

    _change(client, "create", bucket, key, create)
    return created


def delete_object(client: Any, bucket: str, key: str) -> None:
    """Delete an object if it is there. ObjectStoreError as for `write_object`."""
    _change(client, "delete", bucket, key, lambda: client.delete_object(Bucket=bucket, Key=key))


def _change(client: Any, what: str, bucket: str, key: str, call: Callable[[], Any]) -> None:
    try:
        call()
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        code = getattr(error, "response", {}).get("Error", {}).get("Code")
        remedy = _REMEDIES.get(code, "is MinIO running, and is this its address?")
        raise ObjectStoreError(
            f"cannot {what} s3://{bucket}/{key} at {client.meta.endpoint_url}: {error}; {remedy}"
        ) from None
