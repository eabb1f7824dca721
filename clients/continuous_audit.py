"""The continuous audit: a look at what came since the last one, with a state that is kept on disk."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from clients.continuous_look import AUDITED_FOLDERS, Look, Looked
from clients.continuous_report import ContinuousReport, metrics
from clients.kafka_clients import make_consumer
from clients.process import ClientError, write_file
from flink_jobs.domain.audit_state import STATE_VERSION, AuditState
from flink_jobs.domain.json_errors import NOT_THE_JSON
from flink_jobs.domain.offset_set import size
from flink_jobs.store.folders import BucketFolder
from flink_jobs.store.kafka_servers import LEADER_TIMEOUT_S
from flink_jobs.store.lake_files import LakeFiles
from flink_jobs.store.object_store import s3_client
from flink_jobs.store.settings import S3, Settings

STATE_FILE = "state.json"
BROKEN_STATE_FILE = "state.broken"
REPORT_FILE = "audit.json"
METRICS_FILE = "audit.prom"
# A run begins each minute.
STALE_AFTER = timedelta(minutes=5)
_NAMED = 5


def look(settings: Settings, folder: Path, lag_s: float) -> ContinuousReport:
    """Audit what came since the last run with this folder; state and result are written there.

    Raises:
        ClientError: Kafka cannot be reached, or the folder not be written.
        LakeError: MinIO cannot be reached, and there is no state yet.

    """
    state, broken = read_state(folder)
    client = s3_client(_own_access(settings.s3))
    requests = 0

    def count(**_: Any) -> None:  # noqa: ANN401 - boto3's own arguments
        nonlocal requests
        requests += 1

    client.meta.events.register("before-send.s3", count)
    lake = {
        each: LakeFiles(BucketFolder(client, settings.buckets.datalake, each)) for each in AUDITED_FOLDERS
    }
    # its host may be cut off for a while
    consumer = make_consumer(settings.kafka, LEADER_TIMEOUT_S, group_id=None, enable_auto_commit=False)
    try:
        looked = Look(consumer, settings, lake, time.time()).run(state, lag_s)
    finally:
        consumer.close()
    if broken:
        looked = looked._replace(begun_anew=broken)
        write_file(folder / BROKEN_STATE_FILE, (folder / STATE_FILE).read_bytes())
    report = report_of(looked, lake_requests=requests)
    write_file(folder / STATE_FILE, msgspec.json.encode(looked.state))
    write_file(folder / METRICS_FILE, metrics(report).encode())
    write_file(folder / REPORT_FILE, msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    return report


def last_report(folder: Path) -> ContinuousReport:
    """Read what the last run found.

    Raises:
        ClientError: no run has ended yet.

    """
    path = folder / REPORT_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=ContinuousReport)
    except OSError as error:
        raise ClientError(
            f"cannot read {path}: {error.strerror}; the timer continuous-audit writes it each minute"
        ) from None
    except NOT_THE_JSON as error:
        raise ClientError(f"{path}: {error}; the next run writes it anew") from None


def check_fresh(report: ContinuousReport) -> None:
    """Refuse an old result.

    Raises:
        ClientError: no run has ended for minutes.

    """
    if datetime.now(UTC) - report.at > STALE_AFTER:
        raise ClientError(
            f"the last run ended at {report.at:%Y-%m-%d %H:%M:%S} UTC; "
            "`journalctl -u continuous-audit` says what came of those after it"
        )


def accept(folder: Path) -> str:
    """Ask no more about what was found to be lost, missing or repeated, and say what that is.

    Raises:
        ClientError: there is no state, or it cannot be written.

    """
    state, broken = read_state(folder)
    if state is None:
        raise ClientError(broken or f"{folder / STATE_FILE}: no run has ended yet")
    lost, missing, twice = _count(state.lost), _count(state.missing), state.stored_twice
    state.accept()
    write_file(folder / STATE_FILE, msgspec.json.encode(state))
    return f"accepted: {lost:,} lost, {missing:,} missing from the lake, {twice:,} rows there twice"


def read_state(folder: Path) -> tuple[AuditState | None, str]:
    """Read the state; None where there is none, with a reason where it is broken.

    Raises:
        ClientError: it cannot be read.

    """
    path = folder / STATE_FILE
    try:
        content = path.read_bytes()
        version = msgspec.json.decode(content, type=_AnyState).version
        if version != STATE_VERSION:
            return None, f"{path} has version {version} of its format, and this release reads {STATE_VERSION}"
        return msgspec.json.decode(content, type=AuditState), ""
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        raise ClientError(f"cannot read {path}: {error.strerror}") from None
    except NOT_THE_JSON as error:
        return None, f"{path} cannot be read: {error}"


class _AnyState(msgspec.Struct):
    """What a state of each version has; the first did not name it."""

    version: int = 1


def report_of(looked: Looked, *, lake_requests: int) -> ContinuousReport:
    """Put a look's result together."""
    state = looked.state
    return ContinuousReport(
        at=datetime.now(UTC),
        began_at=datetime.fromtimestamp(state.began_at_s, UTC),
        audited_to=datetime.fromtimestamp(state.due.at_s, UTC),
        audited=state.audited,
        lost=_count(state.lost),
        undecided=_count(state.undecided),
        lake_behind=state.behind,
        lake_complete_to=datetime.fromtimestamp(state.complete_at_s, UTC),
        lake_missing=_count(state.missing),
        lake_repeated=state.stored_twice,
        repeated=state.repeated,
        deleted=state.deleted,
        first_lost=_first(state.lost),
        first_undecided=_first(state.undecided),
        first_missing=_first(state.missing),
        repeated_in=state.stored_twice_in,
        begun_anew=looked.begun_anew,
        lake_unread=looked.lake_unread,
        answers_read=looked.answers,
        rows_read=looked.rows,
        lake_requests=lake_requests,
        processor_s=round(time.process_time(), 3),
    )


def _own_access(s3: S3) -> S3:
    """Give the access of a user of its own, where the environment has one."""
    access, secret = (os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    if not access or not secret:
        return s3
    return msgspec.structs.replace(s3, access_key=access, secret_key=secret)


def _count(gaps: dict[int, list[tuple[int, int]]]) -> int:
    return sum(map(size, gaps.values()))


def _first(gaps: dict[int, list[tuple[int, int]]]) -> list[str]:
    """Name the first few offsets: partition-offset."""
    return [f"{partition}-{first}" for partition, ranges in gaps.items() for first, _ in ranges][:_NAMED]
