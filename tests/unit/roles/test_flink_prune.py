"""Which snapshots in the file system the module deletes while the job goes on making some."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_modules import load

ROLE = Path(__file__).parents[3] / "ansible/roles/flink_job"


@pytest.fixture
def flink_prune(monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401 - as above
    names = ("flink_cluster", "flink_retention", "flink_snapshots")
    # where Ansible puts them before it runs the module, and other tests put theirs
    for name in names:
        monkeypatch.setitem(sys.modules, f"ansible.module_utils.{name}", None)
        load(f"ansible.module_utils.{name}", ROLE / f"module_utils/{name}.py")
    monkeypatch.setitem(sys.modules, "flink_prune", None)
    return load("flink_prune", ROLE / "library/flink_prune.py")


def snapshot(folder: Path, name: str, written_s: int, content: str = "") -> None:
    metadata = folder / name / "_metadata"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(content)
    os.utime(metadata, (written_s, written_s))


def job(number: int) -> str:
    return f"{number:032x}"


def test_what_the_running_job_and_the_newest_need_stays_whatever_vanishes_meanwhile(
    flink_prune: Any,  # noqa: ANN401 - as above
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    checkpoints, savepoints = tmp_path / "checkpoints", tmp_path / "savepoints"
    for number in range(1, 6):
        shared = f"{checkpoints}/count/{job(1)}/shared/4711" if number == 5 else ""
        form = "count.form2" if number == 3 else "count"
        snapshot(checkpoints / form, f"{job(number)}/chk-7", number, shared)
    snapshot(savepoints / "count", "savepoint-00000a-0123456789ab", 3)

    def request(_cluster: object, path: str) -> Any:  # noqa: ANN401 - JSON
        began_with = f"file:{savepoints}/count/savepoint-00000a-0123456789ab"
        return {
            "/jobmanager/config": [
                {"key": "execution.checkpointing.dir", "value": f"file:{checkpoints}"},
                {"key": "execution.checkpointing.savepoint-dir", "value": f"file:{savepoints}"},
            ],
            "/jobs/overview": {
                "jobs": [
                    {"jid": job(5), "name": "count", "state": "RUNNING"},
                    {"jid": job(2), "name": "count", "state": "CANCELED"},
                ]
            },
            f"/jobs/{job(5)}/checkpoints": {"latest": {"restored": {"external_path": began_with}}},
        }[path]

    monkeypatch.setattr(flink_prune.Cluster, "request", request)
    # a checkpoint is replaced while the folder is walked through
    listed, left = flink_prune.Files.list_files, 2

    def vanishing(store: Any, folder: str) -> list[tuple[str, float]]:  # noqa: ANN401 - as above
        nonlocal left
        left -= 1
        if left == 0:
            raise FileNotFoundError("chk-6/_metadata")
        found: list[tuple[str, float]] = listed(store, folder)
        return found

    monkeypatch.setattr(flink_prune.Files, "list_files", vanishing)
    params = {"name": "count", "keep": 2, "state_format": 2, "settled_s": 3600}
    params |= {"rest_urls": [""], "environment_file": None}
    unneeded = [f"file:{checkpoints}/{folder}" for folder in (f"count/{job(2)}", f"count.form2/{job(3)}")]
    dry = flink_prune.prune(SimpleNamespace(params=params, check_mode=True))
    assert dry == unneeded
    assert (checkpoints / "count" / job(2)).exists()
    assert flink_prune.prune(SimpleNamespace(params=params, check_mode=False)) == unneeded
    assert {path.name for path in checkpoints.glob("count/*")} == {job(number) for number in (1, 4, 5)}
    assert len(list(savepoints.glob("count/*"))) == 1
