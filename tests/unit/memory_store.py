"""A stand-in for MinIO."""

import hashlib
import io
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import botocore.exceptions


def _tag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


class NoSuchKey(botocore.exceptions.ClientError):
    pass


class MemoryStore:
    """The part of boto3's S3 client that is used; `written` has the keys in order, `now` is its clock."""

    def __init__(self, buckets: tuple[str, ...] = ("models", "features", "datalake")) -> None:
        self.objects: dict[str, dict[str, bytes]] = {name: {} for name in buckets}
        self.written: list[str] = []
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.modified: dict[tuple[str, str], datetime] = {}
        self.meta = SimpleNamespace(endpoint_url="http://127.0.0.1:9")
        self.exceptions = SimpleNamespace(NoSuchKey=NoSuchKey)

    def put_object(
        self,
        *,
        Bucket: str,  # noqa: N803 - boto3's names
        Key: str,  # noqa: N803
        Body: bytes,  # noqa: N803
        IfNoneMatch: str = "",  # noqa: N803
        IfMatch: str = "",  # noqa: N803
    ) -> None:
        bucket = self._bucket("PutObject", Bucket)
        if IfMatch and Key not in bucket:
            raise NoSuchKey({"Error": {"Code": "NoSuchKey"}}, "PutObject")
        if (IfNoneMatch == "*" and Key in bucket) or (IfMatch and IfMatch != _tag(bucket[Key])):
            raise botocore.exceptions.ClientError({"Error": {"Code": "PreconditionFailed"}}, "PutObject")
        bucket[Key] = Body
        self.written.append(f"{Bucket}/{Key}")
        self.modified[Bucket, Key] = self.now

    def get_object(self, *, Bucket: str, Key: str, Range: str = "") -> dict[str, Any]:  # noqa: N803
        bucket = self._bucket("GetObject", Bucket)
        if Key not in bucket:
            raise NoSuchKey({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        first, _, last = Range.removeprefix("bytes=").partition("-")
        part = bucket[Key][int(first) : int(last) + 1] if Range else bucket[Key]
        return {"Body": io.BytesIO(part), "ETag": _tag(bucket[Key])}

    def delete_object(self, *, Bucket: str, Key: str) -> None:  # noqa: N803
        self._bucket("DeleteObject", Bucket).pop(Key, None)

    def list_objects_v2(
        self,
        *,
        Bucket: str,  # noqa: N803
        Prefix: str = "",  # noqa: N803
        Delimiter: str = "",  # noqa: N803
        ContinuationToken: str = "",  # noqa: N803
    ) -> dict[str, Any]:
        """Two entries a page, so that tests meet paging; as with S3, a page begins after the last key."""
        keys = sorted(key for key in self._bucket("ListObjectsV2", Bucket) if key.startswith(Prefix))
        cut = len(Prefix)
        if Delimiter:
            keys = sorted({key[: key.index("/", cut) + 1] if "/" in key[cut:] else key for key in keys})
        left = [key for key in keys if key > ContinuationToken]
        page = {
            "Contents": [{"Key": key, **self._about(Bucket, key)} for key in left[:2] if key[-1:] != "/"],
            "CommonPrefixes": [{"Prefix": key} for key in left[:2] if key[-1:] == "/"],
            "IsTruncated": len(left) > 2,
        }
        return page | ({"NextContinuationToken": left[1]} if page["IsTruncated"] else {})

    def _about(self, bucket: str, key: str) -> dict[str, Any]:
        return {
            "Size": len(self.objects[bucket][key]),
            "LastModified": self.modified.get((bucket, key), self.now),
        }

    def _bucket(self, operation: str, name: str) -> dict[str, bytes]:
        """Every request comes by here."""
        if name not in self.objects:
            raise botocore.exceptions.ClientError({"Error": {"Code": "NoSuchBucket"}}, operation)
        return self.objects[name]


class Killed(BaseException):
    """The process is no more; no code of it runs any more, whatever it catches."""


class MortalStore(MemoryStore):
    """Kills its client at its nth request, before that does anything; `left` counts down to it."""

    left = -1

    def _bucket(self, operation: str, name: str) -> dict[str, bytes]:
        if self.left == 0:
            raise Killed
        self.left -= 1
        return super()._bucket(operation, name)
