"""A stand-in for stored histories."""

from collections.abc import Mapping


class PlainHistories:
    """Histories by customer; counts writes."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.writes = 0

    def get(self, key: str, /) -> bytes | None:
        return self.kept.get(key)

    def put_all(self, values: Mapping[str, bytes], /) -> None:
        self.kept.update(values)
        self.writes += len(values)
