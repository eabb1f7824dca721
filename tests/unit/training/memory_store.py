"""A stand-in for MinIO."""

import io
from types import SimpleNamespace

import botocore.exceptions


class NoSuchKey(botocore.exceptions.ClientError):
    pass


class MemoryStore:
    """The part of boto3's S3 client that is used, in memory; `written` has the keys in order."""

    def __init__(self, buckets: tuple[str, ...] = ("models", "features", "datalake")) -> None:
        self.objects: dict[str, dict[str, bytes]] = {name: {} for name in buckets}
        self.written: list[str] = []
        self.meta = SimpleNamespace(endpoint_url="http://127.0.0.1:9")
        self.exceptions = SimpleNamespace(NoSuchKey=NoSuchKey)

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> None:  # noqa: N803 - boto3's names
        self._bucket("PutObject", Bucket)[Key] = Body
        self.written.append(f"{Bucket}/{Key}")

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, io.BytesIO]:  # noqa: N803
        bucket = self._bucket("GetObject", Bucket)
        if Key not in bucket:
            raise NoSuchKey({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        return {"Body": io.BytesIO(bucket[Key])}

    def _bucket(self, operation: str, name: str) -> dict[str, bytes]:
        if name not in self.objects:
            raise botocore.exceptions.ClientError({"Error": {"Code": "NoSuchBucket"}}, operation)
        return self.objects[name]
