"""The way of a label: sent, kept once as it came, and read by training; a malformed one stops nothing."""

import csv
import json
import time
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.dataset as ds
from conftest import ROOT, run, until
from kafka import KafkaProducer
from pyarrow import fs

from flink_jobs.store.settings import Settings
from training.label_history import read_label_history

ROWS = 2000
MALFORMED = b'\xff\xfe what is this? {"transaction_id": "7"}\x00'


def label_rows(settings: Settings) -> list[dict[str, Any]]:
    """Read the labels in the lake as an analyst would."""
    minio = fs.S3FileSystem(
        access_key=settings.s3.access_key,
        secret_key=settings.s3.secret_key,
        endpoint_override=settings.s3.endpoint_url.removeprefix("http://"),
        scheme="http",
    )
    folder = f"{settings.buckets.datalake}/labels"
    if minio.get_file_info(folder).type == fs.FileType.NotFound:
        return []
    files = ds.dataset(
        folder, filesystem=minio, format="parquet", partitioning="hive", exclude_invalid_files=False
    )
    table = files.to_table().sort_by("kafka_offset")
    # as text, as files may have times in different units
    table = table.set_column(
        table.schema.get_field_index("labelled_at"),
        "labelled_at",
        pc.strftime(table["labelled_at"], format="%Y-%m-%dT%H:%M:%S"),
    )
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def test_labels_lie_in_the_lake_once_each_and_training_reads_them(tmp_path: Path, settings: Settings) -> None:
    mark = f"system-{int(time.time())}"
    file, report = tmp_path / "labels.csv", tmp_path / "sent.json"
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["transaction_id", "is_fraud", "labelled_by", "labelled_at"])
        writer.writerows([f"{mark}-{n}", n % 2, "system test", "2025-05-09T10:00:00Z"] for n in range(ROWS))
    output = run("fraud-label", "--data", str(file), "--report", str(report))
    assert f"{ROWS:,} labels sent to fraud_labels" in output

    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers.split(","), acks="all")
    bad = producer.send(settings.topics.fraud_labels, MALFORMED, key=b"7").get(30)
    producer.close()
    # labels after the malformed one, in its partition too
    run("fraud-label", f"{mark}-0", f"{mark}-2", "--fraud", "--by", "system test", "--at", "2025-05-10")

    offsets = {int(number): span for number, span in json.loads(report.read_text())["offsets"].items()}
    expected = {(number, at) for number, (first, end) in offsets.items() for at in range(first, end)}
    assert len(expected) >= ROWS
    found: list[dict[str, Any]] = []

    def arrived() -> bool:
        found[:] = label_rows(settings)
        places = {(row["kafka_partition"], row["kafka_offset"]) for row in found}
        mine = [row for row in found if (row["transaction_id"] or "").startswith(mark)]
        return expected | {(bad.partition, bad.offset)} <= places and len(mine) >= ROWS + 2

    assert until(arrived), f"{len(found)} labels in the lake, {len(expected)} and more were sent"
    places = [(row["kafka_partition"], row["kafka_offset"]) for row in found]
    assert len(places) == len(set(places)), "a label is in the lake twice"
    by_place = dict(zip(places, found, strict=True))
    malformed = by_place[bad.partition, bad.offset]
    assert malformed["payload"] == MALFORMED
    assert malformed["transaction_id"] is malformed["is_fraud"] is malformed["labelled_at"] is None
    mine = [row for row in found if row["transaction_id"] in {f"{mark}-0", f"{mark}-1"}]
    assert {
        (row["transaction_id"], row["is_fraud"], row["labelled_by"], row["labelled_at"][:19]) for row in mine
    } == {
        (f"{mark}-0", False, "system test", "2025-05-09T10:00:00"),
        (f"{mark}-0", True, "system test", "2025-05-10T00:00:00"),
        (f"{mark}-1", True, "system test", "2025-05-09T10:00:00"),
    }

    labels = read_label_history(f"s3://{settings.buckets.datalake}/labels", ROOT / "build/lab/settings.json")
    latest = labels.frame.drop_duplicates("transaction_id", keep="last").set_index("transaction_id")
    assert latest["is_fraud"].reindex([f"{mark}-{n}" for n in range(4)]).tolist() == [1, 1, 1, 1]
    assert latest.loc[f"{mark}-4", "is_fraud"] == 0
    assert labels.left_out >= 1


def test_wrong_labels_are_refused_before_anything_is_sent(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("transaction_id,is_fraud\n1,1\n2,perhaps\n")
    output = run("bash", "-c", f"fraud-label --data {file} --by me 2>&1", codes=(2,))
    assert "column is_fraud" in output
    output = run("bash", "-c", "fraud-label 1 --fraud 2>&1", codes=(2,))
    assert "--by NAME" in output
