"""A stand-in for MinIO."""

import io
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import botocore.exceptions


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

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, IfNoneMatch: str = "") -> None:  # noqa: N803 - boto3's names
        bucket = self._bucket("PutObject", Bucket)
        if IfNoneMatch == "*" and Key in bucket:
            raise botocore.exceptions.ClientError({"Error": {"Code": "PreconditionFailed"}}, "PutObject")
        bucket[Key] = Body
        self.written.append(f"{Bucket}/{Key}")
        self.modified[Bucket, Key] = self.now

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, io.BytesIO]:  # noqa: N803
        bucket = self._bucket("GetObject", Bucket)
        if Key not in bucket:
            raise NoSuchKey({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        return {"Body": io.BytesIO(bucket[Key])}

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
        kind, name = "Contents", "Key"
        if Delimiter:
            kind, name = "CommonPrefixes", "Prefix"
            cut = len(Prefix)
            keys = sorted({key[: key.index("/", cut) + 1] for key in keys if "/" in key[cut:]})
        left = [key for key in keys if key > ContinuationToken]
        page = {
            kind: [{name: key, **self._about(Bucket, key)} for key in left[:2]],
            "IsTruncated": len(left) > 2,
        }
        return page | ({"NextContinuationToken": left[1]} if page["IsTruncated"] else {})

    def _about(self, bucket: str, key: str) -> dict[str, Any]:
        if key not in self.objects[bucket]:
            return {}  # a folder
        return {
            "Size": len(self.objects[bucket][key]),
            "LastModified": self.modified.get((bucket, key), self.now),
        }

    def _bucket(self, operation: str, name: str) -> dict[str, bytes]:
        if name not in self.objects:
            raise botocore.exceptions.ClientError({"Error": {"Code": "NoSuchBucket"}}, operation)
        return self.objects[name]
