"""Of transactions without an alert, only what chance chose to be labelled is held to probabilities."""

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import pytest
from manifests import manifest_with

from clients.drift_measure import Drift
from clients.drift_report import drift_table
from clients.drift_rows import ScoredRows
from clients.drift_source import Labels
from flink_jobs.domain.calibration import Calibration
from flink_jobs.domain.control import chosen

SHARE = 0.1
ALERTS, OTHERS = 100, 1_000
MANIFEST = manifest_with(calibration=Calibration([0.0, 1.0], [0.01, 0.8]))
IDS = [f"t{number}" for number in range(ALERTS + OTHERS)]
CONTROL = [name for name in IDS[ALERTS:] if chosen([name], SHARE)[0]]
REPORTED = [name for name in IDS[ALERTS:] if name not in CONTROL][:10]
# as many as foretold, of terminals with five alerts each
OF_ALERTS = {name: number % 5 > 0 for number, name in enumerate(IDS[:ALERTS])}
OF_CONTROL = {name: number == 0 for number, name in enumerate(CONTROL)}


@pytest.fixture
def rows() -> ScoredRows:
    """Alerts of p=0.8 in bursts of five, and others of p=0.01."""
    numbers = np.arange(ALERTS + OTHERS)
    alerted = numbers < ALERTS
    terminals = np.where(alerted, numbers // 5, numbers).astype(object)
    return ScoredRows(
        [
            np.full(len(numbers), 1.7e9),
            alerted.astype(np.float64),
            alerted,
            np.full(len(numbers), -1, np.int8),
            np.array(IDS, dtype=object),
            terminals,
            numbers.astype(object),
        ]
    )


def given(labels: Mapping[str, bool], share: float = SHARE) -> Labels:
    return Labels(labels, control_share=share)


@pytest.mark.parametrize("of_control", [OF_CONTROL, {}])
def test_frauds_that_customers_reported_are_no_sample_of_the_others(
    rows: ScoredRows, of_control: dict[str, bool]
) -> None:
    labels = given(OF_ALERTS | of_control | dict.fromkeys(REPORTED, True))
    found = rows.foretold(MANIFEST, labels)
    assert not [name for name, each in found.items() if each.rings]
    assert (found["alerts"].transactions, found["alerts"].frauds) == (ALERTS, 80)
    assert ("others" in found) == bool(of_control)
    if of_control:
        assert (found["others"].transactions, found["others"].frauds) == (len(CONTROL), 1)
        assert not rows.untold(labels)
    else:
        why = f"none of {len(CONTROL)} control transactions is labelled"
        assert rows.untold(labels) == {"others": why}


def test_what_nobody_labelled_or_nobody_raised_is_unknown(rows: ScoredRows) -> None:
    assert rows.untold(given({})) == dict.fromkeys(("alerts", "others"), "no label is known")
    assert rows.untold(given(OF_CONTROL)) == {"alerts": f"none of {ALERTS} alerts is labelled"}
    others = rows.only(~rows.alerted)
    assert others.untold(given(OF_CONTROL)) == {"alerts": "there are no alerts"}
    assert set(others.foretold(MANIFEST, given(OF_CONTROL))) == {"others"}


def test_labels_of_control_transactions_still_ring_where_probabilities_do_not_come_true(
    rows: ScoredRows,
) -> None:
    many = {name: number < 30 for number, name in enumerate(CONTROL)}
    assert rows.foretold(MANIFEST, given(OF_ALERTS | many))["others"].rings


def test_what_has_labels_of_frauds_only_is_unknown_with_the_reason(rows: ScoredRows) -> None:
    frauds = {name: is_fraud for name, is_fraud in OF_ALERTS.items() if is_fraud}
    labels = given(frauds | dict.fromkeys([*CONTROL[:10], *REPORTED], True))
    assert not rows.foretold(MANIFEST, labels)
    assert rows.untold(labels) == {
        "alerts": "only frauds are labelled, 80 of 100 alerts",
        "others": f"only frauds are labelled, 10 of {len(CONTROL)} control transactions",
    }
    # where silence says honest, it tells of all
    honest = Labels(labels.frauds, unlabelled_is_honest=True)
    assert not rows.untold(honest)
    found = rows.foretold(MANIFEST, honest)
    assert (found["alerts"].transactions, found["alerts"].frauds) == (ALERTS, 80)
    assert (found["others"].transactions, found["others"].frauds) == (OTHERS, 20)


def test_a_few_labels_are_held_to_nothing_though_one_says_honest(rows: ScoredRows) -> None:
    heard = {name: number > 0 for number, name in enumerate(CONTROL[: len(CONTROL) // 3])}
    labels = given(OF_ALERTS | heard)
    assert set(rows.foretold(MANIFEST, labels)) == {"alerts"}
    assert rows.untold(labels) == {
        "others": f"only {len(heard)} of {len(CONTROL)} control transactions are labelled"
    }


def test_where_all_others_are_labelled_each_counts(rows: ScoredRows) -> None:
    everything = {name: number == 0 for number, name in enumerate(IDS[ALERTS:])}
    assert rows.foretold(MANIFEST, given(everything, 0.0))["others"].transactions == OTHERS


def test_the_report_says_why_frauds_are_not_held_to_probabilities() -> None:
    drift = Drift(
        model="v",
        source="lake",
        since=datetime(2026, 6, 1, tzinfo=UTC),
        until=datetime(2026, 6, 8, tzinfo=UTC),
        transactions=1_000,
        alerts_then=0.01,
        alerts_now=0.01,
        alerts_bounds=(0.0, 0.02),
        psi={"terminal_risk_last_3": 0.0},
        moved={"terminal_risk_last_3": (None, 0.5, 1.0, 1.0)},
        untold={"others": "only frauds are labelled, 3 of 100 control transactions"},
    )
    assert drift_table(drift).splitlines()[-1] == (
        "frauds in others      unknown: only frauds are labelled, 3 of 100 control transactions"
    )
