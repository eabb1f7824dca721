"""`fraud-performance` reads the lake: each transaction once, as it was scored first, labels as known then."""

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from manifests import manifest_with
from memory_store import MemoryStore
from served_lake import ServedLake

from flink_jobs.store.lake import find_lake
from training import performance_command
from training.lake_predictions import read_predictions
from training.performance_command import main

MONDAY = datetime(2026, 6, 15, 9, tzinfo=UTC)
CHAMPION, CHALLENGER = "20260601T000000Z-aaaaaaaa", "20260610T000000Z-bbbbbbbb"


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServedLake:
    """Without the page, whose plots take seconds, and with few draws."""
    monkeypatch.setattr(performance_command, "performance_page", lambda _: "")
    monkeypatch.setattr(performance_command, "TIMES", 20)
    return ServedLake(tmp_path / "lake")


def payment(number: int, days: float = 0.0) -> dict[str, Any]:
    return {
        "transaction_id": f"t{number}",
        "event_time": (MONDAY + timedelta(days=days, minutes=number)).isoformat(),
        "customer_id": f"c{number}",
        "terminal_id": "1",
        "amount": 10.0 + number,
    }


def prediction(number: int, score: float, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - columns
    return {
        "transaction_id": f"t{number}",
        "score": score,
        "threshold": 0.5,
        "model_version": CHAMPION,
        "transaction_partition": 0,
        "transaction_offset": number,
        **more,
    }


def label(number: int, *, fraud: bool, days: float = 3.0) -> dict[str, Any]:
    at = (MONDAY + timedelta(days=days)).isoformat()
    return {"transaction_id": f"t{number}", "is_fraud": fraud, "labelled_by": "me", "labelled_at": at}


def measured(lake: ServedLake, *arguments: str) -> dict[str, Any]:
    assert main(["--lake", str(lake.root), "--output", str(lake.root), "--cards", "1", *arguments]) == 0
    numbers: dict[str, Any] = json.loads((lake.root / "performance.json").read_text())
    return numbers


def values(part: dict[str, Any], names: Iterable[str]) -> list[float | None]:
    return [part[name]["value"] for name in names]


def write_two_weeks(lake: ServedLake) -> None:
    """Two alerts, a control transaction and another on Monday; the same 8 days later, unlabelled."""
    lake.transactions([*map(payment, range(4)), *(payment(n, 8) for n in range(4, 8))], "2026-06-24")
    lake.predictions(
        [
            prediction(0, 0.9),
            prediction(1, 0.8),
            prediction(2, 0.2, control_probability=0.5),
            prediction(3, 0.1),
            prediction(4, 0.9),
            prediction(5, 0.8),
            prediction(6, 0.2, control_probability=0.5),
            prediction(7, 0.1),
        ],
        "2026-06-24",
    )
    lake.labels([label(0, fraud=True), label(1, fraud=False), label(2, fraud=True)], "2026-06-24")


def test_figures_are_by_day_and_by_week_and_unknown_where_nobody_labelled(tmp_path: Path) -> None:
    lake = ServedLake(tmp_path)
    write_two_weeks(lake)
    numbers = measured(lake)
    (model,) = numbers["models"]
    assert (model["version"], model["role"], model["thresholds"]) == (CHAMPION, "champion", [0.5])
    assert [(each["from"], each["to"]) for each in model["weeks"]] == [
        ("2026-06-15", "2026-06-15"),
        ("2026-06-23", "2026-06-23"),
    ]
    assert [each["from"] for each in model["days"]] == ["2026-06-15", "2026-06-23"]
    first, second = model["weeks"]
    told = ("alerts", "precision", "recall", "card_precision", "money_caught", "money_missed")
    assert values(first, told) == [2, 0.5, pytest.approx(1 / 3), 1.0, 10.0, 2 * 12.0]
    assert (first["labelled"], first["alerts_labelled_share"], first["control_labelled_share"]) == (
        3,
        1.0,
        1.0,
    )
    # a null, never 0
    assert values(second, told) == [2, None, None, None, None, None]
    assert second["recall"]["reason"] == "none of 2 alerts is labelled"
    assert (second["labelled"], second["alerts_labelled_share"]) == (0, 0.0)
    page = (lake.root / "performance.html").read_text()
    assert re.search(r"2026-06-23.*unknown \(1\)", page)
    assert "(1) none of 2 alerts is labelled" in page
    assert page.count("data:image/png;base64,") == 6
    assert "http" not in page


def test_a_week_whose_labels_are_not_due_leaves_the_week_before_to_tell(lake: ServedLake) -> None:
    write_two_weeks(lake)
    # five alerts more in the second week; of one, its customer has told already
    lake.transactions([payment(n, 8) for n in range(8, 13)], "2026-06-24")
    lake.predictions([prediction(n, 0.9) for n in range(8, 13)], "2026-06-24")
    lake.labels([label(4, fraud=True, days=8.5)], "2026-06-24")
    for as_of, precision in (("2026-06-28", 0.5), ("2026-07-02", None)):
        numbers = measured(lake, "--as-of", as_of, "--label-delay", "7")
        period = numbers["models"][0]["period"]
        assert values(period, ["precision"]) == [precision]
        assert period["labels_are_due"] == (precision is None)
    assert period["precision"]["reason"] == "only 3 of 9 alerts are labelled"


def test_a_period_of_which_no_label_is_due_says_how_to_choose_another(
    lake: ServedLake, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a delay of 30 days or more, the last 28 days are such a period."""
    write_two_weeks(lake)
    late = ["--label-delay", "30", "--as-of"]
    period = ["--since", "2026-06-15", "--until", "2026-06-24"]
    (note,) = measured(lake, *late, "2026-07-15T12:00", *period)["notes"]
    assert note.startswith(
        "no label of this period is due yet, as labels come 30 days late: --until 2026-06-15 "
    )
    assert note in capsys.readouterr().err
    # that of the first day
    assert not measured(lake, *late, "2026-07-16", *period)["notes"]


def test_labels_count_from_when_they_were_given_and_the_latest_counts(lake: ServedLake) -> None:
    write_two_weeks(lake)
    lake.labels([label(1, fraud=True, days=5), label(1, fraud=False, days=4)], "2026-06-25")
    for as_of, expected in (
        ("2026-06-17", [None, None]),
        ("2026-06-19", [0.5, 1 / 3]),
        ("2026-07-01", [1.0, 0.5]),
    ):
        numbers = measured(lake, "--as-of", as_of, "--label-delay", "12")
        first = numbers["models"][0]["weeks"][0]
        assert values(first, ("precision", "recall")) == [each and pytest.approx(each) for each in expected]
        assert first["labels_due"] == "2026-06-28"
        assert first["labels_are_due"] == (as_of == "2026-07-01")


def test_one_prediction_counts_for_a_transaction_the_first_that_came(lake: ServedLake) -> None:
    """A job that begins again sends predictions again, by then of another model; files have no order."""
    lake.transactions(map(payment, range(4)), "2026-06-24")
    later = [datetime(2026, 6, 24, 13, tzinfo=UTC)] * 2
    again = [prediction(n, 0.1, model_version="other") for n in range(4)]
    lake.predictions(again[:2], "2026-06-24", later)
    lake.predictions([prediction(n, 0.9) for n in range(4)], "2026-06-24")
    lake.predictions(again[2:], "2026-06-24", later)
    # of one time, the one before it in the topic
    lake.predictions([prediction(0, 0.2)], "2026-06-24")
    # of another topic's record at that offset, and of none
    lake.predictions([prediction(0, 0.3, transaction_partition=1), prediction(9, 0.3)], "2026-06-24")
    lake.predictions([prediction(0, 0.3, transaction_offset=None)], "2026-06-24")
    numbers = measured(lake)
    (model,) = numbers["models"]
    assert (model["version"], model["period"]["alerts"]["value"]) == (CHAMPION, 4)
    assert (numbers["transactions"], numbers["predicted"]) == (4, 4)


def test_the_order_of_files_and_rows_changes_nothing(lake: ServedLake) -> None:
    random = np.random.default_rng(0)
    rows = [(number, came) for number in range(50) for came in range(4)]
    random.shuffle(rows)
    for first in range(0, 150, 30):
        file = rows[first : first + 30]
        came_at = [datetime(2026, 6, 24, came, tzinfo=UTC) for _, came in file]
        lake.predictions([prediction(number, came / 10) for number, came in file], "2026-06-24", came_at)
    found = find_lake(str(lake.root / "predictions"))
    assert found is not None
    places = np.arange(50)[::-1]
    scores = read_predictions(found, np.zeros(50), places, 0.0)["score"].to_numpy()
    for number, score in zip(places.tolist(), scores.tolist(), strict=True):
        left = [came / 10 for each, came in rows[:150] if each == number]
        assert score == min(left) if left else np.isnan(score)


def test_a_period_is_of_event_time_and_says_how_many_were_not_scored(lake: ServedLake) -> None:
    write_two_weeks(lake)
    lake.transactions([payment(8, 0.1)], "2026-06-24")
    numbers = measured(lake, "--since", "2026-06-15", "--until", "2026-06-16")
    assert (numbers["transactions"], numbers["predicted"]) == (5, 4)
    assert [each["from"] for each in numbers["models"][0]["days"]] == ["2026-06-15"]
    assert measured(lake, "--days", "1")["models"][0]["period"]["transactions"] == 4


def test_a_challenger_is_measured_beside_the_champion_at_its_manifests_threshold(
    lake: ServedLake, store: MemoryStore, settings_file: Path
) -> None:
    lake.transactions(map(payment, range(4)), "2026-06-24")
    challenger = {"challenger_version": CHALLENGER}
    lake.predictions(
        [
            prediction(0, 0.9, challenger_score=0.7, **challenger),
            prediction(1, 0.8, challenger_score=0.2, **challenger),
            prediction(2, 0.2, challenger_score=0.1, control_probability=0.5, **challenger),
            # of an earlier version, whose messages had no threshold
            prediction(3, 0.1, threshold=None),
        ],
        "2026-06-24",
    )
    lake.labels([label(0, fraud=True), label(1, fraud=False), label(2, fraud=False)], "2026-06-24")
    champion, other = measured(lake)["models"]
    names = ("alerts", "precision", "recall", "average_precision")
    assert values(other, ()) == []
    assert (other["role"], other["thresholds"], other["period"]["transactions"]) == ("challenger", [], 3)
    assert values(other["period"], names) == [None, None, None, 1.0]
    assert champion["period"]["alerts"]["reason"] == "the threshold is not known for 1 transactions"
    for version, threshold in ((CHAMPION, 0.5), (CHALLENGER, 0.6)):
        manifest = manifest_with(version=version, created_at="", features=[], threshold=threshold)
        store.put_object(Bucket="models", Key=f"{version}/manifest.json", Body=manifest.to_json())
    champion, other = measured(lake, "--settings", str(settings_file))["models"]
    assert values(champion["period"], names)[:3] == [2, 0.5, 1.0]
    assert (other["thresholds"], values(other["period"], names)) == ([0.6], [1, 1.0, 1.0, 1.0])


def test_what_a_challenger_scored_is_measured_though_its_files_are_gone(
    lake: ServedLake, store: MemoryStore, settings_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """But for what depends on its threshold, which its manifest had."""
    del store
    lake.transactions(map(payment, range(2)), "2026-06-24")
    scored = {"challenger_score": 0.7, "challenger_version": CHALLENGER}
    lake.predictions([prediction(n, 0.9 - n / 10, **scored) for n in range(2)], "2026-06-24")
    lake.labels([label(0, fraud=True), label(1, fraud=False)], "2026-06-24")
    _, challenger = measured(lake, "--settings", str(settings_file))["models"]
    assert values(challenger["period"], ("alerts", "average_precision")) == [None, 0.5]
    assert challenger["period"]["alerts"]["reason"] == "the threshold is not known for 2 transactions"
    said = capsys.readouterr().err
    assert f"the threshold of model {CHALLENGER} is not known: s3://models/{CHALLENGER}/manifest.json" in said
    assert "is not there: bring it back with `mc undo` or `fraud-models upload`" in said


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ((), "raw/transactions: there are no transactions"),
        (("transactions",), "predictions: there are no predictions yet. kafka_to_minio_job of this version"),
        (("transactions", "other"), "none of 1 transactions from 2026-05-19 to 2026-06-16 has a prediction"),
    ],
)
def test_a_lake_without_predictions_says_so(
    lake: ServedLake, capsys: pytest.CaptureFixture[str], folders: tuple[str, ...], message: str
) -> None:
    if "transactions" in folders:
        lake.transactions([payment(0)])
    if "other" in folders:
        lake.predictions([prediction(7, 0.5)])
    assert main(["--lake", str(lake.root), "--output", str(lake.root)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("fraud-performance: ")
    assert message in error
    assert not (lake.root / "performance.json").exists()


def test_a_lake_without_labels_is_unknown_but_for_its_alerts(
    lake: ServedLake, capsys: pytest.CaptureFixture[str]
) -> None:
    lake.transactions([payment(0)])
    lake.predictions([prediction(0, 0.9)])
    period = measured(lake)["models"][0]["period"]
    assert values(period, ("alerts", "precision", "recall")) == [1, None, None]
    shown = capsys.readouterr()
    assert "labels: there are no labels yet" in shown.err
    assert "unknown: none of 1 alerts is labelled" in shown.out


def test_the_report_says_what_is_labelled_and_that_only_frauds_are(
    lake: ServedLake, capsys: pytest.CaptureFixture[str]
) -> None:
    lake.transactions(map(payment, range(4)))
    lake.predictions([prediction(n, 0.9) for n in range(3)])
    lake.predictions([prediction(3, 0.2, control_probability=0.5)])
    lake.labels([label(n, fraud=True) for n in range(2)])
    measured(lake)
    lines = capsys.readouterr().out.splitlines()
    assert f"    {'alerts labelled':<24}{'67%':>10}" in lines
    assert f"    {'controls labelled':<24}{'0%':>10}" in lines
    assert f"    {'alerts that are frauds':<24}unknown: only frauds are labelled, 2 of 3 alerts" in lines


def test_what_came_before_the_period_is_not_read(lake: ServedLake) -> None:
    """The lake keeps everything, so a report costs its period."""
    write_two_weeks(lake)
    for folder in ("raw/transactions", "predictions", "labels"):
        old = lake.root / folder / "dt=2026-06-12"
        old.mkdir()
        (old / "part-0").write_bytes(b"nothing that can be read")
    assert measured(lake, "--since", "2026-06-15", "--until", "2026-06-25")["predicted"] == 8
