"""How a micro-batch travels between Flink SQL and Python: as UTF-8 each way.

SQL's LISTAGG gathers text only, so the bytes of each record are read as ISO-8859-1, which maps every
byte to one character and back. The separator of records lies outside ISO-8859-1, so no record contains it.
Outcomes go back as JSON, one a line.
"""

from flink_jobs.domain.scoring import Record

RECORD_SEPARATOR = "\u2028"
BYTES_ENCODING = "ISO-8859-1"
_RECORD_SEPARATOR = RECORD_SEPARATOR.encode()


def unpack_batch(batch: bytes) -> list[Record]:
    """Take a batch apart; each record is packed as `partition offset timestamp_ms bytes_left_out payload`."""
    records = []
    for packed in batch.split(_RECORD_SEPARATOR):
        partition, offset, timestamp_ms, bytes_left_out, payload = packed.split(b" ", 4)
        if not payload.isascii():
            payload = payload.decode().encode(BYTES_ENCODING)
        records.append(
            Record(
                int(partition), int(offset), int(timestamp_ms), len(payload) + int(bytes_left_out), payload
            )
        )
    # by partition and offset: SQL gathers in parts, which are out of order
    records.sort()
    return records
