from datetime import UTC, datetime, timedelta

from s3_server import s3_server

from flink_jobs.store.object_store import list_objects, s3_client, write_object

BUCKET = "times"


def test_times_of_listings_are_read_without_botocores_slow_way() -> None:
    with s3_server() as settings:
        client = s3_client(settings.s3)
        client.create_bucket(Bucket=BUCKET)
        write_object(client, BUCKET, "a", b"1")
        (found,) = list_objects(client, BUCKET, "")
        # botocore's own has a time zone of dateutil's
        assert found.modified.tzinfo is UTC
        assert abs(datetime.now(UTC) - found.modified) < timedelta(minutes=1)
        # a header has another form
        assert client.head_object(Bucket=BUCKET, Key="a")["LastModified"] == found.modified
