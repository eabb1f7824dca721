"""The one way to MinIO from Python."""

# ruff: noqa: ANN401 - boto3 makes its classes at run time

import contextlib
import io
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, overload

import boto3
import botocore.config
import botocore.exceptions
import botocore.session
import botocore.utils

from flink_jobs.store.s3_servers import from_first_answering, go_round
from flink_jobs.store.settings import S3

_REMEDIES = {
    "NoSuchBucket": "ansible-playbook site.yml makes the buckets",
    "AccessDenied": "models are written with the settings of the user `training`",
}
# The object is there already, is another or none, or another request is just writing it.
_ANOTHER = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey")
_ENDED_EARLY = (
    botocore.exceptions.IncompleteReadError,
    botocore.exceptions.ReadTimeoutError,
    botocore.exceptions.ResponseStreamingError,
)
# What is smaller is read whole: one request instead of one for each column.
_READ_WHOLE_BYTES = 1024 * 1024


class ObjectStoreError(RuntimeError):
    """An object could not be read or written: which, where, and what to do."""


class ObjectMissingError(ObjectStoreError):
    """There is no such object, or no more."""


def s3_client(settings: S3) -> Any:
    """Make a client; it gives up on a silent server after a few seconds instead of minutes.

    Where there are several servers, it begins with one that answers, and goes on with another.
    """
    _read_times_quickly()
    urls = from_first_answering(settings.endpoint_urls or (settings.endpoint_url,))
    client = boto3.client(
        "s3",
        endpoint_url=urls[0],
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
    if len(urls) > 1:
        go_round(client, urls)
    return client


@cache
def _read_times_quickly() -> None:
    session = botocore.session.get_session()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_time)
    boto3.setup_default_session(botocore_session=session)


def _time(text: Any) -> datetime:
    """Read a time of an answer; three quarters of a listing's time went into botocore's own way."""
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        # headers have another form
        time: datetime = botocore.utils.parse_timestamp(text)
        return time


@overload
def read_object(client: Any, bucket: str, key: str) -> bytes: ...
@overload
def read_object(client: Any, bucket: str, key: str, *, missing_ok: bool) -> bytes | None: ...
def read_object(client: Any, bucket: str, key: str, *, missing_ok: bool = False) -> bytes | None:
    """Read a whole object; None if it is missing and `missing_ok`.

    Raises:
        ObjectStoreError: not there, not allowed, or the server does not answer.

    """
    try:
        return _get(client, bucket, key)[0]
    except ObjectMissingError:
        if missing_ok:
            return None
        raise


def read_tagged(client: Any, bucket: str, key: str) -> tuple[bytes, str] | None:
    """Read a whole object and the tag of its content, for `replace_object`; None if it is missing.

    Raises:
        ObjectStoreError: not allowed, or the server does not answer.

    """
    try:
        return _get(client, bucket, key)
    except ObjectMissingError:
        return None


def open_object(client: Any, bucket: str, key: str, size: int) -> io.BufferedIOBase | io.RawIOBase:
    """Open an object of a known size to read parts of it; a read raises what `read_object` does."""
    if size <= _READ_WHOLE_BYTES:
        return io.BytesIO(read_object(client, bucket, key))
    return _Parts(lambda part: _get(client, bucket, key, part)[0], size)


class _Parts(io.RawIOBase):
    """An object, of which each read asks for a part."""

    def __init__(self, get: Callable[[str], bytes], size: int) -> None:
        self._get = get
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        end = self._size if size is None or size < 0 else min(self._at + size, self._size)
        content = self._get(f"bytes={self._at}-{end - 1}") if end > self._at else b""
        self._at += len(content)
        return content


def _get(client: Any, bucket: str, key: str, part: str = "") -> tuple[bytes, str]:
    where = f"s3://{bucket}/{key} at {client.meta.endpoint_url}"

    def get() -> tuple[bytes, str]:
        found = client.get_object(Bucket=bucket, Key=key, **({"Range": part} if part else {}))
        return found["Body"].read(), found.get("ETag", "")

    try:
        # the client repeats a request that got no answer, but not one whose answer ended too early
        with contextlib.suppress(*_ENDED_EARLY):
            return get()
        return get()
    except client.exceptions.NoSuchKey as error:
        raise ObjectMissingError(f"cannot read {where}: {error}") from None
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        raise ObjectStoreError(f"cannot read {where}: {error}") from None


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


def is_there(client: Any, bucket: str, key: str) -> bool:
    """Tell whether there is such an object, without reading it; ObjectStoreError as for `list_keys`."""
    return key in list_keys(client, bucket, key)


def list_objects(client: Any, bucket: str, prefix: str, *, recursive: bool = True) -> Iterator[StoredObject]:
    """List the objects below a prefix, in the order of their keys; ObjectStoreError as for `list_keys`."""
    for page in _pages(client, bucket, {"Prefix": prefix} | ({} if recursive else {"Delimiter": "/"})):
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
    return _is_written(
        client,
        "create",
        bucket,
        key,
        lambda: client.put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*"),
    )


def replace_object(client: Any, bucket: str, key: str, content: bytes, tag: str) -> bool:
    """Write a whole object if it still has this tag; False if it is another one by now: it stays as it is.

    It may be the writer's own, as with `create_object`.

    Raises:
        ObjectStoreError: as for `write_object`.

    """
    return _is_written(
        client,
        "replace",
        bucket,
        key,
        lambda: client.put_object(Bucket=bucket, Key=key, Body=content, IfMatch=tag),
    )


def _is_written(client: Any, what: str, bucket: str, key: str, put: Callable[[], Any]) -> bool:
    """Write under a condition; False where that is not met."""
    written = True

    def put_if() -> None:
        nonlocal written
        try:
            put()
        except botocore.exceptions.ClientError as error:
            if error.response["Error"]["Code"] not in _ANOTHER:
                raise
            written = False

    _change(client, what, bucket, key, put_if)
    return written


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
