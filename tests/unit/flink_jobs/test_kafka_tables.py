"""What the jobs' tables ask of Kafka's clients."""

from nobodys_settings import SETTINGS

from flink_jobs import kafka_to_minio_job, ml_inference_job


def test_no_table_waits_longer_for_a_host_that_vanished_than_others_take_to_lead() -> None:
    ddl = [
        *ml_inference_job.job_tables(SETTINGS),
        *kafka_to_minio_job.job_tables(SETTINGS, "s3://datalake", 64, 60),
    ]
    of_kafka = [table for table in ddl if "'connector' = 'kafka'" in table]
    assert len(of_kafka) == 7
    for table in of_kafka:
        assert "'properties.request.timeout.ms' = '15000'" in table, table
        assert "'properties.socket.connection.setup.timeout.ms' = '2000'" in table, table
        assert "'properties.socket.connection.setup.timeout.max.ms' = '4000'" in table, table
