"""A stand-in for Flink's map state."""

from collections.abc import Iterator, Mapping


class MapState:
    """Bytes by customer; counts reads, writes, and bytes written."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.reads = self.writes = self.written_bytes = 0

    def get(self, key: str, /) -> bytes | None:
        self.reads += 1
        return self.kept.get(key)

    def put_all(self, values: Mapping[str, bytes], /) -> None:
        self.kept.update(values)
        self.writes += len(values)
        self.written_bytes += sum(map(len, values.values()))

    def remove(self, key: str, /) -> None:
        self.kept.pop(key, None)

    def items(self) -> Iterator[tuple[str, bytes]]:
        return iter(self.kept.items())
