"""Models change while transactions come in: promoted, rolled back, challenged, and refused when corrupt."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from conftest import nothing_is_lost, read_from, run, ssh, until
from test_models import wait_until_served

from flink_jobs.domain.features import FEATURE_NAMES
from flink_jobs.store.model_registry import risk_key
from flink_jobs.store.object_store import list_keys
from flink_jobs.store.release import ModelReference, Release
from flink_jobs.store.settings import Settings
from training.promotions import Promotions

WITHIN_S = 30
PROBE = {"customer_id": "probe", "terminal_id": "1"}

Copy = Callable[..., str]


@pytest.fixture
def in_use(settings: Settings, store: Any) -> Iterator[str]:  # noqa: ANN401 - boto3
    """Give the promoted version, which takes computed features; all is as before when the test is over."""
    models, features = settings.buckets.models, settings.buckets.features
    promotions = Promotions(settings)
    kept = promotions.releases.released()
    assert kept is not None, "nothing is released"
    version = kept.model.version
    if tuple(promotions.manifest(version).features) != FEATURE_NAMES:
        pytest.skip(f"the promoted {version} takes ready columns; these tests need one with a history")
    yield version
    promotions.releases.write(lambda _: kept, "a system test is over")
    for bucket in (models, features):
        for key in list(list_keys(store, bucket)):
            if "system-test" in key:
                store.delete_object(Bucket=bucket, Key=key)
    wait_until_served(settings, version, PROBE)


@pytest.fixture
def copy(settings: Settings, store: Any, in_use: str) -> Copy:  # noqa: ANN401 - boto3
    """Publish the promoted model again under a version of its own, with other files where asked for."""
    models, features = settings.buckets.models, settings.buckets.features

    def read(bucket: str, key: str) -> bytes:
        content: bytes = store.get_object(Bucket=bucket, Key=key)["Body"].read()
        return content

    def published(name: str, **files: bytes) -> str:
        version = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-system-test-{name}"
        manifest = json.loads(read(models, f"{in_use}/manifest.json")) | {"version": version}
        for file in manifest["files"]:
            content = files.get(file.replace(".", "_"), read(models, f"{in_use}/{file}"))
            store.put_object(Bucket=models, Key=f"{version}/{file}", Body=content)
        store.put_object(Bucket=models, Key=f"{version}/manifest.json", Body=json.dumps(manifest).encode())
        risk = read(features, risk_key(in_use))
        store.put_object(Bucket=features, Key=risk_key(version), Body=risk)
        return version

    return published


def predictions(
    settings: Settings, complete: Callable[[dict[str, Any]], bool], timeout_s: float = WITHIN_S
) -> list[dict[str, Any]]:
    """Read predictions from now on, until one is as wanted."""
    found = read_from(
        settings,
        settings.topics.predictions,
        int(time.time() * 1000),
        lambda records: any(complete(prediction) for _, prediction in records),
        timeout_s,
    )
    return [prediction for _, prediction in found]


def served_within_s(settings: Settings, version: str) -> float:
    """Tell after how many seconds a prediction names the version."""
    begun = time.monotonic()
    found = predictions(settings, lambda prediction: prediction["model_version"] == version)
    assert any(prediction["model_version"] == version for prediction in found), (
        f"no prediction of {version} within {WITHIN_S} s, among {len(found)} predictions"
    )
    return time.monotonic() - begun


def roles() -> dict[str, list[str]]:
    return {model["version"]: model["roles"] for model in json.loads(run("fraud-models", "list", "--json"))}


def test_promotion_and_rollback_are_taken_over_and_lose_and_rescore_nothing(
    tmp_path: Path, settings: Settings, in_use: str, copy: Copy
) -> None:
    version = copy("promoted")
    with nothing_is_lost(tmp_path) as result:
        assert f"promoted {version}" in run("fraud-models", "promote", version)
        taken_s = served_within_s(settings, version)
        assert (roles()[version], roles()[in_use]) == (["current"], ["previous"])
        assert f"rolled back from {version}" in run("fraud-models", "rollback")
        back_s = served_within_s(settings, in_use)
        assert roles()[in_use][0] == "current"
    print(f"promoted after {taken_s:.1f} s, rolled back after {back_s:.1f} s")
    assert result["repeated"] == result["dead_letters"] == 0, result


def test_a_challenger_scores_beside_the_champion(
    tmp_path: Path, settings: Settings, in_use: str, copy: Copy
) -> None:
    version = copy("challenger")
    with nothing_is_lost(tmp_path) as result:
        run("fraud-models", "challenge", version)
        assert roles()[version] == ["challenger"]
        found = predictions(settings, lambda prediction: prediction.get("challenger_version") == version)
        beside = [prediction for prediction in found if "challenger_version" in prediction]
        assert beside, f"no prediction with a challenger within {WITHIN_S} s, among {len(found)}"
        for prediction in beside:
            assert prediction["model_version"] == in_use
            # the same forest under another name
            assert prediction["challenger_score"] == pytest.approx(prediction["score"], abs=1e-6)
        run("fraud-models", "unchallenge")

        def alone() -> bool:
            found = predictions(settings, lambda _: True, timeout_s=5)
            return bool(found) and not any("challenger_score" in prediction for prediction in found)

        assert until(alone, WITHIN_S), "predictions still carry the challenger's scores"
    assert result["repeated"] == 0, result


def test_a_corrupt_model_is_refused_by_command_and_job_and_the_old_one_goes_on(  # noqa: PLR0913, PLR0917 - fixtures
    tmp_path: Path,
    settings: Settings,
    store: Any,  # noqa: ANN401 - boto3
    hosts: dict[str, dict[str, Any]],
    in_use: str,
    copy: Copy,
) -> None:
    version = copy("corrupt", model_onnx=b"this is no model")
    models = settings.buckets.models
    promotions = Promotions(settings)
    released = promotions.releases.released()
    assert released is not None
    for command in ("promote", "challenge"):
        output = run("bash", "-c", f"fraud-models {command} {version} 2>&1", codes=(1,))
        assert "is refused: model.onnx" in output
    assert promotions.releases.released() == released

    # somebody releases it without the command, which would look at it
    manifest = store.get_object(Bucket=models, Key=f"{version}/manifest.json")["Body"].read()
    wrong = ModelReference(version, hashlib.sha256(manifest).hexdigest())

    def change(base: Release | None) -> Release:
        assert base is not None
        return msgspec.structs.replace(base, action="promote", model=wrong)

    # the refusal may come within a second, in which few transactions are sent
    with nothing_is_lost(tmp_path, at_least=1) as result:
        promotions.releases.write(change)
        workers = [name for name, host in hosts.items() if "flink_taskmanager" in host["groups"]]

        def refused() -> bool:
            unit = "flink-taskmanager@*"
            journals = [ssh(name, f"sudo journalctl --since=-2min -u '{unit}'") for name in workers]
            return any("promoted model refused" in journal and version in journal for journal in journals)

        assert until(refused, WITHIN_S), "no TaskManager says that it refused the model"
        found = predictions(settings, lambda _: True)
        assert found
        assert {prediction["model_version"] for prediction in found} == {in_use}
        promotions.releases.write(lambda _: released)
    assert result["repeated"] == 0, result
