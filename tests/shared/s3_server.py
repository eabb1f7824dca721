"""A store that answers by HTTP as S3 does, in this process."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from moto.server import ThreadedMotoServer

from flink_jobs.store.settings import S3, Buckets, Kafka, Settings, Topics


@contextmanager
def s3_server() -> Iterator[Settings]:
    """Run an empty store for as long as the block takes; give settings that name it, and no Kafka."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield Settings(
        Kafka("127.0.0.1:9"),
        Topics("transactions", "predictions", "fraud_alerts", "transactions_dlq"),
        S3(f"http://{host}:{port}", "user", "password"),
        Buckets("datalake", "models", "features", "flink"),
    )
    server.stop()
