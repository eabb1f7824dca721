"""A batch gives each record one outcome: a prediction, with an alert where due, or a dead letter."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from manifests import manifest_with
from plain_histories import PlainHistories

from flink_jobs.domain.calibration import Calibration
from flink_jobs.domain.control import chosen
from flink_jobs.domain.feature_batch import fold_only
from flink_jobs.domain.features import FEATURE_NAMES
from flink_jobs.domain.history import ENTRY_BYTES
from flink_jobs.domain.manifest import Manifest, ModelKind
from flink_jobs.domain.model import ServedModel
from flink_jobs.domain.reasons import TERMINAL_UNKNOWN
from flink_jobs.domain.scoring import Alert, DeadLetter, Prediction, Record, Scorer
from flink_jobs.domain.terminal_risk import SCHEMA, TerminalRisk

NOW_S = 1_800_000_000.0
CAME_MS = 1_700_000_000_000
DAY = 17713  # 2018-07-01

Publish = Callable[[ModelKind], tuple[Manifest, bytes]]
Explainer = Callable[[ModelKind], bytes]


def record(offset: int, **changes: object) -> Record:
    transaction: dict[str, object] = {
        "transaction_id": str(offset),
        "event_time": f"2018-07-01T12:00:{offset:02d}Z",
        "customer_id": "c",
        "terminal_id": "t",
        "amount": 10.0,
    }
    payload = json.dumps(transaction | changes).encode()
    return Record(2, offset, CAME_MS + offset, len(payload), payload)


@pytest.fixture
def scorer(published: Publish, explainer: Explainer) -> Scorer:
    row = {"terminal_id": "t", "day": DAY} | dict.fromkeys(SCHEMA.names[2:], 0.25)
    return Scorer(
        ServedModel.from_onnx(*published("history"), explainer("history")),
        TerminalRisk(SCHEMA.empty_table().from_pylist([row], SCHEMA)),
        "renewed-1",
    )


def score(
    scorer: Scorer, *records: Record, store: PlainHistories | None = None
) -> list[Prediction | Alert | DeadLetter]:
    predictions, alerts, dead_letters = scorer.score(records, store or PlainHistories(), NOW_S)
    return [*predictions, *alerts, *dead_letters]


def test_each_transaction_gets_one_prediction_that_says_where_it_lay(scorer: Scorer) -> None:
    outcomes = score(scorer, record(7), record(8, customer_id="d"))
    assert [type(outcome) for outcome in outcomes] == [Prediction, Prediction]
    first = outcomes[0]
    assert isinstance(first, Prediction)
    assert (first.transaction_id, first.partition, first.offset, first.kafka_timestamp_ms) == (
        "7",
        2,
        7,
        CAME_MS + 7,
    )
    assert first.score < 0.5
    assert (first.threshold, first.risk_version) == (scorer.manifest.threshold, "renewed-1")
    told = scorer.told(scorer.terminal_risk, "renewed-2")
    assert [each.risk_version for each in score(told, record(9)) if isinstance(each, Prediction)] == [
        "renewed-2"
    ]


def test_alerts_and_control_transactions_have_what_the_model_saw(scorer: Scorer) -> None:
    records = [record(n, customer_id=str(n), amount=190.0 if n % 4 == 0 else float(n)) for n in range(40)]
    predictions, alerts, _ = scorer.score(records, PlainHistories(), NOW_S, control_share=0.5)
    alerted = {alert.offset: alert.features for alert in alerts}
    picked = chosen([str(n) for n in range(40)], 0.5)
    assert {each.offset for each in predictions if picked[each.offset]} & alerted.keys(), (
        "also what is chosen"
    )
    seen = {each.offset: each.features for each in predictions if each.features is not None}
    control = {each.offset for each in predictions if each.control_probability is not None}
    assert control == set(np.flatnonzero(picked).tolist()) - alerted.keys()
    assert {each.control_probability for each in predictions} == {None, 0.5}
    assert seen.keys() == control | alerted.keys()
    assert {offset: seen[offset] for offset in alerted} == alerted
    for offset in control:
        assert list(seen[offset]) == list(FEATURE_NAMES)
        assert seen[offset]["amount"] == offset
    # nobody is to find more in a message than was asked for
    plain = {
        name
        for each in predictions
        if each.features is None
        for name in json.loads(msgspec.json.encode(each))
    }
    assert not plain & {"features", "control_probability"}
    none, alerts, _ = scorer.score(records, PlainHistories(), NOW_S)
    assert {each.offset for each in none if each.features} == {alert.offset for alert in alerts}


def test_a_high_score_raises_an_alert_with_the_whole_record_and_what_the_model_saw(scorer: Scorer) -> None:
    suspicious = record(7, amount=190.0, channel="web")
    prediction, alert = score(scorer, suspicious)
    assert isinstance(prediction, Prediction)
    assert isinstance(alert, Alert)
    assert alert.score == prediction.score >= alert.threshold
    assert bytes(alert.transaction) == suspicious.payload
    assert list(alert.features) == list(FEATURE_NAMES)
    assert alert.features["amount"] == 190.0
    assert alert.features["terminal_risk_30d"] == 0.25
    sent = json.loads(msgspec.json.encode(alert))
    assert sent["transaction"]["channel"] == "web"


def test_an_alert_says_how_probable_fraud_is_where_the_model_is_calibrated(
    scorer: Scorer, published: Publish
) -> None:
    _, alert = score(scorer, record(7, amount=190.0))
    assert isinstance(alert, Alert)
    assert alert.probability is None
    manifest, onnx = published("history")
    calibration = Calibration([0.0, alert.score, 1.0], [0.0, 0.25, 1.0])
    calibrated = msgspec.structs.replace(manifest, calibration=calibration)
    model = ServedModel.from_onnx(Manifest.from_json(calibrated.to_json()), onnx)
    _, alert = score(Scorer(model, scorer.terminal_risk), record(7, amount=190.0))
    assert isinstance(alert, Alert)
    assert alert.probability == pytest.approx(0.25, abs=1e-5)


def test_an_alert_is_one_line_however_the_record_was_written(scorer: Scorer) -> None:
    written = json.dumps(json.loads(record(7, amount=190.0, note="two\nlines").payload), indent=1).encode()
    _, alert = score(scorer, Record(2, 7, CAME_MS, len(written), written))
    sent = msgspec.json.encode(alert)
    assert b"\n" not in sent
    assert json.loads(sent)["transaction"] == json.loads(written)
    carriage = written.replace(b"\n", b"\r\n")
    _, alert = score(scorer, Record(2, 7, CAME_MS, len(carriage), carriage))
    sent = msgspec.json.encode(alert)
    assert not {b"\r", b"\n"} & {sent[at : at + 1] for at in range(len(sent))}
    assert json.loads(sent)["transaction"] == json.loads(written)


def test_no_depth_of_a_record_stops_scoring(scorer: Scorer) -> None:
    """What can just be read raises an alert; what is deeper is a dead letter."""

    def outcomes() -> list[list[Prediction | Alert | DeadLetter]]:
        plain = record(7, amount=190.0).payload
        nested = (
            b'{\n"x":%s%s,%s' % (opening * depth, closing * depth, plain[1:])
            for depth in range(900, 1011)
            for opening, closing in ((b"[", b"]"), (b'{"":', b"}"))
        )
        # an object ends with a value
        payloads = [each.replace(b":}", b":1}") for each in nested]
        return [score(scorer, Record(2, 7, CAME_MS, len(each), each)) for each in payloads]

    # a thread of its own: the tests' frames count against the same limit
    with ThreadPoolExecutor(1) as thread:
        found = thread.submit(outcomes).result()
    kinds = [tuple(type(outcome) for outcome in each) for each in found]
    scored = [(Prediction, Alert) == kind for kind in kinds]
    assert {(Prediction, Alert), (DeadLetter,)} == set(kinds)
    assert scored == sorted(scored, reverse=True)
    for each in found:
        assert b"\n" not in msgspec.json.encode(each[-1])


def test_an_alert_says_in_words_what_moved_its_score_most(scorer: Scorer) -> None:
    batch = [record(n, customer_id=str(n), amount=190.0 if n % 3 == 0 else 1.0) for n in range(9)]
    alerts = [outcome for outcome in score(scorer, *batch) if isinstance(outcome, Alert)]
    assert [alert.offset for alert in alerts] == [0, 3, 6]
    for alert in alerts:
        first = alert.reasons[0]
        assert (first.feature, first.value, first.direction) == ("amount", 190.0, "raises")
        assert first.text == "amount 190.00"
        assert 0 < first.contribution < alert.score
        sizes = [abs(reason.contribution) for reason in alert.reasons]
        assert len(sizes) <= 3
        assert sizes == sorted(sizes, reverse=True)
    sent = json.loads(msgspec.json.encode(alerts[0]))["reasons"][0]
    assert set(sent) == {"feature", "value", "contribution", "direction", "text"}


def test_an_alert_says_nothing_of_a_terminal_on_a_day_that_is_not_known(
    scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither what was true weeks ago, nor that there was no fraud."""
    count, age = (FEATURE_NAMES.index(name) for name in ("terminal_count_7d", "terminal_fraud_age"))

    def explain(matrix: np.ndarray) -> np.ndarray:
        moved = np.zeros_like(matrix)
        moved[:, [0, count, age]] = 0.3, 0.2, 0.1
        return moved

    monkeypatch.setattr(scorer._model, "explain", explain)  # noqa: SLF001 - moved by its terminal, too
    texts = {}
    for day in (1, 2):
        *_, alert = score(scorer, record(day, amount=190.0, event_time=f"2018-07-0{day}T12:00:00Z"))
        assert isinstance(alert, Alert)
        assert scorer.risk_age_days == day - 1
        texts[day] = [reason.text for reason in alert.reasons]
    assert "at the terminal" in texts[1][1]
    assert texts[2] == ["amount 190.00", TERMINAL_UNKNOWN, TERMINAL_UNKNOWN]
    assert alert.features["terminal_risk_30d"] == 0


def test_only_alerts_are_explained_and_a_batch_of_them_with_one_call(
    scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    explained: list[int] = []

    def explain(matrix: np.ndarray) -> np.ndarray:
        explained.append(len(matrix))
        return np.ones_like(matrix)

    monkeypatch.setattr(scorer._model, "explain", explain)  # noqa: SLF001 - counts the calls
    score(scorer, *(record(n, customer_id=str(n)) for n in range(5)))
    assert not explained
    score(scorer, *(record(n, customer_id=str(n), amount=190.0 * (n % 2)) for n in range(5)))
    assert explained == [2]


def test_a_model_without_an_explainer_raises_alerts_without_reasons(published: Publish) -> None:
    scorer = Scorer(ServedModel.from_onnx(*published("history")), TerminalRisk.empty())
    *_, alert = score(scorer, record(7, amount=190.0))
    assert isinstance(alert, Alert)
    assert alert.reasons == []


def test_bad_records_become_dead_letters_and_stop_nothing(scorer: Scorer) -> None:
    garbage = Record(2, 8, 0, 3, b"\xff\0!")
    outcomes = score(
        scorer, record(7), garbage, record(9, amount=-1), record(10, terminal_id=None), record(11)
    )
    letters = {outcome.offset: outcome for outcome in outcomes if isinstance(outcome, DeadLetter)}
    assert {offset: letter.reason for offset, letter in letters.items()} == {
        8: "not_utf8",
        9: "bad_amount",
        10: "missing_field",
    }
    assert letters[8].payload == "\N{REPLACEMENT CHARACTER}\0!"
    assert letters[8].payload_bytes == 3
    assert [outcome.offset for outcome in outcomes if isinstance(outcome, Prediction)] == [7, 11]


@pytest.mark.parametrize("now_s", [NOW_S, NOW_S - 3e8])
def test_an_event_time_is_judged_by_kafkas_timestamp_whatever_the_clock(scorer: Scorer, now_s: float) -> None:
    """So a record is judged alike when it is scored, scored again after a failure, or taken from the lake."""
    ahead_ms = {7: 86_400_000, 8: 86_400_001}
    records = []
    for offset, ms in ahead_ms.items():
        happened = datetime.fromtimestamp((CAME_MS + ms) / 1000, UTC).isoformat()
        made = record(offset, event_time=happened, customer_id=str(offset))
        records.append(msgspec.structs.replace(made, timestamp_ms=CAME_MS))
    store = PlainHistories()
    predictions, _, dead_letters = scorer.score(records, store, now_s)
    assert [each.offset for each in predictions] == [7]
    assert [(each.offset, each.reason) for each in dead_letters] == [(8, "future_event_time")]
    folded = PlainHistories()
    fold_only(((each.payload, each.timestamp_ms / 1000) for each in records), folded, "EUR")
    assert store.kept == folded.kept


def test_a_dead_letter_shows_how_a_long_record_begins_and_how_long_it_was(scorer: Scorer) -> None:
    (letter,) = score(scorer, Record(2, 8, 0, 1_000_000, b"x" * 70_000))
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.payload_bytes, letter.payload) == ("too_large", 1_000_000, "x" * 1024)
    assert letter.detail == "1000000 bytes; a transaction has at most 65536"


def test_a_record_without_a_value_is_called_empty(scorer: Scorer) -> None:
    (letter,) = score(scorer, Record(2, 8, 0, 0, b""))
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.payload_bytes) == ("empty", 0)
    assert "no value" in letter.detail


def test_a_customers_history_is_written_once_a_batch_and_goes_on_in_the_next(scorer: Scorer) -> None:
    store = PlainHistories()
    score(scorer, *(record(offset) for offset in range(5)), store=store)
    assert store.writes == 1
    *_, alert = score(scorer, record(30, amount=190.0), store=store)
    assert isinstance(alert, Alert)
    assert alert.features["customer_count_1d"] == 6


def test_a_repeat_has_the_features_of_all_that_is_known_by_then(scorer: Scorer) -> None:
    store = PlainHistories()

    def seen(*records: Record) -> list[tuple[float, float]]:
        predictions = scorer.score(records, store, NOW_S, control_share=1.0).predictions
        return [
            (each.features["customer_count_1d"], each.features["customer_count_30d"])
            for each in predictions
            if each.features is not None
        ]

    month = [record(day, event_time=f"2018-06-{day:02d}T12:00:00Z") for day in range(11, 31)]
    first = record(7)
    assert seen(*month, first)[-1] == (1, 21)
    history = store.kept["c"]
    # what happened later does not count
    assert seen(first, record(8), first) == [(1, 21), (2, 22), (1, 21)]
    # what happened before and came late does
    assert seen(record(3), first) == [(1, 21), (2, 22)]
    assert len(store.kept["c"]) == len(history) + 2 * ENTRY_BYTES
    # and what was dropped since does not
    assert seen(record(9, event_time="2018-08-03T13:00:00Z"), first)[1] == (2, 5)


def test_a_batch_may_be_cut_anywhere(scorer: Scorer) -> None:
    records = [record(offset, customer_id=f"c{offset % 3}", amount=offset * 20.0) for offset in range(10)]
    at_once = score(scorer, *records)
    store = PlainHistories()
    one_by_one = [outcome for single in records for outcome in score(scorer, single, store=store)]
    assert {type(outcome) for outcome in at_once} == {Prediction, Alert}
    # by kind, as each goes to a topic of its own, and in their order
    assert at_once == sorted(one_by_one, key=lambda outcome: isinstance(outcome, Alert))


def test_only_bad_records_write_no_state(scorer: Scorer) -> None:
    store = PlainHistories()
    score(scorer, record(7, amount=-1), store=store)
    assert not store.kept


def test_ready_columns_go_to_the_model_as_they_are(published: Publish, explainer: Explainer) -> None:
    model = ServedModel.from_onnx(*published("columns"), explainer("columns"))
    scorer = Scorer(model, TerminalRisk.empty())
    fraud = record(7, customer_id=None, terminal_id=None, features={"Amount": 1, "V1": 190, "V2": 3, "V3": 9})
    lacking = record(8, features={"Amount": 1, "V1": 190})
    none = record(9)
    store = PlainHistories()
    outcomes = score(scorer, fraud, lacking, none, store=store)
    alerts = [outcome for outcome in outcomes if isinstance(outcome, Alert)]
    letters = [outcome for outcome in outcomes if isinstance(outcome, DeadLetter)]
    assert [alert.features for alert in alerts] == [{"V1": 190, "V2": 3, "Amount": 1}]
    assert alerts[0].reasons[0].text == "V1 is 190"
    assert [(letter.offset, letter.reason) for letter in letters] == [
        (8, "missing_feature"),
        (9, "missing_feature"),
    ]
    assert "V2" in letters[0].detail
    assert not store.kept


@pytest.mark.parametrize(
    "columns",
    [{"terminal_risk_1d": 1.0}, {"terminal_risk_1d": 1e300, "terminal_count_1d": 1e300}, {"amount": 12.0}],
)
def test_a_ready_column_with_the_name_of_a_feature_is_none(columns: dict[str, float]) -> None:
    """The words of a feature may ask for another column, or for a number that can be counted."""
    ones = SimpleNamespace(
        manifest=manifest_with(kind="columns", features=list(columns)),
        score=lambda matrix: np.ones(len(matrix), dtype=np.float32),
        explain=np.ones_like,
    )
    scorer = Scorer(ones, TerminalRisk.empty())  # type: ignore[arg-type]
    *_, alert = score(scorer, record(7, features=columns))
    assert isinstance(alert, Alert)
    assert [each.text for each in alert.reasons] == [
        f"{name} is {value:.4g}" for name, value in columns.items()
    ]
