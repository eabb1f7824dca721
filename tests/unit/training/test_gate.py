"""A model takes another's place only where it is not worse on days that neither has learnt from."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from memory_store import MemoryStore

from flink_jobs.store.settings import Settings
from training import gate, metrics, retraining_command
from training.dataset import Dataset, load
from training.draws import Ranked
from training.examples import Rows
from training.gate import Comparison, GateError, TooEarlyError, compare, compare_on, first_day_needed
from training.labelled_data import LabelledData
from training.model_command import main as models
from training.promotions import Promotions
from training.retraining_command import challenged_since
from training.retraining_command import main as retrain
from training.train_sklearn_model import main as train

GOOD = ["--trees", "20", "--max-depth", "8"]
BAD = ["--trees", "1", "--max-depth", "1", "--min-samples-leaf", "2000"]
EARLIER, LATER = "2024-04-16", "2024-04-30"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, handbook_frame: pd.DataFrame) -> str:
    path = tmp_path_factory.mktemp("data") / "town.parquet"
    handbook_frame.to_parquet(path)
    return str(path)


@pytest.fixture(scope="module")
def town(file: str) -> Dataset:
    return load(file)


@pytest.fixture
def promotions(settings: Settings, store: MemoryStore) -> Promotions:
    del store
    return Promotions(settings)


@pytest.fixture
def arguments(file: str, settings_file: Path, tmp_path: Path) -> list[str]:
    return ["--data", file, "--settings", str(settings_file), "--output", str(tmp_path / "model")]


def releases(store: MemoryStore) -> list[dict[str, Any]]:
    return [
        json.loads(content) for key, content in sorted(store.objects["models"].items()) if "releases/" in key
    ]


def made_up(noise: float, days: int = 14) -> tuple[Any, ...]:
    """Scores of 5,000 transactions with 100 frauds by two models, the second of which knows less."""
    random = np.random.default_rng(1)
    labels = (np.arange(5_000) % 50 == 0).astype(np.int8)
    first = np.round(0.6 * labels + random.uniform(0, 0.7, 5_000), 2)
    second = np.where(random.random(5_000) < noise, random.uniform(0, 1, 5_000), first)
    at = np.sort(random.integers(0, days, 5_000)).astype(np.int32)
    cards = np.array([f"card-{n}" for n in random.integers(0, 500, 5_000)], dtype=object)
    return at, cards, labels, first, second


def test_average_precision_of_rows_that_count_more_is_that_of_repeated_rows() -> None:
    _, _, labels, scores, _ = made_up(0)
    ranked = Ranked.of(labels, scores)
    assert len(ranked.ends) < 150, "scores tie"
    assert ranked.average_precision(np.ones(5_000)) == pytest.approx(
        metrics.average_precision(labels, scores)
    )
    counts = np.random.default_rng(0).integers(0, 4, 5_000)
    repeated = [np.repeat(each, counts) for each in (labels, scores)]
    assert ranked.average_precision(counts.astype(float)) == pytest.approx(
        metrics.average_precision(*repeated)
    )


def test_the_same_scores_differ_by_nothing_and_worse_ones_are_refused() -> None:
    same = compare(*made_up(0))
    assert (same.lower, same.upper) == (0, 0)
    assert same.passes
    worse = compare(*made_up(0.3))
    assert worse.lower < worse.challenger - worse.champion < worse.upper < 0
    assert not worse.passes
    assert compare(*made_up(0.3)) == worse


def test_the_bound_counts_not_the_difference() -> None:
    made = made_up(0.002)
    found = compare(*made)
    assert -0.02 < found.challenger - found.champion < 0
    assert not found.passes
    often = [np.tile(each, 40) for each in made]
    often[1] = np.array([f"card-{n}" for n in np.random.default_rng(0).integers(0, 9_000, len(often[1]))])
    more = compare(*often)
    assert more.challenger - more.champion == pytest.approx(found.challenger - found.champion)
    assert more.passes


@pytest.mark.parametrize("days", [1, 6])
def test_too_few_days_are_no_comparison(days: int) -> None:
    with pytest.raises(GateError, match=f"cannot be compared yet: {days} days"):
        compare(*made_up(0, days))


def test_frauds_alone_are_no_comparison() -> None:
    days, customers, labels, *scores = made_up(0)
    with pytest.raises(TooEarlyError, match="and 0 transactions known to be honest have labels"):
        compare(days, customers, np.ones_like(labels), *scores)


def model(kind: str, train_to: str) -> Any:  # noqa: ANN401 - what is asked of a model before it scores
    manifest = SimpleNamespace(
        version="one", kind=kind, features=(), label_delay_days=7, data={"train_to": train_to}
    )
    return SimpleNamespace(manifest=manifest)


def test_models_of_ready_columns_are_not_compared_on_later_days() -> None:
    with pytest.raises(GateError, match="tables of ready columns name no cards"):
        compare_on(LabelledData(None), *[model("columns", "2024-03-01")] * 2)  # type: ignore[arg-type]


@pytest.mark.parametrize(("train_to", "first"), [("2024-03-01", "2024-03-05"), ("2024-03-31", "2024-04-01")])
def test_no_more_than_the_last_56_days_are_compared(
    town: Dataset, monkeypatch: pytest.MonkeyPatch, train_to: str, first: str
) -> None:
    found: list[int] = []

    def rows(_data: LabelledData, first_day: int, end_day: int) -> Rows:
        found.extend((first_day, end_day))
        nothing = np.zeros(0, np.int32)
        return Rows(np.zeros((0, 1), np.float32), nothing.astype(np.int8), nothing, np.zeros(0, object))

    monkeypatch.setattr(gate, "rows_from", rows)
    models_of = [model("history", train_to), model("history", "2024-02-01")]
    with pytest.raises(TooEarlyError):
        compare_on(LabelledData(town), *models_of)
    end = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=found[1])
    assert end.isoformat() == "2024-04-30T00:00:00+00:00"
    assert found[0] == found[1] - (end - datetime.fromisoformat(f"{first}T00:00:00Z")).days
    needed = first_day_needed(models_of[0].manifest, models_of[1].manifest, date(2024, 5, 7))
    assert needed == date.fromisoformat(first) - timedelta(days=38)


def test_a_worse_model_is_not_promoted_by_training_unless_forced(
    arguments: list[str], store: MemoryStore, promotions: Promotions, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train([*arguments, *GOOD, "--until", EARLIER, "--promote"]) == 0
    good = promotions.current()
    assert train([*arguments, *BAD, "--until", LATER, "--promote"]) == 1
    refused = capsys.readouterr().err
    assert "refused, as it may be worse by more than 0.02" in refused
    assert "from 2024-04-23 to 2024-04-29" in refused
    assert promotions.current() == good
    assert train([*arguments, *BAD, "--until", LATER, "--promote", "--force", "a trial"]) == 0
    assert [each["why"] for each in releases(store)] == ["", "forced: a trial"]
    # the promoted one has learnt from all but a day of this test
    assert train([*arguments, *GOOD, "--until", "2024-04-24", "--promote"]) == 1
    assert "cannot be compared yet: 1 days" in capsys.readouterr().err


def test_a_better_model_is_promoted_and_the_log_says_why(
    arguments: list[str], store: MemoryStore, promotions: Promotions
) -> None:
    assert train([*arguments, *BAD, "--until", EARLIER, "--promote"]) == 0
    bad = promotions.current()
    assert train([*arguments, *GOOD, "--until", LATER, "--promote"]) == 0
    assert promotions.current() != bad
    assert "difference +0." in releases(store)[-1]["why"]


def test_a_model_that_is_promoted_by_hand_is_compared_on_later_days(  # noqa: PLR0913, PLR0917 - fixtures
    arguments: list[str],
    store: MemoryStore,
    promotions: Promotions,
    settings_file: Path,
    tmp_path: Path,
    file: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["--settings", str(settings_file)]
    assert train([*arguments, *GOOD, "--until", EARLIER, "--promote"]) == 0
    good = promotions.current()
    assert train([*arguments, *BAD, "--until", "2024-04-20"]) == 0
    assert models([*command, "upload", str(tmp_path / "model")]) == 0
    (bad,) = set(promotions.versions()) - {good}
    assert models([*command, "promote", bad, "--data", file]) == 1
    shown = capsys.readouterr().err
    # the later of the two has learnt until April 12
    assert "refused, as it may be worse by more than 0.02" in shown
    assert "from 2024-04-13 to 2024-04-29" in shown
    assert models([*command, "promote", bad, "--force", "a trial", "--why", "to see"]) == 0
    assert releases(store)[-1]["why"] == "to see; forced: a trial"
    assert models([*command, "promote", str(good), "--data", file]) == 0
    assert promotions.current() == good
    # nothing is compared with itself
    assert models([*command, "promote", str(good)]) == 0


def lose(store: MemoryStore, version: str | None, name: str) -> None:
    """Delete a file of a model; running tasks may serve it from memory still."""
    del store.objects["models"][f"{version}/{name}"]


LOST = pytest.mark.parametrize("lost", ["model.onnx", "manifest.json"])
NOT_COMPARED = "not compared: the promoted model cannot be loaded: "


@LOST
def test_where_the_promoted_model_is_lost_any_passes_and_the_log_says_so(
    arguments: list[str],
    store: MemoryStore,
    promotions: Promotions,
    capsys: pytest.CaptureFixture[str],
    lost: str,
) -> None:
    assert train([*arguments, *GOOD, "--until", EARLIER, "--promote"]) == 0
    good = promotions.current()
    lose(store, good, lost)
    assert train([*arguments, *BAD, "--until", LATER, "--promote"]) == 0
    assert promotions.current() != good
    why = releases(store)[-1]["why"]
    assert why.startswith(NOT_COMPARED)
    assert f"{good}/{lost}" in why
    assert why in capsys.readouterr().out.splitlines()


@LOST
@pytest.mark.parametrize(
    ("more", "begin", "end"),
    [([], NOT_COMPARED, ""), (["--why", "a", "--force", "b"], f"a; {NOT_COMPARED}", "; forced: b")],
)
def test_where_the_promoted_model_is_lost_any_passes_by_hand_too(  # noqa: PLR0913, PLR0917 - fixtures
    arguments: list[str],
    store: MemoryStore,
    promotions: Promotions,
    capsys: pytest.CaptureFixture[str],
    lost: str,
    more: list[str],
    begin: str,
    end: str,
) -> None:
    champion, other = in_store(arguments, promotions)
    lose(store, champion, lost)
    assert models([*arguments[2:4], "promote", other, *more]) == 0
    assert promotions.current() == other
    why = releases(store)[-1]["why"]
    assert why.startswith(begin)
    assert why.endswith(end)
    assert NOT_COMPARED in capsys.readouterr().out


def in_store(arguments: list[str], promotions: Promotions) -> tuple[str, str]:
    """Promote a model, and bring in another."""
    assert train([*arguments, *BAD, "--until", EARLIER, "--promote"]) == 0
    assert train([*arguments, *BAD, "--seed", "2", "--until", EARLIER]) == 0
    assert models([*arguments[2:4], "upload", arguments[-1]]) == 0
    champion = str(promotions.current())
    (other,) = set(promotions.versions()) - {champion}
    return champion, other


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Challenges began a month ago."""
    month_ago = datetime.now(UTC) - timedelta(days=30)
    monkeypatch.setattr(retraining_command, "challenged_since", lambda *_: month_ago)


def test_a_retrained_model_challenges_waits_and_is_promoted(
    arguments: list[str],
    promotions: Promotions,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    assert retrain(arguments) == 1
    assert "no model is promoted" in capsys.readouterr().err
    assert train([*arguments, *BAD, "--until", EARLIER, "--promote"]) == 0
    bad = promotions.current()
    command = [*arguments, *GOOD]
    assert retrain([*command, "--until", "2024-04-23"]) == 0
    challenger = promotions.challenger()
    assert challenger is not None
    assert promotions.current() == bad
    assert challenged_since(promotions, challenger) > datetime.now(UTC) - timedelta(minutes=10)
    assert retrain(command) == 0
    assert f"{challenger} is in the shadow since" in capsys.readouterr().out
    request.getfixturevalue("judged")
    assert retrain(command) == 0
    assert "it passes the gate" in capsys.readouterr().out
    assert promotions.challenger() == challenger
    assert retrain([*command, "--auto-promote"]) == 0
    assert promotions.current() == challenger
    assert promotions.challenger() is None


@pytest.mark.usefixtures("judged")
def test_a_retrained_model_that_is_worse_challenges_nobody_and_is_dropped(
    arguments: list[str], promotions: Promotions, settings_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train([*arguments, *GOOD, "--until", EARLIER, "--promote"]) == 0
    good = promotions.current()
    assert retrain([*arguments, *BAD, "--until", LATER]) == 0
    assert "does not challenge the promoted one" in capsys.readouterr().out
    assert promotions.versions() == [good]
    # one that came in by hand is judged as well
    assert train([*arguments, *BAD, "--until", "2024-04-20"]) == 0
    assert models(["--settings", str(settings_file), "upload", arguments[-1]]) == 0
    (bad,) = set(promotions.versions()) - {good}
    promotions.challenge(bad)
    assert retrain([*arguments, "--auto-promote"]) == 0
    assert f"dropped {bad}" in capsys.readouterr().out
    assert (promotions.current(), promotions.challenger()) == (good, None)


@pytest.mark.usefixtures("judged")
@LOST
def test_where_the_promoted_model_is_lost_retraining_says_how_a_challenger_is_promoted(
    arguments: list[str],
    promotions: Promotions,
    store: MemoryStore,
    capsys: pytest.CaptureFixture[str],
    lost: str,
) -> None:
    champion, challenger = in_store(arguments, promotions)
    promotions.challenge(challenger)
    lose(store, champion, lost)
    assert retrain([*arguments, "--auto-promote"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"fraud-retrain: {NOT_COMPARED}")
    command = f"fraud-models promote {challenger}"
    assert f"`{command}` promotes the challenger" in said
    assert (promotions.current(), promotions.challenger()) == (champion, challenger)
    assert models([*arguments[2:4], *command.split()[1:]]) == 0
    assert (promotions.current(), promotions.challenger()) == (challenger, None)


@LOST
@pytest.mark.parametrize("shadow_is_over", [False, True])
def test_where_the_challenger_is_lost_retraining_says_how_to_go_on(  # noqa: PLR0913, PLR0917 - fixtures
    arguments: list[str],
    promotions: Promotions,
    store: MemoryStore,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
    lost: str,
    *,
    shadow_is_over: bool,
) -> None:
    champion, challenger = in_store(arguments, promotions)
    promotions.challenge(challenger)
    if shadow_is_over:
        request.getfixturevalue("judged")
    lose(store, challenger, lost)
    assert retrain([*arguments, "--auto-promote"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("fraud-retrain: the challenger cannot be loaded: ")
    assert f"s3://models/{challenger}/{lost}" in said
    assert "`fraud-models unchallenge` ends its challenge, and the next run trains another" in said
    assert (promotions.current(), promotions.challenger()) == (champion, challenger)
    assert models([*arguments[2:4], "unchallenge"]) == 0
    assert retrain([*arguments, *GOOD, "--until", LATER]) == 0
    assert promotions.challenger() not in {None, challenger}


@LOST
def test_where_the_promoted_model_is_lost_a_new_one_challenges_nobody(
    arguments: list[str],
    promotions: Promotions,
    store: MemoryStore,
    capsys: pytest.CaptureFixture[str],
    lost: str,
) -> None:
    assert train([*arguments, *BAD, "--until", EARLIER, "--promote"]) == 0
    bad = promotions.current()
    lose(store, bad, lost)
    assert retrain([*arguments, *GOOD]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"fraud-retrain: {NOT_COMPARED}")
    assert "`fraud-train --promote` promotes a model" in said
    assert (promotions.current(), promotions.challenger()) == (bad, None)


def of_difference(difference: float, lower: float) -> Comparison:
    return Comparison(date(2024, 5, 1), date(2024, 5, 28), 9_000, 90, 0.7, 0.7 + difference, lower, 0.03)


@pytest.mark.usefixtures("judged")
@pytest.mark.parametrize(
    ("difference", "lower", "why"),
    [
        (0.0, -0.02, None),
        (0.01, -0.01, None),
        (-0.001, -0.01, "is not better"),
        (0.01, -0.03, "may be worse"),
    ],
)
def test_without_a_persons_word_a_challenger_has_to_measure_as_good(  # noqa: PLR0913, PLR0917 - fixtures
    arguments: list[str],
    promotions: Promotions,
    monkeypatch: pytest.MonkeyPatch,
    store: MemoryStore,
    difference: float,
    lower: float,
    why: str | None,
) -> None:
    assert train([*arguments, *GOOD, "--until", EARLIER, "--promote"]) == 0
    champion = promotions.current()
    assert train([*arguments, *GOOD, "--seed", "2", "--until", EARLIER]) == 0
    assert models([*arguments[2:4], "upload", arguments[-1]]) == 0
    (challenger,) = set(promotions.versions()) - {champion}
    promotions.challenge(challenger)
    monkeypatch.setattr(retraining_command, "compare_on", lambda *_: of_difference(difference, lower))
    assert retrain([*arguments, "--auto-promote"]) == 0
    assert promotions.challenger() is None
    assert promotions.current() == (champion if why else challenger)
    assert releases(store)[-1]["why"].partition("; ")[0] == (why or "retrained")


@pytest.mark.parametrize(("day", "judged"), [(13, False), (14, True)])
def test_a_run_two_weeks_later_judges_however_early_in_its_day_it_begins(  # noqa: PLR0913 - fixtures
    arguments: list[str],
    promotions: Promotions,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    day: int,
    judged: bool,
) -> None:
    """A timer begins within minutes of its time, and a challenge begins when training has ended."""
    assert train([*arguments, *BAD, "--until", EARLIER, "--promote"]) == 0
    assert retrain([*arguments, *GOOD, "--until", "2024-04-23"]) == 0
    began = challenged_since(promotions, str(promotions.challenger()))
    midnight = began.replace(hour=0, minute=0, second=0)
    clock = SimpleNamespace(
        now=lambda _: midnight + timedelta(days=day), fromisoformat=datetime.fromisoformat
    )
    monkeypatch.setattr(retraining_command, "datetime", clock)
    assert retrain([*arguments, *GOOD]) == 0
    assert ("it passes the gate" in capsys.readouterr().out) == judged


def test_a_challenge_begins_anew_with_another_champion(
    arguments: list[str], promotions: Promotions, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(f"2024-05-0{day}T00:00:00Z" for day in range(1, 9))
    monkeypatch.setattr("training.release_writer.now", lambda: next(times))
    versions = []
    for seed in ("1", "2", "3"):
        assert train([*arguments, *BAD, "--seed", seed]) == 0
        assert models([*arguments[2:4], "upload", arguments[-1]]) == 0
        versions.append(next(each for each in promotions.versions() if each not in versions))
    promotions.promote(versions[0])
    promotions.challenge(versions[2])
    assert challenged_since(promotions, versions[2]).day == 2
    promotions.promote(versions[1])
    assert challenged_since(promotions, versions[2]).day == 3
