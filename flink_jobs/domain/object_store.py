"""The one way to MinIO from Python."""

# ruff: noqa: ANN401 - boto3 makes its classes at run time

from typing import Any, overload

import boto3
import botocore.config
import botocore.exceptions

from flink_jobs.domain.settings import S3


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
    """Read a whole object; None where it may be missing and is.

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
