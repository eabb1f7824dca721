"""What goes on while a fault is injected: each block begins it, and ends once it is over."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from catalogue import named
from containers import LONG_TIMEOUT_S, ROOT, HostError, run
from system import JOBS, System, wait_until

from flink_jobs.store.model_registry import risk_key
from flink_jobs.store.object_store import delete_object, list_keys, read_object, s3_client, write_object
from flink_jobs.store.release import Release
from training.promotions import Promotions

COMMIT_TIMEOUT_S = 120
# Files that are older than this, compared with the newest, are merged.
SETTLED_S = 15
# a rolling restart begins with MinIO, and has come to brokers by then
ROLLING_S = 30
# the job looks for a release every 10 s
PROMOTED_S = 5
TAKEN_OVER_S = 15
PROMOTIONS_LOOKED_AT = 20

# how versions end that are promoted for a fault
COPY = "-faults"

Moment = Callable[[System], AbstractContextManager[None]]


def undo_promotion(system: System) -> bool:
    """Release what was released before a run that was cut off had promoted its copy; tell whether it had."""
    releases = Promotions(system.settings).releases
    log = [each.release for each in releases.log(PROMOTIONS_LOOKED_AT) if each.release is not None]
    if not log or not log[0].model.version.endswith(COPY):
        return False
    kept = next((each for each in log if not each.model.version.endswith(COPY)), None)
    if kept is None:
        raise HostError(f"{log[0].model.version} is promoted; `fraud-models promote` chooses another")
    releases.write(lambda _newest: kept, "a run of faults was cut off during a promotion")
    time.sleep(TAKEN_OVER_S)
    return True


@contextmanager
def _checkpoint(system: System) -> Iterator[None]:
    """A checkpoint of the job that scores has begun, and has not ended."""
    system.trigger_checkpoint(system.job(JOBS[1]))
    yield


@contextmanager
def _lake_commit(system: System) -> Iterator[None]:
    """A checkpoint of the lake's job has just ended, so files are being committed."""
    job = system.job(JOBS[0])

    def ended() -> int:
        return int((system.checkpoints(job)["latest"]["completed"] or {"id": 0})["id"])

    before = ended()
    system.trigger_checkpoint(job)
    if not wait_until(lambda: ended() > before, COMMIT_TIMEOUT_S, 0.05):
        raise HostError(f"{JOBS[0]} made no checkpoint within {COMMIT_TIMEOUT_S} s")
    yield


@contextmanager
def _compaction(_system: System) -> Iterator[None]:
    """Small files are being merged; the fault may end that, and the next run makes up for it."""
    with _playbook("compact", f"-e compact_settled_s={SETTLED_S}"):
        time.sleep(SETTLED_S)
        yield


@contextmanager
def _rolling_restart(_system: System) -> Iterator[None]:
    """Services restart one after another; the fault may end that."""
    with _playbook("restart"):
        time.sleep(ROLLING_S)
        yield


@contextmanager
def _renewal(system: System) -> Iterator[None]:
    """Terminal risk is being renewed; a renewal that the fault ended is made up for when it is over."""
    host = named(system.hosts, "training")[0]
    system.containers.shell(host, "systemctl start --no-block risk-renewal.service")
    try:
        yield
    finally:
        # This waits until it has ended; where it fails, its unit is told among those that have failed.
        with suppress(HostError):
            system.containers.shell(host, "systemctl start risk-renewal.service", LONG_TIMEOUT_S)


@contextmanager
def _promotion(system: System) -> Iterator[None]:
    """The same model is promoted under another version, and the one before is released again afterwards."""
    settings = system.settings
    store, models, features = s3_client(settings.s3), settings.buckets.models, settings.buckets.features
    promotions = Promotions(settings)
    kept = promotions.releases.released()
    if kept is None:
        raise HostError("nothing is released, so nothing can be promoted")
    before, version = kept.model.version, f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}{COPY}"
    manifest = json.loads(read_object(store, models, f"{before}/manifest.json")) | {"version": version}
    for file in manifest["files"]:
        write_object(store, models, f"{version}/{file}", read_object(store, models, f"{before}/{file}"))
    write_object(store, models, f"{version}/manifest.json", json.dumps(manifest).encode())
    write_object(store, features, risk_key(version), read_object(store, features, risk_key(before)))

    def as_before(_newest: Release | None) -> Release:
        return kept

    try:
        run(["fraud-models", "promote", version])
        time.sleep(PROMOTED_S)
        yield
    finally:
        promotions.releases.write(as_before, "a fault was injected during a promotion, and is over")
        # no prediction is to name the copy once that is gone
        time.sleep(TAKEN_OVER_S)
        for bucket, prefix in ((models, f"{version}/"), (features, risk_key(version))):
            for key in list(list_keys(store, bucket, prefix)):
                delete_object(store, bucket, key)


@contextmanager
def _playbook(name: str, *options: str) -> Iterator[None]:
    """Run a playbook while the block runs, and wait for its end, whatever that is."""
    command = f"cd ansible && exec ansible-playbook playbooks/{name}.yml {' '.join(options)}"
    with subprocess.Popen(
        ["bash", "-c", command], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        try:
            yield
        finally:
            running.wait(LONG_TIMEOUT_S)


MOMENTS: dict[str, Moment] = {
    "checkpoint": _checkpoint,
    "lake-commit": _lake_commit,
    "compaction": _compaction,
    "promotion": _promotion,
    "risk-renewal": _renewal,
    "rolling-restart": _rolling_restart,
}

# what these leave is needed until all is checked; the others are over when the fault is mended
LASTING = frozenset({"promotion"})
