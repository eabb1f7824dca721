"""However late labels come, frauds are held to probabilities, or the report says why they are not."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pandas as pd
import pyarrow as pa
import pytest
from memory_store import MemoryStore
from nobodys_settings import SETTINGS
from small_town import FIRST_DAY, LEARNT_UNTIL, settle

from clients.drift_measure import Drift, Knowledge, measure
from clients.drift_report import drift_table, local_scorer
from clients.drift_source import File, Labels, lake_labels
from clients.process import ClientError
from flink_jobs.domain.history import DAY_S
from flink_jobs.domain.manifest import Manifest
from flink_jobs.domain.model import ONNX_FILE, ServedModel
from flink_jobs.domain.scoring import Scorer
from flink_jobs.domain.terminal_risk import SCHEMA, TerminalRisk
from flink_jobs.store.lake import LABELS_FOLDER, open_lake
from flink_jobs.store.release import ModelReference, Release, RiskReference
from flink_jobs.store.settings import Settings
from training.dataset import Dataset, from_frame
from training.lifecycle_lake import FillingLake
from training.promotions import Promotions
from training.risk_renewal import Renewal

DAYS = 253
# the period ends with its last day
END = FIRST_DAY + timedelta(days=DAYS - 1)
END_DAY = (END - date(1970, 1, 1)).days
MANY_DAYS = 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight months of it."""
    folder = tmp_path_factory.mktemp("delays")
    settle(folder, customers=60, terminals=100, days=DAYS, rate=4 / 1_000, trees=8)
    return folder


@pytest.fixture(scope="module")
def town(folder: Path) -> Dataset:
    return from_frame(pd.read_parquet(folder / "town.parquet"), "town", "")


@pytest.fixture(scope="module")
def file(folder: Path) -> File:
    return File(str(folder / "town.parquet"))


def scorer_of(folder: Path, delay_days: int, risk: TerminalRisk) -> Scorer:
    """Give the model as if it had been trained for labels that come so late."""
    manifest = Manifest.from_json((folder / "model" / "manifest.json").read_bytes())
    late = msgspec.structs.replace(manifest, label_delay_days=delay_days)
    return Scorer(ServedModel.from_onnx(late, (folder / "model" / ONNX_FILE).read_bytes()), risk)


def days_before_end(first: int, last: int) -> tuple[date, date]:
    return END - timedelta(days=first), END - timedelta(days=last)


@pytest.mark.parametrize("delay_days", [0, 7, 11, 30, 90])
def test_frauds_of_the_last_week_whose_labels_are_in_are_judged(
    folder: Path, town: Dataset, file: File, monkeypatch: pytest.MonkeyPatch, delay_days: int
) -> None:
    """By what is kept of a lake that is older, also where the period ended days ago."""
    store = MemoryStore()
    monkeypatch.setattr("boto3.client", lambda *_, **_options: store)
    settings = msgspec.structs.replace(SETTINGS, label_delay_days=delay_days)
    released_for(settings, delay_days)
    end = datetime.combine(END, datetime.min.time())
    lake = FillingLake(town, settings, end - timedelta(days=2 * delay_days + 60))
    lake.fill(end)
    renewal = Renewal(settings, end.replace(tzinfo=UTC) + timedelta(hours=1))
    risk = renewal.run().risk
    assert risk is not None
    scorer = scorer_of(folder, delay_days, risk)
    labels = lake_labels(open_lake(settings, LABELS_FOLDER), unlabelled_is_honest=True, control_share=0.0)
    knowledge = Knowledge(renewal.replayed, labels)
    for ago in (0, 9):
        drift = measure(scorer, file, 7, (END_DAY - ago) * DAY_S, knowledge)
        assert drift.judged == days_before_end(delay_days + 7 + ago, delay_days + 1 + ago)
        # as by a full count of all that there ever was
        whole = Knowledge(file.known_on(delay_days), file.labels(delay_days))
        counted = measure(scorer, file, 7, (END_DAY - ago) * DAY_S, whole)
        assert drift.foretold == counted.foretold
        assert (drift.untold, drift.changed) == ({}, counted.changed)
        assert sum(each.frauds for each in drift.foretold.values()) > 10


def released_for(settings: Settings, delay_days: int) -> None:
    """Release something that asks for terminal risk of labels that come so late."""
    release = Release(
        number=0,
        writer="",
        action="promote",
        model=ModelReference("v", ""),
        risk=RiskReference("v", "published", ""),
        label_delay_days=delay_days,
    )
    Promotions(settings).releases.write(lambda _: release)


def test_what_lies_between_is_neither_asked_for_nor_scored(folder: Path, file: File) -> None:
    """With a long delay of labels, the days whose labels are in end long before the period begins."""
    asked: list[int] = []

    def known_on(days: Sequence[int]) -> TerminalRisk:
        asked.extend(days)
        return file.known_on(30)(days)

    scorer = scorer_of(folder, 30, TerminalRisk.empty())
    drift = measure(scorer, file, 7, END_DAY * DAY_S, Knowledge(known_on, file.labels(30)))
    assert asked == [*range(END_DAY - 37, END_DAY - 30), *range(END_DAY - 7, END_DAY + 1)]
    week = measure(scorer, file, 7, (END_DAY - 30) * DAY_S, Knowledge(file.known_on(30)))
    # histories of the days between are folded, so that a later day is scored as if all were scored
    whole = measure(scorer, file, 7, END_DAY * DAY_S, Knowledge(file.known_on(30)))
    assert sum(each.transactions for each in drift.foretold.values()) == week.transactions
    assert (drift.psi, drift.alerts_now) == (whole.psi, whole.alerts_now)


def test_of_days_that_the_model_learnt_from_nothing_is_judged(folder: Path, file: File) -> None:
    """It knows their frauds: that more come true than were foretold is no alarm."""
    learnt = Manifest.from_json((folder / "model" / "manifest.json").read_bytes()).data["train_to"]
    learnt_day = (date.fromisoformat(str(learnt)) - date(1970, 1, 1)).days
    scorer = local_scorer(folder / "model")
    knowledge = Knowledge(file.known_on(7), file.labels(7))
    some = measure(scorer, file, 7, (learnt_day + 7 + 4) * DAY_S, knowledge)
    assert some.judged is not None
    assert str(some.judged[0] - timedelta(days=1)) == learnt
    assert (some.judged[1] - some.judged[0]).days == 2
    none = measure(scorer, file, 7, (learnt_day + 7) * DAY_S, knowledge)
    assert (none.judged, none.foretold) == (None, {})
    assert set(none.untold) == {"alerts", "others"}
    assert none.untold["others"].endswith(f"and the model learnt from days to {learnt}")


def judged_by(folder: Path, file: File, known_days: range, labels: Labels | None = None) -> Drift:
    """Measure the last week, where terminals are known on some days only."""
    known_on = file.known_on(30)
    knowledge = Knowledge(
        lambda days: known_on([day for day in days if day in known_days]),
        file.labels(30) if labels is None else lambda *_: labels,
    )
    return measure(scorer_of(folder, 30, TerminalRisk.empty()), file, 7, END_DAY * DAY_S, knowledge)


def test_frauds_that_cannot_be_judged_are_unknown_with_the_reason(folder: Path, file: File) -> None:
    drift = judged_by(folder, file, range(END_DAY - 20, END_DAY + 1))
    due = END - timedelta(days=30)
    why = f"labels are in for days before {due}, and nothing is known of terminals on those"
    assert drift.untold == dict.fromkeys(("alerts", "others"), why)
    assert not drift.alarms
    assert drift_table(drift).count(f"unknown: {why}") == 2
    # some of the week is judged, and the report says which
    drift = judged_by(folder, file, range(END_DAY - 33, END_DAY + 1))
    assert drift.judged == days_before_end(33, 31)
    assert not drift.untold
    first, last = days_before_end(33, 31)
    assert drift_table(drift).count(f" labelled, {first} to {last}; ") == 2
    # labels alone are missing
    assert set(judged_by(folder, file, range(END_DAY + 1), Labels({})).untold.values()) == {
        "no label is known"
    }


def test_a_young_system_says_that_there_are_no_transactions_whose_labels_are_in(
    folder: Path, file: File, tmp_path: Path
) -> None:
    frame = pd.read_parquet(folder / "town.parquet")
    frame[frame["TX_DATETIME"] >= str(END - timedelta(days=20))].to_parquet(tmp_path / "young.parquet")
    knowledge = Knowledge(file.known_on(30), lambda *_: Labels({"x": True}))
    scorer = scorer_of(folder, 30, TerminalRisk.empty())
    drift = measure(scorer, File(str(tmp_path / "young.parquet")), 7, END_DAY * DAY_S, knowledge)
    first, last = days_before_end(37, 31)
    why = f"there are no transactions from {first} to {last}, whose labels are in"
    assert drift.untold == dict.fromkeys(("alerts", "others"), why)


def test_a_model_without_probabilities_says_so(folder: Path, file: File) -> None:
    scorer = local_scorer(folder / "model")
    plain = msgspec.structs.replace(scorer.manifest, calibration=None)
    model = ServedModel.from_onnx(plain, (folder / "model" / ONNX_FILE).read_bytes())
    knowledge = Knowledge(file.known_on(7), file.labels(7))
    drift = measure(Scorer(model, TerminalRisk.empty()), file, 7, END_DAY * DAY_S, knowledge)
    assert set(drift.untold.values()) == {"the model was published without probabilities"}


def test_a_file_that_begins_with_the_period_tells_nothing_of_terminals(folder: Path, tmp_path: Path) -> None:
    """Its windows are empty: that rang as if what was served of terminals were wrong."""
    frame = pd.read_parquet(folder / "town.parquet")
    frame[frame["TX_DATETIME"] >= LEARNT_UNTIL].to_parquet(tmp_path / "late.parquet")
    late = File(str(tmp_path / "late.parquet"))
    scorer = local_scorer(folder / "model")
    knowledge = Knowledge(late.known_on(7), late.labels(7), scorer.first_day)
    drift = measure(scorer, late, 7, (scorer.first_day + 7) * DAY_S, knowledge)
    assert drift.changed is None
    assert not [each for each in drift.alarms if "come or go" in each]


def test_a_period_before_anything_is_known_of_terminals_is_refused(folder: Path, file: File) -> None:
    row = {"terminal_id": "t", "day": END_DAY} | dict.fromkeys(SCHEMA.names[2:], 0.0)
    served = TerminalRisk(pa.Table.from_pylist([row], SCHEMA))
    with pytest.raises(ClientError, match=f"nothing before {END} 00:00: choose an --until after that"):
        measure(scorer_of(folder, 7, served), file, 7, (END_DAY - MANY_DAYS) * DAY_S)
