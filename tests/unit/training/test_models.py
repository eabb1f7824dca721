"""Models are listed, promoted, rolled back and challenged; one that cannot be served moves nothing."""

import hashlib
import io
import json
import logging
import os
import re
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from memory_store import MemoryStore
from sklearn.ensemble import RandomForestClassifier

from flink_jobs.domain.features import FEATURE_NAMES
from flink_jobs.domain.manifest import ModelKind
from flink_jobs.domain.scoring import Record
from flink_jobs.domain.terminal_risk import DELAY_KEY, SCHEMA
from flink_jobs.model_watch import ModelWatch
from flink_jobs.store import model_registry
from flink_jobs.store.model_registry import ModelRegistry, ModelUnavailableError, ServedScorer
from flink_jobs.store.pointers import Promotion, promoted_before
from flink_jobs.store.release import ModelReference, Release, RiskReference
from flink_jobs.store.settings import BreakerSettings, Settings
from training.model_command import main
from training.publish import Candidate, upload, write

RISK = RiskReference("a", "terminal_risk/a.parquet", "")

Publish = Callable[..., str]
Run = Callable[..., int]


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, ModelKind], Path]:
    """Write a model of a kind to a folder; another seed is another model."""

    @cache
    def write_once(seed: int, kind: ModelKind) -> Path:
        features = FEATURE_NAMES if kind == "history" else ("V1", "V2")
        matrix = np.random.default_rng(seed).normal(size=(300, len(features))).astype(np.float32)
        forest = RandomForestClassifier(5, max_depth=4, random_state=seed).fit(matrix, matrix[:, 0] > 0.5)
        values = {name: [0.5] for name in SCHEMA.names[2:]}
        risk = pd.DataFrame({"terminal_id": ["t"], "day": [5], **values})
        folder = tmp_path_factory.mktemp("model")
        write(
            Candidate(
                forest=forest,
                kind=kind,
                features=features,
                threshold=0.5,
                threshold_choice={"rule": "given", "limit": 0.5},
                metrics={"auc": 0.9, "average_precision": 0.7},
                data={"source": "test"},
                twin={},
                calibration=None,
                fingerprint="f",
                holdout=matrix,
                scores=forest.predict_proba(matrix)[:, 1],
                terminal_risk=pa.Table.from_pandas(risk, schema=SCHEMA, preserve_index=False)
                if kind == "history"
                else None,
            ),
            folder,
        )
        return folder

    return write_once


@pytest.fixture
def publish(written: Callable[[int, ModelKind], Path], settings: Settings, store: MemoryStore) -> Publish:
    """Upload one of them, and give its version."""
    del store
    return lambda seed, kind="history": upload(written(seed, kind), settings).version


@pytest.fixture
def run(settings_file: Path) -> Run:
    def run_command(*arguments: str) -> int:
        # what the gate does is told in test_gate.py
        forced = ["--force", "a test"] if arguments[0] == "promote" else []
        return main(["--settings", str(settings_file), *arguments, *forced])

    return run_command


def listed(run: Run, capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """Roles by version."""
    capsys.readouterr()
    assert run("list", "--json") == 0
    return {model["version"]: model["roles"] for model in json.loads(capsys.readouterr().out)}


def releases(store: MemoryStore) -> list[dict[str, Any]]:
    """All releases, the latest last."""
    models = store.objects["models"]
    return [json.loads(models[key]) for key in sorted(models) if key.startswith("releases/")]


def current(store: MemoryStore) -> str:
    version: str = releases(store)[-1]["model"]["version"]
    return version


def release_by_hand(store: MemoryStore, content: bytes | None = None, **fields: object) -> None:
    """Write a release as somebody would who does not look."""
    last = releases(store)[-1]
    number = last["number"] + 1
    content = content or json.dumps(last | {"number": number, "writer": "a hand"} | fields).encode()
    store.objects["models"][f"releases/{number:08d}.json"] = content


@pytest.mark.parametrize("models", [0, 1])
def test_a_reader_that_goes_away_ends_the_command_without_a_traceback(
    publish: Publish, run: Run, monkeypatch: pytest.MonkeyPatch, models: int
) -> None:
    for seed in range(models):
        publish(seed)
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert run("list") == 128 + signal.SIGPIPE


def test_promotion_and_rollback_move_the_roles(
    publish: Publish, run: Run, capsys: pytest.CaptureFixture[str], store: MemoryStore
) -> None:
    a, b, c = publish(1), publish(2), publish(3)
    assert run("rollback") == 1
    assert "nothing was promoted before" in capsys.readouterr().err
    for version in (a, b, c):
        # how it ends is enough
        assert run("promote", version[-8:]) == 0
    assert listed(run, capsys) == {a: [], b: ["previous"], c: ["current"]}
    assert run("rollback") == 0
    assert f"rolled back from {c}" in capsys.readouterr().out
    assert listed(run, capsys) == {a: ["previous"], b: ["current"], c: []}
    assert run("rollback") == 0
    assert current(store) == a
    assert releases(store)[-1]["risk"]["version"] == a
    assert run("rollback") == 1
    assert run("promote", c) == 0
    assert listed(run, capsys) == {a: ["previous"], b: [], c: ["current"]}


@pytest.mark.parametrize(
    ("current_version", "log", "expected"),
    [
        ("a", "", ""),
        ("a", "a", ""),
        ("b", "ab", "a"),
        ("b", "abb", "a"),
        ("a", "aba", "ab"),
        # recorded, but broken off before the pointer moved
        ("a", "ab", ""),
        # the pointer was moved by other means
        ("x", "ab", "ab"),
        ("b", "abc<b", "a"),
        ("a", "abc<b<a", ""),
        ("d", "abc<bd", "ab"),
    ],
)
def test_what_was_before_releases_is_told_from_the_log_of_then(
    current_version: str, log: str, expected: str
) -> None:
    history = [
        Promotion(version, "", rollback=log[max(n - 1, 0)] == "<")
        for n, version in enumerate(log)
        if version != "<"
    ]
    assert "".join(each.version for each in promoted_before(current_version, history)) == expected


def test_the_log_shows_control_characters_and_sends_none(
    publish: Publish, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("promote", publish(1), "--why", "a\x1b[2Jb\x9b\r") == 0
    capsys.readouterr()
    assert run("log") == 0
    assert capsys.readouterr().out.endswith(": a\\u001b[2Jb\\u009b\\u000d\n")
    assert run("show", "x\x1b[2J") == 1
    assert "\x1b" not in capsys.readouterr().err


def test_releases_are_a_log_each_naming_the_one_before(
    publish: Publish, run: Run, capsys: pytest.CaptureFixture[str], store: MemoryStore
) -> None:
    a, b = publish(1), publish(2)
    run("promote", a, "--why", "the first")
    run("challenge", b)
    run("promote", b)
    run("unchallenge")
    run("rollback", "--why", "too many alerts")
    found = releases(store)
    told = [(each["action"], each["model"]["version"], bool(each["challenger"])) for each in found]
    assert told == [
        ("promote", a, False),
        ("challenge", a, True),
        ("promote", b, False),
        ("rollback", a, False),
    ]
    assert [each["number"] for each in found] == [1, 2, 3, 4]
    models = store.objects["models"]
    for before_it, after in pairwise(found):
        content = models[f"releases/{before_it['number']:08d}.json"]
        assert after["previous_sha256"] == hashlib.sha256(content).hexdigest()
    assert found[0]["previous_sha256"] is None
    assert found[3]["why"] == "too many alerts"
    assert "@" in found[3]["who"]
    risk = found[0]["risk"]
    assert (risk["first_day"], risk["last_day"]) == ("1970-01-06", "1970-01-06")
    assert risk["sha256"] == hashlib.sha256(store.objects["features"][risk["key"]]).hexdigest()
    capsys.readouterr()
    assert run("log", "--last", "3") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["4", "3", "2"]
    assert "rollback" in lines[0]
    assert lines[0].endswith(": too many alerts")
    assert f"challenged by {b}" in lines[2]


def rival(store: MemoryStore, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], times: int) -> None:
    """Let somebody else be first with the next releases."""
    put, left = store.put_object, times

    def put_after_a_rival(**request: Any) -> None:  # noqa: ANN401 - boto3's
        nonlocal left
        if request["Key"].startswith("releases/") and left:
            before_it, left = left, 0
            act()
            left = before_it - 1
        put(**request)

    monkeypatch.setattr(store, "put_object", put_after_a_rival)


def test_of_two_writers_neither_mixes_with_nor_forgets_the_other(
    publish: Publish, run: Run, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rival promotes while a challenge is being written: the last release is made of both."""
    a, b, c = publish(1), publish(2), publish(3)
    run("promote", a)
    rival(store, monkeypatch, lambda: run("promote", b), times=1)
    assert run("challenge", c) == 0
    found = releases(store)
    assert [each["action"] for each in found] == ["promote", "promote", "challenge"]
    assert (found[2]["model"]["version"], found[2]["challenger"]["version"]) == (b, c)
    assert found[2]["risk"]["version"] == b


def test_a_writer_gives_up_where_others_are_always_first(
    publish: Publish,
    run: Run,
    store: MemoryStore,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    a, b = publish(1), publish(2)
    run("promote", a)
    rival(store, monkeypatch, lambda: release_by_hand(store), times=1_000)
    assert run("promote", b) == 1
    assert "try again" in capsys.readouterr().err
    assert current(store) == a


def test_a_writer_that_meets_its_own_write_has_written(
    publish: Publish, run: Run, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to a request got lost, and the client sent it again."""
    a, b = publish(1), publish(2)
    run("promote", a)
    put = store.put_object

    def put_twice(**request: Any) -> None:  # noqa: ANN401 - boto3's
        put(**request)
        put(**request)

    monkeypatch.setattr(store, "put_object", put_twice)
    assert run("promote", b) == 0
    assert [each["model"]["version"] for each in releases(store)] == [a, b]


def test_a_release_that_cannot_be_read_is_left_behind(
    publish: Publish, run: Run, store: MemoryStore, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b, c = publish(1), publish(2), publish(3)
    run("promote", a)
    run("promote", b)
    store.objects["models"]["releases/00000003.json"] = b"nonsense"
    assert listed(run, capsys)[b] == ["current"]
    assert run("promote", c) == 0
    assert listed(run, capsys) == {a: [], b: ["previous"], c: ["current"]}
    assert run("log") == 0
    assert "3  cannot be read" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"nonsense", b'{"why": "\xff"}'])
def test_a_job_serves_the_last_release_that_can_be_read_whenever_it_starts(
    settings: Settings, publish: Publish, run: Run, store: MemoryStore, content: bytes
) -> None:
    """One that runs and one that starts serve the same, and both take the next one over."""
    a, b, c = publish(1), publish(2), publish(3)
    run("promote", a)
    running = ServedScorer(ModelRegistry(settings))
    run("promote", b)
    store.objects["models"]["releases/00000003.json"] = content
    running.refresh()
    started = ServedScorer(ModelRegistry(settings))
    assert running.current.version == started.current.version == b
    assert run("promote", c) == 0
    for scorer in (running, started):
        scorer.refresh()
        assert scorer.current.version == c


def test_what_else_lies_among_releases_is_none(
    settings: Settings, publish: Publish, run: Run, store: MemoryStore
) -> None:
    a, b = publish(1), publish(2)
    run("promote", a)
    for name in ("", "README.md", "00000009.json.bak", "9.json"):
        store.objects["models"][f"releases/{name}"] = b""
    assert ServedScorer(ModelRegistry(settings)).current.version == a
    assert run("promote", b) == 0
    assert store.objects["models"].keys() >= {"releases/00000002.json"}


def by_pointers(store: MemoryStore, *versions: str) -> None:
    """Leave what versions without releases left: the last is promoted."""
    models, features = store.objects["models"], store.objects["features"]
    log = [{"version": version, "at": f"2026-01-0{n + 1}T00:00:00Z"} for n, version in enumerate(versions)]
    models["promotions.json"] = json.dumps(log).encode()
    version = versions[-1]
    digest = hashlib.sha256(models[f"{version}/manifest.json"]).hexdigest()
    models["current.json"] = json.dumps({"version": version, "manifest_sha256": digest}).encode()
    key = f"terminal_risk/{version}.parquet"
    risk = {"version": version, "key": key, "sha256": hashlib.sha256(features[key]).hexdigest()}
    features["terminal_risk/current.json"] = json.dumps(risk).encode()


def test_what_pointers_said_is_served_and_becomes_the_first_release(
    settings: Settings, publish: Publish, run: Run, store: MemoryStore, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b, c = publish(1), publish(2), publish(3)
    by_pointers(store, a, b)
    pointers = dict(store.objects["models"])
    scorer = ServedScorer(ModelRegistry(settings))
    assert scorer.current.version == b
    assert listed(run, capsys) == {a: ["previous"], b: ["current"], c: []}
    run("promote", c)
    told = [(each["action"], each["model"]["version"]) for each in releases(store)]
    assert told == [("change-over", b), ("promote", c)]
    scorer.refresh()
    assert scorer.current.version == c
    run("rollback")
    run("rollback")
    scorer.refresh()
    assert current(store) == scorer.current.version == a
    assert pointers.items() <= store.objects["models"].items()


def test_what_was_renewed_stays_over_promotion_and_rollback(
    settings: Settings, publish: Publish, run: Run, store: MemoryStore
) -> None:
    """What is known of terminals is not the model's, unless the model was published with later days."""
    a, b = publish(1), publish(2)
    run("promote", a)
    scorer = ServedScorer(ModelRegistry(settings))
    counts = scorer.current.drift
    renewed = releases(store)[-1]["risk"]
    assert scorer.current.risk_version == renewed["version"]
    renewed |= {"version": "r", "first_day": "1970-01-05", "last_day": "1970-01-08", "renewed": True}
    release_by_hand(store, risk=renewed)
    scorer.refresh()
    assert scorer.current.version == a
    assert scorer.current.risk_version == "r"
    assert scorer.current.drift is counts, "counts go on, the model is not loaded again"
    for command in (("promote", b), ("rollback",)):
        run(*command)
        assert releases(store)[-1]["risk"] == renewed
    release_by_hand(store, risk=renewed | {"last_day": "1970-01-04"})
    run("promote", b)
    assert releases(store)[-1]["risk"]["version"] == b


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("test", True),
        ("s3://datalake/raw/transactions", True),
        ("july.csv", False),
        ("s3://other/raw", False),
    ],
)
def test_a_model_of_other_data_is_served_with_its_own_terminals(  # noqa: PLR0913 - fixtures
    publish: Publish,
    run: Run,
    store: MemoryStore,
    capsys: pytest.CaptureFixture[str],
    source: str,
    *,
    kept: bool,
) -> None:
    """What was renewed tells of the lake's terminals, those of the model that is served."""
    a, b = publish(1), publish(2)
    run("promote", a)
    renewed = releases(store)[-1]["risk"]
    renewed |= {"version": "r", "first_day": "1970-01-05", "last_day": "1970-01-08", "renewed": True}
    release_by_hand(store, risk=renewed)
    with_manifest(store.objects["models"], b, data={"source": source})
    capsys.readouterr()
    assert run("promote", b) == 0
    said = capsys.readouterr().out
    assert releases(store)[-1]["risk"]["version"] == ("r" if kept else b)
    if kept:
        assert "stays what was renewed, 1970-01-05 to 1970-01-08" in said
    else:
        assert "published with the model, 1970-01-06 to 1970-01-06" in said
        assert f"of other data than the model, which learnt from {source}" in said


def test_a_list_shows_what_there_is_to_choose_from(
    publish: Publish, run: Run, capsys: pytest.CaptureFixture[str], store: MemoryStore
) -> None:
    assert run("list") == 0
    assert "fraud-train --promote" in capsys.readouterr().out
    a, b = publish(1), publish(2)
    store.objects["models"][f"{b}/manifest.json"] = b"broken"
    run("promote", a)
    capsys.readouterr()
    assert run("list") == 0
    head, *lines = capsys.readouterr().out.splitlines()
    first, second = lines if lines[0].startswith(a) else lines[::-1]
    names = ["version", "created", "kind", "average precision", "CP@100", "AUC", "threshold"]
    assert re.split(r"  +", head) == names
    assert first.split()[0] == a
    assert first.split()[2:] == ["history", "0.700", "-", "0.900", "0.500", "current"]
    assert second.startswith(b)
    assert "manifest.json" in second


def test_a_model_is_shown_with_what_is_wrong_with_it(
    publish: Publish, run: Run, capsys: pytest.CaptureFixture[str], store: MemoryStore
) -> None:
    version = publish(1)
    assert run("show", version) == 0
    shown = capsys.readouterr().out
    assert "this version can serve it" in shown
    assert "average_precision" in shown
    store.objects["models"][f"{version}/model.joblib"] = b"other"
    assert run("show", version) == 0
    assert "refused: model.joblib" in capsys.readouterr().out


def test_names_have_to_mean_one_model(publish: Publish, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    publish(1), publish(2)
    assert run("promote", "20") == 1
    assert "may be any of" in capsys.readouterr().err
    assert run("promote", "nothing") == 1
    assert "no model nothing" in capsys.readouterr().err


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def with_manifest(objects: dict[str, bytes], version: str, /, **changes: object) -> None:
    """Describe a model anew, as if it had been published so."""
    manifest = json.loads(objects[f"{version}/manifest.json"]) | changes
    objects[f"{version}/manifest.json"] = json.dumps(manifest).encode()


def republished(objects: dict[str, bytes], version: str, onnx: bytes) -> None:
    """Put another model.onnx there, with a manifest that fits."""
    files = json.loads(objects[f"{version}/manifest.json"])["files"]
    with_manifest(objects, version, files=files | {"model.onnx": hashlib.sha256(onnx).hexdigest()})
    objects[f"{version}/model.onnx"] = onnx


Corrupt = Callable[[dict[str, bytes], str], None]
# For each kind of corruption: what it does to the bucket `models`, and what is said of it.
CORRUPTIONS: dict[str, tuple[Corrupt, str]] = {
    "flipped": (lambda o, v: o.update({f"{v}/model.onnx": o[f"{v}/model.onnx"] + b"\0"}), "SHA-256"),
    "cut": (lambda o, v: o.update({f"{v}/model.onnx": truncated(o[f"{v}/model.onnx"])}), "SHA-256"),
    "no onnx": (lambda o, v: republished(o, v, b"no model"), "cannot be run"),
    "cut and described": (lambda o, v: republished(o, v, truncated(o[f"{v}/model.onnx"])), "cannot be run"),
    "gone": (lambda o, v: (o.pop(f"{v}/model.onnx"), None)[1], "cannot read s3://models/.*model.onnx"),
    "no manifest": (lambda o, v: (o.pop(f"{v}/manifest.json"), None)[1], "manifest.json"),
    "broken manifest": (lambda o, v: o.update({f"{v}/manifest.json": b"{"}), "manifest.json"),
    "no threshold": (lambda o, v: with_manifest(o, v, threshold="high"), "threshold"),
    "unknown features": (
        lambda o, v: with_manifest(o, v, features=["phase_of_the_moon", *FEATURE_NAMES[1:]]),
        "phase_of_the_moon",
    ),
    "another order": (lambda o, v: with_manifest(o, v, features=list(FEATURE_NAMES[::-1])), "their order"),
    "another's manifest": (lambda o, v: with_manifest(o, v, version="another"), "describes model another"),
}


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_model_that_cannot_be_served_is_refused_and_nothing_is_released(
    publish: Publish, run: Run, capsys: pytest.CaptureFixture[str], store: MemoryStore, kind: str
) -> None:
    good, bad = publish(1), publish(2)
    run("promote", good)
    corrupt, message = CORRUPTIONS[kind]
    corrupt(store.objects["models"], bad)
    kept = {bucket: dict(objects) for bucket, objects in store.objects.items()}
    for command in ("promote", "challenge"):
        capsys.readouterr()
        assert run(command, bad) == 1
        error = capsys.readouterr().err
        assert error.startswith("fraud-models: ")
        assert len(error.splitlines()) == 1
        assert re.search(message, error), error
    assert store.objects == kept


def test_a_model_without_its_terminal_risk_is_refused(
    publish: Publish, run: Run, capsys: pytest.CaptureFixture[str], store: MemoryStore
) -> None:
    version = publish(1)
    key = f"terminal_risk/{version}.parquet"
    store.objects["features"][key] = b"PAR1 no more"
    assert run("promote", version) == 1
    assert key in capsys.readouterr().err
    del store.objects["features"][key]
    assert run("promote", version) == 1
    assert "is not there" in capsys.readouterr().err
    assert not releases(store)


# What the job does about it


def renew(store: MemoryStore, name: str) -> None:
    """Release a renewed table, and delete that before as later renewals do."""
    last, features = releases(store)[-1]["risk"], store.objects["features"]
    key = f"terminal_risk/renewed/{name}.parquet"
    features[key] = features.pop(last["key"])
    release_by_hand(store, action="renew", risk=last | {"version": name, "key": key, "renewed": True})


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.fixture
def served(settings: Settings, publish: Publish, run: Run) -> tuple[ServedScorer, str]:
    """Serve a promoted model; nothing is polled, `refresh` looks."""
    version = publish(1)
    assert run("promote", version) == 0
    return ServedScorer(ModelRegistry(settings)), version


def prediction(served: ServedScorer) -> dict[str, Any]:
    """Score a transaction and give what goes to Kafka."""
    payload = json.dumps(
        {
            "transaction_id": "1",
            "event_time": "2018-07-01T12:00:00Z",
            "customer_id": "c",
            "terminal_id": "t",
            "amount": 5,
        }
    ).encode()

    class Histories(dict[str, bytes]):
        put_all = dict.update

    record = Record(0, 0, 1_700_000_000_000, len(payload), payload)
    (first,) = served.current.score([record], Histories(), 1.8e9).predictions
    sent: dict[str, Any] = json.loads(msgspec.json.encode(first))
    return sent


def until(found: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not found() and time.monotonic() < deadline:
        time.sleep(0.01)
    return found()


def test_another_model_is_looked_for_until_nobody_scores_any_more(
    settings: Settings, publish: Publish, run: Run
) -> None:
    run("promote", publish(1))
    watch = ModelWatch(poll_s=0.01)
    scorer = ServedScorer(ModelRegistry(settings))
    watch.add(scorer)
    second = publish(2)
    run("promote", second)
    assert until(lambda served=scorer: served.current.version == second), scorer.current.version
    model = weakref.ref(scorer.current)
    del scorer
    assert until(lambda: model() is None), "the model is kept"


def test_one_thread_looks_for_all_scorers_whatever_becomes_of_them(
    settings: Settings, publish: Publish, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that ended would stay attached to the JVM."""

    def watches() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name == "model-watch"}

    def fail() -> None:
        raise RuntimeError("as asked for")

    others = watches()
    run("promote", publish(1))
    watch = ModelWatch(poll_s=0.01)
    for _ in range(2):
        # as each restart of a task does
        watch.add(ServedScorer(ModelRegistry(settings)))
    failing, last = ServedScorer(ModelRegistry(settings)), ServedScorer(ModelRegistry(settings))
    monkeypatch.setattr(failing, "refresh", fail)
    watch.add(failing)
    watch.add(last)
    second = publish(2)
    run("promote", second)
    assert until(lambda: last.current.version == second), last.current.version
    (thread,) = watches() - others
    assert thread.is_alive()


def test_a_promoted_model_is_taken_over_and_rolled_back(
    served: tuple[ServedScorer, str], publish: Publish, run: Run
) -> None:
    scorer, first = served
    second = publish(2)
    scorer.refresh()
    assert scorer.current.version == first
    run("promote", second)
    scorer.refresh()
    assert scorer.current.version == second
    run("rollback")
    scorer.refresh()
    assert scorer.current.version == first


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_the_job_refuses_a_corrupt_model_loudly_and_goes_on(  # noqa: PLR0913, PLR0917 - fixtures
    served: tuple[ServedScorer, str],
    publish: Publish,
    run: Run,
    store: MemoryStore,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    """It was corrupted after its promotion, or promoted by somebody who did not look."""
    scorer, first = served
    bad = publish(2)
    run("promote", bad)
    models = store.objects["models"]
    before_corruption = dict(models)
    CORRUPTIONS[kind][0](models, bad)
    if f"{bad}/manifest.json" in models:
        digest = hashlib.sha256(models[f"{bad}/manifest.json"]).hexdigest()
        release_by_hand(store, model={"version": bad, "manifest_sha256": digest})
    with caplog.at_level(logging.ERROR):
        scorer.refresh()
    assert scorer.current.version == first
    assert first in caplog.text
    assert prediction(scorer)["model_version"] == first
    # once, not at every look
    count = len(caplog.records)
    scorer.refresh()
    assert len(caplog.records) == count
    models.update(before_corruption)
    run("promote", bad)
    scorer.refresh()
    assert scorer.current.version == bad


@pytest.mark.parametrize("said_by", ["release", "risk", "manifest"])
def test_model_and_risk_of_labels_of_another_delay_are_refused(  # noqa: PLR0913, PLR0917 - fixtures
    served: tuple[ServedScorer, str],
    publish: Publish,
    run: Run,
    store: MemoryStore,
    caplog: pytest.LogCaptureFixture,
    said_by: str,
) -> None:
    scorer, first = served
    bad = publish(2)
    run("promote", bad)
    released = releases(store)[-1]
    models, features = store.objects["models"], store.objects["features"]
    if said_by == "manifest":
        with_manifest(models, bad, label_delay_days=3)
        released["model"]["manifest_sha256"] = hashlib.sha256(models[f"{bad}/manifest.json"]).hexdigest()
        assert run("promote", bad) == 1
        assert run("challenge", bad) == 1
    elif said_by == "risk":
        content, key = io.BytesIO(), released["risk"]["key"]
        table = pq.read_table(io.BytesIO(features[key]))
        pq.write_table(table.replace_schema_metadata({DELAY_KEY: "3"}), content)
        features[key] = content.getvalue()
        released["risk"]["sha256"] = hashlib.sha256(features[key]).hexdigest()
    delay_days = 3 if said_by == "release" else 7
    del models["releases/00000002.json"]
    release_by_hand(store, **{**released, "label_delay_days": delay_days})
    scorer.refresh()
    assert scorer.current.version == first
    assert "labels that come" in caplog.text


def test_what_the_store_does_not_give_is_asked_for_again(
    served: tuple[ServedScorer, str], publish: Publish, run: Run, store: MemoryStore
) -> None:
    scorer, first = served
    second = publish(2)
    run("promote", second)
    onnx = store.objects["models"].pop(f"{second}/model.onnx")
    scorer.refresh()
    assert scorer.current.version == first
    store.objects["models"][f"{second}/model.onnx"] = onnx
    scorer.refresh()
    assert scorer.current.version == second


def test_a_broken_release_and_a_silent_store_stop_nothing(
    served: tuple[ServedScorer, str], store: MemoryStore
) -> None:
    scorer, first = served
    release_by_hand(store, b"nonsense")
    scorer.refresh()
    models = store.objects.pop("models")
    scorer.refresh()
    store.objects["models"] = models
    scorer.refresh()
    assert scorer.current.version == first
    assert "challenger_score" not in prediction(scorer)


@pytest.mark.parametrize("written_since", [0, 2, 3], ids=["lower numbers", "the same number", "a higher one"])
def test_a_store_that_went_back_is_followed(  # noqa: PLR0913, PLR0917 - fixtures
    served: tuple[ServedScorer, str],
    publish: Publish,
    run: Run,
    store: MemoryStore,
    caplog: pytest.LogCaptureFixture,
    written_since: int,
) -> None:
    """It was restored from a backup of before: the job serves what is newest in it, and says so once."""
    scorer, first = served
    second, third = publish(2), publish(3)
    for version in (second, third):
        run("promote", version)
    scorer.refresh()
    assert scorer.current.version == third
    models = store.objects["models"]
    for number in (2, 3):
        del models[f"releases/{number:08d}.json"]
    for n in range(written_since):
        run("promote", (second, first)[n % 2])
    for _ in range(3):
        scorer.refresh()
    assert scorer.current.version == current(store) != third
    said = [record.message for record in caplog.records if "the store went back" in record.message]
    # where somebody wrote more since, there is what comes next
    assert len(said) == (written_since < 3)
    assert all("release 3 is" in text for text in said)
    run("promote", third)
    scorer.refresh()
    assert scorer.current.version == third, "and what follows is taken over at once"


def test_a_store_that_is_being_restored_is_waited_for(
    served: tuple[ServedScorer, str],
    publish: Publish,
    run: Run,
    store: MemoryStore,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Releases come back one after another; none of the old ones is served on the way."""
    scorer, first = served
    second = publish(2)
    run("promote", second)
    run("promote", first)
    run("promote", second)
    scorer.refresh()
    models = store.objects["models"]
    kept = {key: models.pop(key) for key in sorted(models) if key.startswith("releases/")}
    for _ in range(2):
        scorer.refresh()
    assert caplog.text.count("is in the store no more") == 1, "an empty store is said, once"
    for key, content in kept.items():
        models[key] = content
        scorer.refresh()
        assert scorer.current.version == second
    scorer.refresh()
    assert "the store went back" not in caplog.text


def test_a_job_without_a_model_says_so(settings: Settings, store: MemoryStore) -> None:
    del store
    with pytest.raises(ModelUnavailableError, match="fraud-train --promote"):
        ServedScorer(ModelRegistry(settings))


@pytest.mark.parametrize("kind", [*CORRUPTIONS, "no table", "another table"])
def test_a_job_that_starts_serves_the_last_release_that_can_be_loaded(  # noqa: PLR0913, PLR0917 - fixtures
    settings: Settings,
    publish: Publish,
    run: Run,
    store: MemoryStore,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    """As one that runs goes on with what is in use; both take the next release over."""
    first, bad, third = publish(1), publish(2), publish(3)
    run("promote", first)
    run("promote", bad)
    table = f"terminal_risk/{bad}.parquet"
    if kind == "no table":
        del store.objects["features"][table]
    elif kind == "another table":
        store.objects["features"][table] += b"."
    else:
        CORRUPTIONS[kind][0](store.objects["models"], bad)
    scorer = ServedScorer(ModelRegistry(settings))
    assert prediction(scorer)["model_version"] == first
    said = errors(caplog)
    assert said[0].startswith("release 2 cannot be loaded: ")
    assert f"Serving release 1 with {first} instead" in said[0]
    assert "`fraud-models rollback`" in said[0]
    for _ in range(3):
        scorer.refresh()
    assert len(errors(caplog)) == len(said) == 2, "it is refused once, as while the job runs"
    for command in (("rollback",), ("promote", third)):
        assert run(*command) == 0
        scorer.refresh()
        assert scorer.current.version == current(store)
    assert len(errors(caplog)) == 2


def test_a_job_that_starts_leaves_a_release_of_another_delay_of_labels(
    served: tuple[ServedScorer, str], settings: Settings, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    _, version = served
    release_by_hand(store, label_delay_days=3)
    scorer = ServedScorer(ModelRegistry(settings))
    assert prediction(scorer)["model_version"] == version
    assert "release 2 is for labels that come 3 days late" in errors(caplog)[0]


def test_a_job_that_starts_with_a_former_model_tells_it_what_was_renewed_since(
    served: tuple[ServedScorer, str], settings: Settings, publish: Publish, run: Run, store: MemoryStore
) -> None:
    """Renewals go on while a release cannot be loaded, until the former table is deleted."""
    _, first = served
    bad = publish(2)
    run("promote", bad)
    del store.objects["features"][f"terminal_risk/{first}.parquet"]
    for name in ("q", "r"):
        renew(store, name)
    onnx = store.objects["models"].pop(f"{bad}/model.onnx")
    scorer = ServedScorer(ModelRegistry(settings))
    sent = prediction(scorer)
    assert (sent["model_version"], sent["risk_version"]) == (first, "r")
    for name in ("s", "t"):
        renew(store, name)
        scorer.refresh()
        sent = prediction(scorer)
        assert (sent["model_version"], sent["risk_version"]) == (first, name)
    # what comes back is taken over, as while the job runs
    store.objects["models"][f"{bad}/model.onnx"] = onnx
    scorer.refresh()
    assert prediction(scorer)["model_version"] == bad


def test_a_job_that_starts_serves_a_model_that_was_rolled_back_only_for_want_of_another(
    settings: Settings, publish: Publish, run: Run, store: MemoryStore
) -> None:
    oldest, good, bad = publish(1), publish(2), publish(3)
    for command in (("promote", oldest), ("promote", good), ("promote", bad), ("rollback",)):
        assert run(*command) == 0
    for lost, served in ((good, oldest), (oldest, bad)):
        CORRUPTIONS["gone"][0](store.objects["models"], lost)
        scorer = ServedScorer(ModelRegistry(settings))
        assert scorer.current.version == served


@pytest.mark.parametrize("looked_back", [1_000, 2])
def test_a_job_that_starts_says_so_where_no_release_can_be_loaded(  # noqa: PLR0913, PLR0917 - fixtures
    settings: Settings,
    publish: Publish,
    run: Run,
    store: MemoryStore,
    monkeypatch: pytest.MonkeyPatch,
    looked_back: int,
) -> None:
    """Or none of those that it looks back to."""
    monkeypatch.setattr(model_registry, "_LOOKED_BACK", looked_back)
    first, bad = publish(1), publish(2)
    run("promote", first)
    for _ in range(3):
        run("promote", bad)
    lost = (bad,) if looked_back == 2 else (first, bad)
    for version in lost:
        CORRUPTIONS["flipped"][0](store.objects["models"], version)
    with pytest.raises(
        ModelUnavailableError, match=f"release 4: model.onnx of model {bad} .* nor can one before"
    ):
        ServedScorer(ModelRegistry(settings))


def test_a_job_that_starts_waits_for_a_silent_store(
    settings: Settings, publish: Publish, run: Run, store: MemoryStore
) -> None:
    """The release before needs nothing of what the store does not give."""
    run("promote", publish(1, "columns"))
    run("promote", publish(2))
    features = store.objects.pop("features")
    with pytest.raises(ModelUnavailableError, match="NoSuchBucket"):
        ServedScorer(ModelRegistry(settings))
    store.objects["features"] = features
    assert ServedScorer(ModelRegistry(settings)).current.version == current(store)


def test_a_challenger_scores_beside_and_alone_is_forgotten(
    served: tuple[ServedScorer, str], publish: Publish, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    scorer, first = served
    second = publish(2)
    champion = scorer.current
    assert "challenger_score" not in prediction(scorer)
    assert run("challenge", second) == 0
    scorer.refresh()
    # the champion stays as it was loaded, and as a batch may just be scored with it
    assert scorer.current._model is champion._model  # noqa: SLF001 - not loaded again
    assert champion.challenger is None
    sent = prediction(scorer)
    assert (sent["model_version"], sent["challenger_version"]) == (first, second)
    assert 0 <= sent["challenger_score"] <= 1
    assert listed(run, capsys) == {first: ["current"], second: ["challenger"]}
    assert run("unchallenge") == 0
    assert f"{second} challenges no more" in capsys.readouterr().out
    scorer.refresh()
    assert prediction(scorer).keys() == sent.keys() - {"challenger_score", "challenger_version"}


def test_a_promoted_challenger_challenges_no_more_and_another_goes_on(
    served: tuple[ServedScorer, str], publish: Publish, run: Run
) -> None:
    scorer, first = served
    second, third = publish(2), publish(3)
    run("challenge", second)
    run("promote", second)
    scorer.refresh()
    assert prediction(scorer).get("challenger_version") is None
    run("challenge", first)
    run("promote", third)
    scorer.refresh()
    sent = prediction(scorer)
    assert (sent["model_version"], sent["challenger_version"]) == (third, first)


def test_a_challenger_has_to_take_what_the_champion_takes(
    served: tuple[ServedScorer, str], publish: Publish, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    scorer, first = served
    other = publish(2, "columns")
    assert run("challenge", first) == 1
    assert "the promoted one itself" in capsys.readouterr().err
    assert run("challenge", other) == 1
    assert "takes other features" in capsys.readouterr().err
    run("challenge", publish(3))
    run("promote", other)
    scorer.refresh()
    # the challenger of the one before does not fit, and is refused
    assert scorer.current.version == other
    assert scorer.current.challenger is None


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_the_job_refuses_a_corrupt_challenger_loudly_and_the_champion_goes_on(  # noqa: PLR0913, PLR0917 - fixtures
    served: tuple[ServedScorer, str],
    publish: Publish,
    run: Run,
    store: MemoryStore,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    scorer, first = served
    bad = publish(2)
    run("challenge", bad)
    CORRUPTIONS[kind][0](store.objects["models"], bad)
    with caplog.at_level(logging.ERROR):
        scorer.refresh()
    assert first in caplog.text
    sent = prediction(scorer)
    assert sent["model_version"] == first
    assert "challenger_score" not in sent
    champion = scorer.current
    scorer.refresh()
    assert scorer.current is champion


def lose(store: MemoryStore, version: str, name: str) -> Callable[[], None]:
    """Delete a file of a model, or all of them; gives what brings them back."""
    models = store.objects["models"]
    gone = {key: models[key] for key in models if key.startswith(f"{version}/{name}")}
    assert gone
    for key in gone:
        del models[key]
    return lambda: models.update(gone)


LOST = pytest.mark.parametrize("lost", ["model.onnx", "explainer.onnx", "manifest.json", ""])


@LOST
@pytest.mark.parametrize("starts", [False, True])
def test_a_challenger_whose_file_is_gone_is_named_and_scores_once_it_is_back(  # noqa: PLR0913, PLR0917 - fixtures
    served: tuple[ServedScorer, str],
    settings: Settings,
    publish: Publish,
    run: Run,
    store: MemoryStore,
    caplog: pytest.LogCaptureFixture,
    lost: str,
    *,
    starts: bool,
) -> None:
    """The promoted model scores meanwhile, and so does one that is promoted."""
    scorer, first = served
    challenger, other = publish(2), publish(3)
    run("challenge", challenger)
    bring_back = lose(store, challenger, lost)
    scorer = ServedScorer(ModelRegistry(settings)) if starts else scorer
    for _ in range(3):
        scorer.refresh()
    (said,) = errors(caplog)
    begin = (
        f"going on with {first}: its challenger does not score: cannot read s3://models/{challenger}/{lost}"
    )
    assert said.startswith(begin)
    assert "`fraud-models unchallenge` ends its challenge" in said
    assert "challenger_score" not in prediction(scorer)
    run("promote", other)
    scorer.refresh()
    sent = prediction(scorer)
    assert (sent["model_version"], sent.get("challenger_version")) == (other, None)
    bring_back()
    scorer.refresh()
    sent = prediction(scorer)
    assert (sent["model_version"], sent["challenger_version"]) == (other, challenger)
    assert len(errors(caplog)) == 1


def test_a_challenger_scores_no_longer_than_it_is_released(
    served: tuple[ServedScorer, str], publish: Publish, run: Run, store: MemoryStore
) -> None:
    """Though a file of the one that is released instead is gone."""
    scorer, first = served
    before, after = publish(2), publish(3)
    run("challenge", before)
    scorer.refresh()
    run("challenge", after)
    bring_back = lose(store, after, "model.onnx")
    scorer.refresh()
    sent = prediction(scorer)
    assert (sent["model_version"], sent.get("challenger_version")) == (first, None)
    # it may be released again meanwhile
    run("challenge", before)
    scorer.refresh()
    assert prediction(scorer)["challenger_version"] == before
    bring_back()
    run("challenge", after)
    scorer.refresh()
    assert prediction(scorer)["challenger_version"] == after


@LOST
def test_a_model_whose_file_is_gone_is_listed_with_its_role_and_refused(  # noqa: PLR0913, PLR0917 - fixtures
    served: tuple[ServedScorer, str],
    publish: Publish,
    run: Run,
    store: MemoryStore,
    capsys: pytest.CaptureFixture[str],
    lost: str,
) -> None:
    first, second, other = served[1], publish(2), publish(3)
    run("promote", second)
    run("challenge", first)
    bring_back = lose(store, first, lost)
    capsys.readouterr()
    assert run("list") == 0
    shown = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert shown.keys() == {"version", first, second, other}
    assert "not there" not in shown[second] + shown[other]
    assert re.search(r"  previous, challenger(:|  ).*not there", shown[first])
    assert (lost or "manifest.json") in shown[first]
    refused = f"s3://models/{first}/{lost}"
    commands = [("show", first), ("promote", first), ("challenge", first), ("rollback",)]
    for command in commands if lost else commands[-1:]:
        described = command[0] == "show" and lost != "manifest.json"
        assert run(*command) == int(not described)
        said = capsys.readouterr()
        assert refused in (said.out if described else said.err)
        assert "`mc undo` or `fraud-models upload`, see docs/models.md" in said.out + said.err
        assert ("`fraud-models promote` serves another" in said.err) == (command[0] == "rollback")
    bring_back()
    assert run("rollback") == 0
    assert "not there" not in capsys.readouterr().out


def test_a_table_that_is_gone_is_listed(
    publish: Publish, run: Run, store: MemoryStore, capsys: pytest.CaptureFixture[str]
) -> None:
    version = publish(1)
    publish(2, "columns")
    del store.objects["features"][f"terminal_risk/{version}.parquet"]
    assert run("list") == 0
    (line,) = (each for each in capsys.readouterr().out.splitlines() if "not there" in each)
    assert line.startswith(version)
    assert line.endswith("  not there: terminal_risk.parquet")


def test_a_challenger_that_fails_while_scoring_is_dropped(
    served: tuple[ServedScorer, str], publish: Publish, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    scorer, first = served
    run("challenge", publish(2))
    scorer.refresh()

    def fail(_matrix: object) -> None:
        raise RuntimeError("no")

    assert scorer.current.challenger is not None
    scorer.current.challenger.score = fail  # type: ignore[method-assign, assignment]
    assert prediction(scorer)["model_version"] == first
    assert "is dropped" in caplog.text
    assert scorer.current.challenger is None


# What the job does where a release raises too many alerts


class Watched(NamedTuple):
    """A job that serves a second model since a change-over."""

    scorer: ServedScorer
    first: str
    second: str


def that_goes_back(settings: Settings) -> ServedScorer:
    """Start to serve the newest release, as by a process that goes back where too many alert."""
    judged = msgspec.structs.replace(settings, breaker=BreakerSettings(1.5, go_back=True))
    return ServedScorer(ModelRegistry(judged))


@pytest.fixture
def watched(settings: Settings, publish: Publish, run: Run) -> Callable[..., Watched]:
    """Serve a model, and another from then on; three in ten of their transactions alert, as is expected."""

    def serve(*, go_back: bool) -> Watched:
        judged = msgspec.structs.replace(settings, breaker=BreakerSettings(1.5, go_back))
        first, second = publish(1), publish(2)
        run("promote", first)
        scorer = ServedScorer(ModelRegistry(judged))
        scorer.breaker.add(1_000, 300)
        run("promote", second)
        scorer.refresh()
        return Watched(scorer, first, second)

    return serve


def test_a_release_that_alerts_too_much_is_named_once_and_goes_on(
    watched: Callable[..., Watched], caplog: pytest.LogCaptureFixture
) -> None:
    scorer, _, second = watched(go_back=False)
    scorer.breaker.add(1_000, 310)
    scorer.refresh()
    assert errors(caplog) == []
    scorer.breaker.add(9_000, 8_690)
    for _ in range(3):
        scorer.refresh()
    (said,) = errors(caplog)
    assert said.startswith("release 2: 9000 alerts of 10000 transactions, 2.7 times the 33.667 % ")
    assert f"that the manifest of {second} expects; " in said
    assert scorer.current.version == second
    assert not scorer.went_back


def test_the_release_before_is_served_again_until_a_newer_one_comes(
    watched: Callable[..., Watched], publish: Publish, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    scorer, first, second = watched(go_back=True)
    scorer.breaker.add(10_000, 10_000)
    for _ in range(3):
        scorer.refresh()
    said, done = errors(caplog)
    assert said.startswith("release 2: 10000 alerts of 10000 transactions")
    assert done == "serving release 1 again until a newer one comes"
    assert prediction(scorer)["model_version"] == first
    assert scorer.went_back
    # what comes next is tried, be it the same model
    run("promote", publish(3))
    run("promote", second)
    scorer.refresh()
    assert prediction(scorer)["model_version"] == second
    assert not scorer.went_back
    assert scorer.breaker.transactions == 0
    scorer.breaker.add(10_000, 10_000)
    scorer.refresh()
    assert prediction(scorer)["model_version"] == first
    assert scorer.went_back
    # what is served already is promoted: it is the newest now
    run("promote", first)
    scorer.refresh()
    assert not scorer.went_back


def test_renewed_terminal_risk_is_left_for_that_before(
    watched: Callable[..., Watched], store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    scorer, first, second = watched(go_back=True)
    scorer.breaker.add(10_000, 3_000)
    table = scorer.current.terminal_risk
    of_first = releases(store)[0]["risk"]
    assert of_first["version"] == first
    release_by_hand(store, action="renew", risk=of_first)
    scorer.refresh()
    assert scorer.current.terminal_risk is not table
    assert scorer.breaker.transactions == 0
    scorer.breaker.add(10_000, 10_000)
    scorer.refresh()
    assert scorer.current.version == second
    assert (
        scorer.current.terminal_risk.as_of(["t"], np.array([5])).tolist()
        == table.as_of(["t"], np.array([5])).tolist()
    )
    assert "serving release 2 again" in errors(caplog)[-1]
    # the next is judged for itself, though what is served again has counted little
    scorer.breaker.add(10, 3)
    release_by_hand(store, action="renew", risk=of_first)
    scorer.refresh()
    assert scorer.breaker.transactions == 0
    scorer.breaker.add(10_000, 10_000)
    scorer.refresh()
    assert errors(caplog)[-1] == "serving release 2 again until a newer one comes"
    assert errors(caplog)[-2].startswith("release 4: ")


def test_tables_that_come_faster_than_can_be_told_are_judged_together(
    watched: Callable[..., Watched], store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """And left for the one before them all, which had been tried."""
    scorer, _, second = watched(go_back=True)
    scorer.breaker.add(10_000, 3_000)
    tables = [releases(store)[number]["risk"] for number in (0, 1)]
    for number in range(1, 6):
        release_by_hand(store, action="renew", risk=tables[(number + 1) % 2])
        scorer.refresh()
        scorer.breaker.add(14, 14)
        scorer.refresh()
    assert errors(caplog)[0].startswith("release 7: 70 alerts of 70 transactions")
    scorer.refresh()
    assert errors(caplog)[1:] == ["serving release 2 again until a newer one comes"]
    assert scorer.current.version == second


def test_a_challenger_is_no_change_over(watched: Callable[..., Watched], publish: Publish, run: Run) -> None:
    scorer, *_ = watched(go_back=True)
    scorer.breaker.add(100, 30)
    run("challenge", publish(3))
    scorer.refresh()
    assert scorer.breaker.transactions == 100


def test_nobody_goes_back_where_it_was_so_before(
    watched: Callable[..., Watched], publish: Publish, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    """Frauds come in waves: what is served is not what changed. And who went back goes no further."""
    scorer, first, _ = watched(go_back=True)
    scorer.breaker.add(10_000, 10_000)
    scorer.refresh()
    assert scorer.current.version == first
    scorer.breaker.add(10_000, 10_000)
    for _ in range(2):
        scorer.refresh()
    assert [text.split(" a")[0] for text in errors(caplog)] == [
        "release 2: 10000",
        "serving release 1",
        "release 1: 10000",
    ]
    third = publish(3)
    run("promote", third)
    scorer.refresh()
    scorer.breaker.add(10_000, 10_000)
    scorer.refresh()
    assert scorer.current.version == third
    assert "release 3: " in errors(caplog)[-1]


def test_a_process_that_has_served_no_other_release_finds_the_one_before(
    watched: Callable[..., Watched], settings: Settings, run: Run, publish: Publish
) -> None:
    _, first, second = watched(go_back=True)
    run("challenge", publish(3))
    started = that_goes_back(settings)
    assert started.current.version == second
    started.breaker.add(10_000, 10_000)
    started.refresh()
    assert started.current.version == first


def test_a_process_that_starts_with_renewed_tables_goes_back_to_another_model(
    watched: Callable[..., Watched], settings: Settings, store: MemoryStore
) -> None:
    """The table before would be that of the same model."""
    _, first, second = watched(go_back=True)
    for name in ("q", "r"):
        renew(store, name)
    started = that_goes_back(settings)
    assert prediction(started)["model_version"] == second
    started.breaker.add(10_000, 10_000)
    started.refresh()
    sent = prediction(started)
    assert (sent["model_version"], sent["risk_version"]) == (first, "r")


def test_a_process_that_finds_no_other_model_goes_back_to_the_table_before(
    watched: Callable[..., Watched],
    settings: Settings,
    store: MemoryStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The model before was left so long ago that nobody reads that far."""
    monkeypatch.setattr(model_registry, "_LOOKED_BACK", 1)
    _, _, second = watched(go_back=True)
    release_by_hand(store, action="renew", risk=releases(store)[-1]["risk"] | {"version": "r"})
    started = that_goes_back(settings)
    assert prediction(started)["risk_version"] == "r"
    started.breaker.add(10_000, 10_000)
    started.refresh()
    sent = prediction(started)
    assert (sent["model_version"], sent["risk_version"]) == (second, second)


def test_a_process_that_starts_does_not_go_back_to_a_model_that_was_rolled_back(
    watched: Callable[..., Watched], settings: Settings, run: Run, store: MemoryStore
) -> None:
    """What a person has left is worse than what alerts much now."""
    _, first, _ = watched(go_back=True)
    assert run("rollback") == 0
    release_by_hand(store, action="renew", risk=releases(store)[-1]["risk"] | {"version": "r"})
    started = that_goes_back(settings)
    assert prediction(started)["risk_version"] == "r"
    started.breaker.add(10_000, 10_000)
    started.refresh()
    sent = prediction(started)
    assert (sent["model_version"], sent["risk_version"]) == (first, first)


@pytest.mark.parametrize("lost", ["promote", "challenge"])
def test_what_is_in_use_is_judged_while_what_is_released_is_not_there(
    watched: Callable[..., Watched], publish: Publish, run: Run, store: MemoryStore, lost: str
) -> None:
    scorer, first, second = watched(go_back=True)
    third = publish(3)
    assert run(lost, third) == 0
    kept = store.objects["models"].pop(f"{third}/model.onnx")
    scorer.refresh()
    assert scorer.current.version == second
    scorer.breaker.add(10_000, 10_000)
    scorer.refresh()
    assert scorer.current.version == first
    assert scorer.went_back
    store.objects["models"][f"{third}/model.onnx"] = kept
    scorer.refresh()
    assert scorer.current.version == (third if lost == "promote" else first)


def test_the_release_before_is_served_again_though_its_challenger_is_gone(
    settings: Settings, publish: Publish, run: Run, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """It is what alerts less, and until a newer release comes it is said to serve."""
    first, second, third = publish(1), publish(2), publish(3)
    run("promote", first)
    run("challenge", third)
    scorer = that_goes_back(settings)
    run("promote", second)
    run("unchallenge")
    scorer.refresh()
    bring_back = lose(store, third, "model.onnx")
    scorer.breaker.add(10_000, 10_000)
    for _ in range(3):
        scorer.refresh()
    assert scorer.current.version == first
    assert scorer.went_back
    assert sum("serving release 2 again until a newer one comes" in each for each in errors(caplog)) == 1
    bring_back()
    scorer.refresh()
    assert prediction(scorer)["challenger_version"] == third
    assert scorer.went_back


def test_a_first_release_has_none_to_go_back_to(
    settings: Settings, publish: Publish, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    first = publish(1)
    run("promote", first)
    scorer = that_goes_back(settings)
    scorer.breaker.add(10_000, 10_000)
    scorer.refresh()
    assert errors(caplog)[-1].startswith("release 1: 10000 alerts")
    assert scorer.current.version == first


def test_a_model_before_is_served_again_with_the_table_in_use(
    watched: Callable[..., Watched], store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The table that it had is deleted, as others were renewed since."""
    scorer, first, second = watched(go_back=True)
    del store.objects["features"][f"terminal_risk/{first}.parquet"]
    renew(store, "r")
    scorer.refresh()
    sent = prediction(scorer)
    assert (sent["model_version"], sent["risk_version"]) == (second, "r")
    scorer.breaker.add(10_000, 10_000)
    scorer.refresh()
    sent = prediction(scorer)
    assert (sent["model_version"], sent["risk_version"]) == (first, "r")
    assert scorer.went_back
    assert errors(caplog)[-1] == "serving release 1 again until a newer one comes"


@pytest.mark.parametrize(
    ("of_newer", "taken"),
    [
        ({}, True),
        ({"label_delay_days": 30}, False),
        ({"risk": RISK}, False),
        ({"risk": None}, False),
        ({"model": ModelReference("a", "")}, False),
    ],
    ids=["renewed", "another delay of labels", "published with the other", "ready columns", "the same model"],
)
def test_an_earlier_model_is_told_what_was_renewed_for_another(
    of_newer: dict[str, Any], *, taken: bool
) -> None:
    earlier = Release(number=1, writer="", action="promote", model=ModelReference("a", ""), risk=RISK)
    renewed = RiskReference("r", "renewed.parquet", "", renewed=True)
    newer = {"number": 2, "action": "renew", "model": ModelReference("b", ""), "risk": renewed} | of_newer
    told = earlier.told_of_now(msgspec.structs.replace(earlier, **newer))
    assert told == (msgspec.structs.replace(earlier, risk=renewed) if taken else earlier)


def test_an_earlier_model_of_ready_columns_is_told_nothing() -> None:
    earlier = Release(number=1, writer="", action="promote", model=ModelReference("a", ""))
    renewed = RiskReference("r", "renewed.parquet", "", renewed=True)
    newer = msgspec.structs.replace(earlier, number=2, model=ModelReference("b", ""), risk=renewed)
    assert earlier.told_of_now(newer) is earlier


@pytest.mark.parametrize("lost", ["gone", "flipped"])
def test_a_release_before_that_cannot_be_loaded_is_no_way_back(
    watched: Callable[..., Watched], store: MemoryStore, caplog: pytest.LogCaptureFixture, lost: str
) -> None:
    """One that MinIO does not give is asked for again; one that is not what was published is left."""
    scorer, first, second = watched(go_back=True)
    models = store.objects["models"]
    kept = dict(models)
    CORRUPTIONS[lost][0](models, first)
    scorer.breaker.add(10_000, 10_000)
    for _ in range(2):
        scorer.refresh()
    assert scorer.current.version == second
    assert errors(caplog)[0].startswith("release 2: 10000 alerts")
    assert f"going on with {second}" in errors(caplog)[1]
    assert len(errors(caplog)) == 2
    models.update(kept)
    scorer.refresh()
    assert scorer.current.version == (first if lost == "gone" else second)


def test_an_older_manifest_says_nothing_to_expect_and_that_is_said_once(
    watched: Callable[..., Watched], publish: Publish, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    scorer, first, _ = watched(go_back=True)
    third, models = publish(3), store.objects["models"]
    with_manifest(models, third, expected_alerts=None)
    digest = hashlib.sha256(models[f"{third}/manifest.json"]).hexdigest()
    caplog.set_level(logging.WARNING)
    release_by_hand(store, model={"version": third, "manifest_sha256": digest})
    scorer.refresh()
    assert scorer.current.version == third
    # it is renewed
    release_by_hand(store, risk=releases(store)[0]["risk"])
    scorer.refresh()
    scorer.breaker.add(10_000, 10_000)
    scorer.refresh()
    assert scorer.current.version == third
    assert caplog.text.count(f"the manifest of {third} does not say how many alerts to expect") == 1
    assert first not in caplog.text.split("now serving")[-1]
