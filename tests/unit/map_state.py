"""A stand-in for Flink's map state."""

from collections.abc import Iterator


class MapState:
    """Bytes by customer; counts reads, writes, and bytes written."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.reads = self.writes = self.written_bytes = 0

    def get(self, key: str, /) -> bytes | None:
        self.reads += 1
        return self.kept.get(key)

    def put(self, key: str, value: bytes, /) -> None:
        self.kept[key] = value
        self.writes += 1
        self.written_bytes += len(value)

    def remove(self, key: str, /) -> None:
        self.kept.pop(key, None)

    def items(self) -> Iterator[tuple[str, bytes]]:
        return iter(self.kept.items())
