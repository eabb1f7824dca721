"""Eight weeks after a promotion: silent where terminal risk is renewed, ringing soon where it is not."""

from pathlib import Path

import msgspec
import pandas as pd
import pyarrow as pa
import pytest
from small_town import LEARNT_UNTIL, settle

from clients.drift_measure import Drift, Knowledge, measure
from clients.drift_report import EXIT_DRIFTED, local_scorer, main
from clients.drift_source import File, Labels
from flink_jobs.domain.drift import LARGE
from flink_jobs.domain.history import DAY_S
from flink_jobs.domain.manifest import Manifest
from flink_jobs.domain.model import ONNX_FILE, ServedModel
from flink_jobs.domain.scoring import Scorer
from flink_jobs.domain.terminal_risk import RISK_FILE, SCHEMA, TerminalRisk, said_of_table

FIRST_DAY = int(pd.Timestamp(LEARNT_UNTIL).timestamp() // DAY_S)
WEEKS = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifteen weeks of it."""
    folder = tmp_path_factory.mktemp("weeks")
    settle(folder, customers=300, terminals=400, days=106, rate=2 / 1_000, trees=20)
    return folder


@pytest.fixture(scope="module")
def town(folder: Path) -> File:
    return File(str(folder / "town.parquet"))


@pytest.fixture
def scorer(folder: Path) -> Scorer:
    return local_scorer(folder / "model")


def measured(scorer: Scorer, town: File, week: int) -> Drift:
    """Measure a week, 1 being the first after the promotion, with what is known at its end."""
    knowledge = Knowledge(town.known_on(7), town.labels(7))
    return measure(scorer, town, 7, (FIRST_DAY + 7 * week) * DAY_S, knowledge)


def told_the_last_day_for_ever(scorer: Scorer, folder: Path) -> Scorer:
    """Let the published table claim days that it does not know, so that its age does not show."""
    published = pa.parquet.read_table(folder / "model" / RISK_FILE).replace_schema_metadata()
    last_day = max(published["day"].to_pylist())
    of_last_day = published.filter(pa.compute.equal(published["day"], last_day))
    days = range(last_day + 1, FIRST_DAY + 7 * WEEKS + 1)
    claimed = [
        of_last_day.set_column(1, "day", pa.array([day] * len(of_last_day), SCHEMA.field("day").type))
        for day in days
    ]
    said = said_of_table(7, [*range(FIRST_DAY, last_day + 1), *days])
    return scorer.told(TerminalRisk(pa.concat_tables([published, *claimed]).replace_schema_metadata(said)))


def test_eight_weeks_with_risk_renewed_are_silent(scorer: Scorer, town: File) -> None:
    renewed = scorer.told(town.known_on(7)(range(FIRST_DAY, FIRST_DAY + 7 * WEEKS + 1)))
    for week in range(1, WEEKS + 1):
        drift = measured(renewed, town, week)
        assert drift.alarms == [], week
        assert max(drift.psi.values()) < LARGE, week
        # there was something to ring at
        assert drift.changed is not None
        assert drift.changed.alerts > 200
        assert drift.foretold["alerts"].frauds > 100


def test_a_table_that_claims_later_days_than_it_knows_rings_by_the_end_of_the_second_week(
    scorer: Scorer, town: File, folder: Path
) -> None:
    frozen = told_the_last_day_for_ever(scorer, folder)
    # which it knows
    assert measured(frozen, town, 1).alarms == []
    drift = measured(frozen, town, 2)
    assert drift.risk_age_days == 0
    assert len(drift.alarms) == 1
    assert "come or go where terminals are as they are known" in drift.alarms[0]


def test_it_rings_a_day_after_the_last_day_of_the_table(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--model", str(folder / "model"), "--data", str(folder / "town.parquet"), "--until"]
    assert main([*command, "2024-04-28"]) == 0
    assert "rings" not in capsys.readouterr().out
    assert main([*command, "2024-04-29"]) == EXIT_DRIFTED
    (line,) = (each for each in capsys.readouterr().out.splitlines() if each.startswith("rings: "))
    assert "terminal risk ended 1 d before the period does" in line


@pytest.mark.parametrize(("missing_days", "rings"), [(0, []), (1, [True]), (20, [True])])
def test_it_rings_where_labels_are_missing_that_should_be_in(
    scorer: Scorer, town: File, missing_days: int, rings: list[bool]
) -> None:
    def late(since_s: float, until_s: float) -> Labels:
        return town.labels(7)(since_s, until_s - missing_days * DAY_S)

    until_s = (FIRST_DAY + 7) * DAY_S
    alarms = measure(scorer, town, 7, until_s, Knowledge(town.known_on(7), late)).alarms
    assert [("no label came" in each) for each in alarms] == rings


def test_it_rings_where_probabilities_do_not_come_true(scorer: Scorer, town: File) -> None:
    """Nine tenths of the frauds turn out to be honest."""

    def doubtful(since_s: float, until_s: float) -> Labels:
        frauds = town.labels(7)(since_s, until_s).frauds
        return Labels({name: is_fraud and int(name) % 10 == 0 for name, is_fraud in frauds.items()})

    until_s = (FIRST_DAY + 7) * DAY_S
    alarms = measure(scorer, town, 7, until_s, Knowledge(town.known_on(7), doubtful)).alarms
    assert "labelled alerts" in alarms[0]
    assert "foretold" in alarms[0]


def test_it_rings_where_alerts_are_not_as_many_as_the_manifest_expects(town: File, folder: Path) -> None:
    """And an older manifest, which tells a share and no bursts, is held to that share."""
    manifest = Manifest.from_json((folder / "model" / "manifest.json").read_bytes())
    assert manifest.expected_alerts is not None
    assert manifest.expected_alerts.dispersion > 2
    onnx = (folder / "model" / ONNX_FILE).read_bytes()
    risk = TerminalRisk.from_parquet((folder / "model" / RISK_FILE).read_bytes())
    few = msgspec.structs.replace(manifest.expected_alerts, alerts=manifest.expected_alerts.alerts // 10)
    for expected, rings in ((few, True), (manifest.expected_alerts, False), (None, False)):
        said = msgspec.structs.replace(manifest, expected_alerts=expected)
        drift = measure(Scorer(ServedModel.from_onnx(said, onnx), risk), town, 7, (FIRST_DAY + 7) * DAY_S)
        assert ["raised an alert; by chance" in each for each in drift.alarms] == [True] * rings, expected
