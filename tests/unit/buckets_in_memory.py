"""A stand-in for the state's buckets."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from flink_jobs.domain.buckets import BUCKETS
from flink_jobs.domain.stored_histories import StoredHistories


class BucketsInMemory:
    """Bytes by bucket and customer; counts reads, writes, and bytes written."""

    def __init__(self) -> None:
        self.kept = defaultdict[int, dict[str, bytes]](dict)
        self.reads = self.writes = self.written_bytes = 0

    def get(self, bucket: int, customer_id: str, /) -> bytes | None:
        self.reads += 1
        return self.kept[bucket].get(customer_id)

    def put_all(self, bucket: int, entries: Mapping[str, bytes], /) -> None:
        self.kept[bucket].update(entries)
        self.writes += len(entries)
        self.written_bytes += sum(map(len, entries.values()))

    def remove(self, bucket: int, customer_id: str, /) -> None:
        self.kept[bucket].pop(customer_id, None)

    def items(self, bucket: int, /) -> Iterator[tuple[str, bytes]]:
        return iter(list(self.kept[bucket].items()))

    def customers(self) -> dict[str, bytes]:
        """All customers' bytes, whatever the bucket."""
        return {name: kept for bucket in self.kept.values() for name, kept in bucket.items()}


class HistoriesInMemory(StoredHistories):
    """Histories of all buckets."""

    def __init__(self, most_bytes: int = 1_000_000) -> None:
        self.written, self.added = BucketsInMemory(), BucketsInMemory()
        super().__init__(self.written, self.added, range(BUCKETS), most_bytes)

    def by_customer(self) -> dict[str, bytes]:
        """Every customer's history, as the two parts of the state have it."""
        added = self.added.customers()
        return {name: whole + added.get(name, b"") for name, whole in self.written.customers().items()}
