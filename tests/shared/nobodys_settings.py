"""Settings of a system that nobody runs, for tests that reach none: its addresses answer nothing."""

from flink_jobs.store.settings import S3, Buckets, Kafka, Settings, Topics

SETTINGS = Settings(
    Kafka("127.0.0.1:1"),
    Topics("transactions", "predictions", "fraud_alerts", "transactions_dlq"),
    S3("http://127.0.0.1:9", "user", "password"),
    Buckets("datalake", "models", "features", "flink"),
)
