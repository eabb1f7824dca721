"""Folders with a subfolder a day, in MinIO or on disk: what the lake is read from."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Protocol

from flink_jobs.store.object_store import (
    ObjectMissingError,
    ObjectStoreError,
    StoredObject,
    list_keys,
    list_objects,
    open_object,
    read_object,
    s3_client,
)
from flink_jobs.store.settings import load_settings


class Folder(Protocol):
    """Files by name, which is a path from the folder on, with slashes.

    All methods raise ObjectStoreError where they cannot, ObjectMissingError where there is no such file.

    Attributes:
        name: for messages.

    """

    name: str

    def subfolders(self) -> list[str]:
        """List the folders right below, in their order."""

    def files(self, subfolder: str) -> list[StoredObject]:
        """List the files right below a subfolder, in their order; "": right below the folder."""

    def read(self, name: str) -> bytes:
        """Read a whole file."""

    def open(self, file: StoredObject) -> IO[bytes] | io.BufferedIOBase | io.RawIOBase:
        """Open a file of which parts are read."""


class BucketFolder:
    """A folder of a bucket."""

    def __init__(self, client: Any, bucket: str, folder: str) -> None:  # noqa: ANN401 - boto3 makes its classes at run time
        self._client = client
        self._bucket = bucket
        self._prefix = f"{folder.rstrip('/')}/"
        self.name = f"s3://{bucket}/{folder.rstrip('/')}"

    def subfolders(self) -> list[str]:
        """List the folders right below."""
        found = list_keys(self._client, self._bucket, self._prefix, folders=True)
        return [key.removeprefix(self._prefix).rstrip("/") for key in found]

    def files(self, subfolder: str) -> list[StoredObject]:
        """List the files right below a subfolder."""
        prefix = self._prefix + (f"{subfolder}/" if subfolder else "")
        return [
            found._replace(key=found.key.removeprefix(self._prefix))
            for found in list_objects(self._client, self._bucket, prefix, recursive=False)
        ]

    def read(self, name: str) -> bytes:
        """Read a whole file."""
        return read_object(self._client, self._bucket, self._prefix + name)

    def open(self, file: StoredObject) -> io.BufferedIOBase | io.RawIOBase:
        """Open a file; a read asks MinIO for that part."""
        return open_object(self._client, self._bucket, self._prefix + file.key, file.size)


class LocalFolder:
    """A folder on disk, such as a copy of the lake's."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = str(path)

    def subfolders(self) -> list[str]:
        """List the folders right below."""
        return sorted(path.name for path in self._entries("") if path.is_dir())

    def files(self, subfolder: str) -> list[StoredObject]:
        """List the files right below a subfolder."""
        return sorted(
            StoredObject(
                path.relative_to(self._path).as_posix(),
                path.stat().st_size,
                datetime.fromtimestamp(path.stat().st_mtime, UTC),
            )
            for path in self._entries(subfolder)
            if path.is_file()
        )

    def read(self, name: str) -> bytes:
        """Read a whole file."""
        with self._opened(name) as file:
            return file.read()

    def open(self, file: StoredObject) -> IO[bytes]:
        """Open a file."""
        return self._opened(file.key)

    def _entries(self, subfolder: str) -> Iterator[Path]:
        try:
            yield from (self._path / subfolder).iterdir()
        except FileNotFoundError:
            return
        except OSError as error:
            raise ObjectStoreError(f"cannot list {self._path / subfolder}: {error.strerror}") from None

    def _opened(self, name: str) -> IO[bytes]:
        try:
            return (self._path / name).open("rb")
        except FileNotFoundError:
            raise ObjectMissingError(f"cannot read {self._path / name}: there is no such file") from None
        except OSError as error:
            raise ObjectStoreError(f"cannot read {self._path / name}: {error.strerror}") from None


def folder_at(location: str, settings_file: str | Path | None = None) -> Folder | None:
    """Give the folder at a path or `s3://bucket/folder`; None where the location names none.

    Raises:
        SettingsError: the settings say where `s3://` is, and they cannot be read.

    """
    if not location.startswith("s3://"):
        return LocalFolder(Path(location)) if Path(location).is_dir() else None
    bucket, _, folder = location.removeprefix("s3://").rstrip("/").partition("/")
    if not bucket or not folder:
        return None
    return BucketFolder(s3_client(load_settings(settings_file).s3), bucket, folder)
