"""Terminal risk is renewed of what came into the lake: the numbers of a full count, at the cost of a day."""

import io
import json
import random
import weakref
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from memory_store import MemoryStore

from flink_jobs.domain.terminal_risk import SCHEMA, TerminalRisk
from flink_jobs.store.release import ModelReference, Release, RiskReference
from flink_jobs.store.settings import Settings
from training import kept_days, risk_renewal
from training.dataset import from_frame, load
from training.kept_days import STATE_KEY, CountedDay, KeptDays
from training.label_history import read_label_history
from training.labelled_data import LabelledData
from training.messages import iter_transactions
from training.promotions import Promotions
from training.release_writer import PromotionError
from training.renewal_command import main
from training.risk_renewal import DAYS_AHEAD, DAYS_BEHIND, Renewal
from training.simulate import simulate
from training.terminal_labels import TerminalLabels, to_parquet

EPOCH = date(1970, 1, 1)
NOW = datetime(2026, 6, 15, 10, tzinfo=UTC)
TODAY = (NOW.date() - EPOCH).days
SERVED = range(TODAY - DAYS_BEHIND, TODAY + DAYS_AHEAD + 1)


class Lake:
    """Writes files as the lake's job does, in whatever order they come."""

    def __init__(self, store: MemoryStore) -> None:
        self._objects = store.objects["datalake"]
        self._files = 0
        self.offset = 0

    def write(self, folder: str, messages: list[dict[str, Any] | bytes], came: datetime = NOW) -> None:
        places = [(self.offset + n, came) for n in range(len(messages))]
        self.offset += len(messages)
        self.write_at(folder, list(zip(places, messages, strict=True)))

    def write_at(
        self, folder: str, records: list[tuple[tuple[int, datetime], dict[str, Any] | bytes]]
    ) -> None:
        table = pa.table(
            {
                "kafka_partition": pa.array([0] * len(records), pa.int32()),
                "kafka_offset": pa.array([offset for (offset, _), _ in records], pa.int64()),
                "kafka_time": pa.array([came for (_, came), _ in records], pa.timestamp("ms", "UTC")),
                "payload": [
                    message if isinstance(message, bytes) else json.dumps(message).encode()
                    for _, message in records
                ],
            }
        )
        content = io.BytesIO()
        pq.write_table(table, content)
        self._files += 1
        came = records[0][0][1]
        self._objects[f"{folder}/dt={came:%Y-%m-%d}/part-{self._files}"] = content.getvalue()


def payment(
    name: str, days_ago: float, terminal: str = "t", customer: str = "c", amount: float = 1.0
) -> dict[str, Any]:
    return {
        "transaction_id": name,
        "event_time": (NOW - timedelta(days=days_ago)).isoformat(),
        "customer_id": customer,
        "terminal_id": terminal,
        "amount": amount,
    }


def label(name: str, days_ago: float = 0, *, fraud: bool = True) -> dict[str, Any]:
    at = (NOW - timedelta(days=days_ago)).isoformat()
    return {"transaction_id": name, "is_fraud": fraud, "labelled_by": "me", "labelled_at": at}


def release_something(settings: Settings, store: MemoryStore, *rows: tuple[str, int]) -> None:
    """Release a table of terminals and days of which a quarter of everything was fraud."""
    values = dict.fromkeys(SCHEMA.names[2:], 0.25)
    content = to_parquet(
        pa.Table.from_pylist([{"terminal_id": t, "day": d} | values for t, d in rows], SCHEMA)
    )
    store.objects["features"]["published"] = content
    risk = RiskReference("v", "published", risk_renewal.hashlib.sha256(content).hexdigest())
    Promotions(settings).releases.write(
        lambda _: Release(number=0, writer="", action="promote", model=ModelReference("v", ""), risk=risk)
    )


@pytest.fixture
def lake(settings: Settings, store: MemoryStore) -> Lake:
    release_something(settings, store, ("t", 1))
    store.now = NOW
    return Lake(store)


def served(settings: Settings, store: MemoryStore) -> TerminalRisk:
    released = Promotions(settings).releases.released()
    assert released is not None
    assert released.risk is not None
    return TerminalRisk.from_parquet(store.objects["features"][released.risk.key])


def told(risk: TerminalRisk, terminal: str, day: int = TODAY) -> dict[str, float]:
    return dict(zip(SCHEMA.names[2:], risk.as_of([terminal], np.array([day]))[0].tolist(), strict=True))


def test_a_label_given_now_changes_what_is_told_of_its_terminal_now(
    settings: Settings, store: MemoryStore, lake: Lake
) -> None:
    lake.write("raw/transactions", [payment(str(n), 8 + n) for n in range(4)] + [payment("new", 0)])
    lake.write("labels", [label("3", fraud=False, days_ago=1)])
    first = Renewal(settings, NOW).run()
    assert (first.records, first.labels, len(first.days)) == (5, 1, 5)
    assert first.release is not None
    assert first.release.action == "renew"
    assert (first.release.risk.first_day, first.release.risk.last_day) == tuple(  # type: ignore[union-attr]
        EPOCH + timedelta(days=day) for day in (SERVED[0], SERVED[-1])
    )
    assert told(served(settings, store), "t")["risk_30d"] == 0
    lake.write("labels", [label("0"), label("2")])
    second = Renewal(settings, NOW).run()
    assert (second.records, second.labels) == (0, 2)
    assert second.days == [TODAY - 10, TODAY - 8]
    known = told(served(settings, store), "t")
    assert known["risk_30d"] == 0.5
    assert known["risk_last_3"] == np.float32(2 / 3)
    assert known["fraud_age"] == 10
    again = Renewal(settings, NOW).run()
    assert again.release is None
    assert "it is what is released" in again.reason


@pytest.mark.parametrize(
    ("folder", "message", "days_ago"),
    [
        ("raw/transactions", payment("new", 0), 0),
        ("raw/transactions", payment("late", 9), 9),
        ("labels", label("12-1"), 12),
    ],
)
def test_a_renewal_costs_the_days_that_changed(  # noqa: PLR0913, PLR0917 - fixtures
    settings: Settings,
    store: MemoryStore,
    lake: Lake,
    folder: str,
    message: dict[str, Any],
    days_ago: int,
) -> None:
    """Of what it kept, it reads that day, and of others eight bytes a payment and what they counted to."""
    for day in range(1, 40):
        lake.write("raw/transactions", [payment(f"{day}-{n}", day) for n in range(20)])
    lake.write("labels", [label("20-1")])
    Renewal(settings, NOW).run()
    read = reads(store)
    lake.write(folder, [message])
    store.written.clear()
    assert Renewal(settings, NOW).run().days == [TODAY - days_ago]
    assert sum(key.startswith("datalake/") for key in read) == 1
    of_kept = [key.removeprefix("features/terminal_days/") for key in read if "/terminal_days/2" in key]
    changed = f"{EPOCH + timedelta(days=TODAY - days_ago)}/"
    # a label's day twice, as it is found there; a day that has nothing yet not at all
    whole = [key for key in of_kept if "/ids-" not in key and "/counts-" not in key]
    assert all(key.startswith(changed) for key in whole)
    assert len(whole) == {0: 0, 9: 2, 12: 3}[days_ago]
    ids = [key for key in of_kept if "/ids-" in key]
    assert len(set(ids)) == len(ids) == 39
    assert sum(len(store.objects["features"][f"terminal_days/{key}"]) for key in ids) == 8 * 39 * 20
    counts = [key for key in of_kept if "/counts-" in key]
    # the days of the longest window, for each of the days that are served
    assert len(set(counts)) == len(counts) == 30 + len(SERVED) - 1
    counted = [key for key in store.written if key.startswith("features/terminal_days/2")]
    assert len(counted) == 4
    assert all(changed in key for key in counted)


def reads(store: MemoryStore) -> list[str]:
    """Give a list to which each object is added that is read from now on."""
    read: list[str] = []
    get = store.get_object

    def counting(**request: str) -> dict[str, Any]:
        read.append(f"{request['Bucket']}/{request['Key']}")
        return get(**request)

    store.get_object = counting  # type: ignore[method-assign, assignment]
    return read


def test_hashes_of_ids_are_those_that_are_kept() -> None:
    """Where a version of pandas has others, nothing is found by those that are kept: then name them anew."""
    assert kept_days._hashes(pd.Series(["1", "a", "ü", "a"])).tolist() == [  # noqa: SLF001 - kept in the bucket
        6689755093696353227,
        13950350942979735504,
        15289156711003816966,
    ]


def test_ids_of_one_hash_are_told_apart(
    settings: Settings, store: MemoryStore, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_days, "_hashes", lambda ids: np.array([7][: len(ids)], dtype=np.uint64))
    lake.write("raw/transactions", [payment(str(n), 8 + n) for n in range(4)])
    lake.write("labels", [label("0", fraud=False)])
    Renewal(settings, NOW).run()
    lake.write("labels", [label("2")])
    assert Renewal(settings, NOW).run().days == [TODAY - 10]
    assert told(served(settings, store), "t")["risk_30d"] == 0.25


def test_days_that_a_former_version_kept_are_gone_on_with(
    settings: Settings, store: MemoryStore, lake: Lake
) -> None:
    """It kept no hashes: they are made where something is looked for first."""
    lake.write("raw/transactions", [payment(str(n), 8 + n) for n in range(4)])
    lake.write("labels", [label("0", fraud=False)])
    Renewal(settings, NOW).run()
    kept = store.objects["features"]
    state = json.loads(kept[STATE_KEY])
    for day in state["days"].values():
        del kept[day.pop("ids")]
    kept[STATE_KEY] = json.dumps(state).encode()
    read = reads(store)
    for name in ("2", "3"):
        lake.write("labels", [label(name)])
        read.clear()
        assert Renewal(settings, NOW).run().days == [TODAY - 8 - int(name)]
        # of other days once, and then no more
        assert sum("/payments-" in key for key in read) == {"2": 4 + 2, "3": 2}[name]
    assert told(served(settings, store), "t")["risk_30d"] == 0.5


def test_a_released_table_that_somebody_deleted_is_written_again(
    settings: Settings, store: MemoryStore, lake: Lake
) -> None:
    """Though nothing is new: a task that starts needs it."""
    lake.write("raw/transactions", [payment("8", 8)])
    lake.write("labels", [label("8")])
    release = Renewal(settings, NOW).run().release
    assert release is not None
    assert release.risk is not None
    features = store.objects["features"]
    content = features.pop(release.risk.key)
    renewed = Renewal(settings, NOW).run()
    assert renewed.release is None
    assert (
        renewed.reason
        == f"it is what is released; s3://features/{release.risk.key} was gone, and is there again"
    )
    assert features[release.risk.key] == content
    assert Renewal(settings, NOW).run().reason == "it is what is released"


def test_nothing_is_told_where_nobody_labelled_anything(
    settings: Settings, store: MemoryStore, lake: Lake
) -> None:
    """What was published with the model stays: no label is not the same as no fraud."""
    lake.write("raw/transactions", [payment("old", 20), payment("older", 60)])
    # of a payment too old for every window, of none, and one that is found out tomorrow only
    lake.write("labels", [label("older"), label("not here"), label("old", -1)])
    renewed = Renewal(settings, NOW).run()
    assert renewed.release is None
    assert "no label" in renewed.reason
    assert served(settings, store).days.tolist() == [1]


def test_a_lake_that_stands_still_is_told_no_further_than_it_came(
    settings: Settings, store: MemoryStore, lake: Lake
) -> None:
    """Its job has stopped: that no payment came is not known, and neither is that there was no fraud."""
    last = NOW - timedelta(days=20)
    lake.write("raw/transactions", [payment(str(n), 20 + n) for n in range(12)], last)
    lake.write("labels", [label("9", 20)], last)
    for later in (0, 1):
        lake.write("labels", [label("8")])
        Renewal(settings, NOW + timedelta(days=later)).run()
        risk = served(settings, store)
        assert risk.days[-1] == TODAY - 20 + DAYS_AHEAD
        assert not risk.covers(TODAY)
        assert risk.age_days(TODAY) == 20 - DAYS_AHEAD
    lake.write("raw/transactions", [payment("new", 0)])
    Renewal(settings, NOW).run()
    assert served(settings, store).covers(TODAY)


def test_a_stream_of_the_past_is_told_what_was_known_then(
    settings: Settings, store: MemoryStore, lake: Lake
) -> None:
    """Of the days around most of its last records, whatever the clock says; one from now moves nothing."""
    stream_day = TODAY - 400
    past = [payment(str(n), 400 + 8 + n) for n in range(6)]
    lake.write("raw/transactions", [*past, *(payment(f"last-{n}", 400) for n in range(5)), payment("now", 0)])
    lake.write("labels", [label("0", 400), label("1", 399), label("2", 390)])
    Renewal(settings, NOW).run()
    risk = served(settings, store)
    assert risk.days.tolist() == list(range(stream_day - DAYS_BEHIND, stream_day + DAYS_AHEAD + 1))
    assert told(risk, "t", stream_day)["risk_30d"] == np.float32(1 / 6), "the others were found out later"
    assert Renewal(settings, NOW).run(as_of=stream_day + 1).release is not None
    assert told(served(settings, store), "t", stream_day + 1)["risk_30d"] == np.float32(2 / 6)


def test_a_few_records_of_another_day_move_the_stream_nowhere(
    settings: Settings, store: MemoryStore, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though they are all that came since, or came before and were read once more as files were merged."""
    monkeypatch.setattr(kept_days, "_CAME_LAST", 9)
    stream_day = TODAY - 400
    lake.write("raw/transactions", [payment("0", 408), *(payment(f"last-{n}", 400) for n in range(5))])
    lake.write("labels", [label("0", 400)])
    Renewal(settings, NOW).run()
    lake.write("raw/transactions", [payment("odd", 390), payment("odder", 0)])
    # some label of today, so that a table is made whatever the stream's day is
    lake.write("raw/transactions", [payment("8", 8)])
    lake.write("labels", [label("8")])
    Renewal(settings, NOW).run()
    assert told(served(settings, store), "t", stream_day)["risk_30d"] == 1
    merged = [((offset, NOW - timedelta(days=1)), payment(f"old-{offset}", 380)) for offset in range(6)]
    lake.write_at("raw/transactions", merged)
    Renewal(settings, NOW).run()
    assert told(served(settings, store), "t", stream_day)["risk_30d"] == 1


def test_a_lake_is_read_a_day_at_a_time_and_none_twice(
    settings: Settings, store: MemoryStore, lake: Lake
) -> None:
    """So the first renewal needs no more memory than any other, and goes on where it was killed."""
    for day in (2, 1, 0):
        lake.write("raw/transactions", [payment(f"{day}", 8 + day)], NOW - timedelta(days=day))
    lake.write("labels", [label("1")])
    get, read = store.get_object, list[str]()

    def dying(**request: str) -> dict[str, io.BytesIO]:
        if request["Bucket"] == "datalake":
            read.append(request["Key"])
            if len(read) == 3:
                raise Killed
        return get(**request)

    store.get_object = dying  # type: ignore[method-assign, assignment]
    with pytest.raises(Killed):
        Renewal(settings, NOW).run()
    Renewal(settings, NOW).run()
    assert [key.split("/")[-2] for key in read] == [f"dt=2026-06-{day}" for day in (13, 14, 15, 15, 15)]
    assert told(served(settings, store), "t")["risk_30d"] == np.float32(1 / 3)


def test_labels_of_all_days_at_once_are_counted_a_day_at_a_time(
    settings: Settings, store: MemoryStore, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a whole history of labels comes at once, no more than a day's payments lie in memory."""
    for day in range(8, 38):
        lake.write("raw/transactions", [payment(str(day), day)])
    lake.write("labels", [label("8", fraud=False)])
    Renewal(settings, NOW).run()
    alive: list[weakref.ref[pd.DataFrame]] = []
    most = 0
    read = KeptDays._kept  # noqa: SLF001 - what lies in memory shows nowhere else

    def watched(self: KeptDays, kept: CountedDay | None) -> tuple[pd.DataFrame, pd.DataFrame]:
        nonlocal most
        payments, labels = read(self, kept)
        alive.append(weakref.ref(payments))
        most = max(most, sum(frame() is not None for frame in alive))
        return payments, labels

    monkeypatch.setattr(KeptDays, "_kept", watched)
    lake.write("labels", [label(str(day)) for day in range(8, 38)])
    renewed = Renewal(settings, NOW).run()
    assert len(renewed.days) == len(alive) == 30
    assert most <= 2
    assert told(served(settings, store), "t")["risk_30d"] == 1


def test_days_of_the_stream_that_labels_tell_nothing_of_stay_as_they_were_published(
    settings: Settings, store: MemoryStore, lake: Lake
) -> None:
    """Of a stream of the past without labels, while there are labels of these days."""
    stream_day = TODAY - 400
    release_something(settings, store, ("t", stream_day), ("t", stream_day + 3), ("t", stream_day - 9))
    lake.write("raw/transactions", [payment("8", 8), *(payment(f"last-{n}", 400) for n in range(5))])
    lake.write("labels", [label("8")])
    Renewal(settings, NOW).run()
    risk = served(settings, store)
    assert risk.days.tolist() == [stream_day, stream_day + 3, *SERVED]
    assert told(risk, "t")["risk_30d"] == 1
    assert told(risk, "t", stream_day)["risk_30d"] == 0.25


@pytest.mark.parametrize(
    ("promoted", "said"),
    [
        ({"label_delay_days": 3}, "another delay"),
        ({"risk": RiskReference("later", "later", "")}, "terminal risk of its own"),
        ({"risk": None}, "no model is released that asks"),
    ],
)
def test_a_model_promoted_meanwhile_keeps_what_it_was_promoted_with(  # noqa: PLR0913, PLR0917 - fixtures
    settings: Settings,
    store: MemoryStore,
    lake: Lake,
    monkeypatch: pytest.MonkeyPatch,
    promoted: dict[str, Any],
    said: str,
) -> None:
    lake.write("raw/transactions", [payment("8", 8)])
    lake.write("labels", [label("8")])
    renewal, put = Renewal(settings, NOW), store.put_object

    def put_after_a_promotion(**request: Any) -> None:  # noqa: ANN401 - boto3's
        if request["Key"].startswith("releases/"):
            monkeypatch.setattr(store, "put_object", put)
            Promotions(settings).releases.write(lambda newest: msgspec.structs.replace(newest, **promoted))
        put(**request)

    monkeypatch.setattr(store, "put_object", put_after_a_promotion)
    try:
        told = renewal.run().reason
    except PromotionError as error:
        told = str(error)
    assert said in told
    released = Promotions(settings).releases.released()
    assert {name: getattr(released, name) for name in promoted} == promoted


@pytest.mark.parametrize("lost", ["payments", "labels", "counts", "/ids", "waiting", "state", "published"])
def test_what_is_lost_or_damaged_is_made_anew(
    settings: Settings, store: MemoryStore, lake: Lake, lost: str
) -> None:
    """As after a restore from a backup that was made during a renewal."""
    release_something(settings, store, ("t", TODAY - 400))
    lake.write("raw/transactions", [payment("8", 8), payment("9", 9), payment("last", 400)])
    lake.write("labels", [label("8"), label("not here")])
    if lost != "published":
        Renewal(settings, NOW).run()
    kept = store.objects["features"]
    *_, last = sorted(key for key in kept if lost in key)
    del kept[last]
    if lost in {"state", "published"}:
        kept[last] = b'{"waiting": "\xff"}'
    lake.write("labels", [label("9")])
    assert Renewal(settings, NOW).run().release is not None
    known = told(served(settings, store), "t")
    assert (known["count_30d"], known["risk_30d"]) == (2, 1)


class Killed(Exception):  # noqa: N818 - what happened to it
    """As by SIGKILL: nothing is cleaned up."""


@pytest.mark.parametrize("after", range(15))
def test_a_renewal_that_is_killed_leaves_things_whole_and_is_made_up_for(
    settings: Settings, store: MemoryStore, lake: Lake, after: int
) -> None:
    lake.write("raw/transactions", [payment(str(n), 8 + n) for n in range(3)])
    lake.write("labels", [label("0")])
    put, left = store.put_object, after

    def dying(**request: Any) -> None:  # noqa: ANN401 - boto3's
        nonlocal left
        if not left:
            raise Killed
        left -= 1
        put(**request)

    store.put_object = dying  # type: ignore[method-assign]
    try:
        Renewal(settings, NOW).run()
    except Killed:
        # what is released can be read, whole
        served(settings, store)
    else:
        assert after == 14, "there are fewer writes than were tried"
    store.put_object = put  # type: ignore[method-assign]
    Renewal(settings, NOW).run()
    assert told(served(settings, store), "t")["risk_30d"] == np.float32(1 / 3)


def test_what_nobody_names_any_more_is_deleted_after_a_while(
    settings: Settings, store: MemoryStore, lake: Lake
) -> None:
    lake.write("raw/transactions", [payment("8", 8)])
    for hour in range(10):
        store.now = NOW + timedelta(hours=hour)
        lake.write("labels", [label("8", -hour / 24, fraud=hour % 2 == 0)])
        assert Renewal(settings, store.now).run().release is not None
    keys = store.objects["features"]
    assert sum(key.startswith("terminal_risk/renewed/") for key in keys) == 5
    assert sum("/labels-" in key for key in keys) == 7
    served(settings, store)


def test_the_command_says_what_it_did(
    settings_file: Path, lake: Lake, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    old = payment("8", 0) | {"event_time": (now - timedelta(days=9)).isoformat()}
    lake.write("raw/transactions", [old], now)
    assert main(["--settings", str(settings_file)]) == 0
    assert "unchanged: the lake has no label" in capsys.readouterr().out
    lake.write("labels", [label("8") | {"labelled_at": now.isoformat()}], now)
    assert main(["--settings", str(settings_file)]) == 0
    shown = capsys.readouterr().out
    assert "0 new transactions, 1 new labels; 1 days counted anew" in shown
    assert "release 2: terminal risk of 1 terminals" in shown
    monkeypatch.setattr(MemoryStore, "list_objects_v2", lambda *_, **_options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["--settings", str(settings_file)])


def test_renewed_at_each_midnight_a_day_is_told_what_training_learnt_of_it(
    settings: Settings, settings_file: Path, store: MemoryStore, lake: Lake
) -> None:
    """Two weeks after a promotion, labels late: features of terminals are those that training replays."""
    town = from_frame(simulate(60, 40, 60, date(2026, 4, 1), 0), "simulated", "")
    chance = np.random.default_rng(0)
    by_day: dict[int, dict[str, list[Any]]] = {}
    for (message, fraud), day in zip(iter_transactions(town), town.days().tolist(), strict=True):
        by_day.setdefault(day, {}).setdefault("raw/transactions", []).append(message)
        if fraud or chance.random() < 0.05:
            known = pd.Timestamp(message["event_time"]) + pd.Timedelta(days=chance.choice([1, 6.5, 9, 20]))
            given = label(message["transaction_id"], fraud=bool(fraud)) | {"labelled_at": known.isoformat()}
            came = (known - pd.Timestamp(0, tz="UTC")).days
            by_day.setdefault(came, {}).setdefault("labels", []).append(given)
    told: dict[int, TerminalRisk] = {}
    days = range(town.days()[0], town.days()[-1] + 1)
    for day in days:
        midnight = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)
        if day > days[-15]:
            Renewal(settings, midnight).run()
            told[day] = served(settings, store)
        for folder, messages in by_day[day].items():
            lake.write(folder, messages, midnight)
    data = LabelledData(
        load("s3://datalake/raw/transactions", settings_file),
        read_label_history("s3://datalake/labels", settings_file),
    )
    terminals = data.transactions.frame["terminal_id"]
    learnt = TerminalLabels(
        terminals.tolist(), data.transactions.days(), data.known_in_time(), data.found_out_later()
    )
    frauds = 0
    for day, risk in told.items():
        names = terminals[data.transactions.days() == day].tolist()
        expected = learnt.as_of(names, np.full(len(names), day, dtype=np.int32))
        assert risk.as_of(names, np.full(len(names), day)).tobytes() == expected.tobytes()
        frauds += int((expected[:, SCHEMA.names.index("risk_30d") - 2] > 0).sum())
    assert len(told) == 14
    replayed = Renewal(settings, midnight).replayed(days[-3:])
    assert replayed.days.tolist() == list(days[-3:])
    for day in days[-3:]:
        asked = (terminals.tolist(), np.full(len(terminals), day, dtype=np.int32))
        assert replayed.as_of(*asked).tobytes() == learnt.as_of(*asked).tobytes()
    assert frauds > 100, "too few to speak of"


def write_days(lake: Lake, days: int) -> None:
    """Write a payment of each day up to today as it came, and the label of one of eight days before."""
    for day in range(days, -1, -1):
        came = NOW - timedelta(days=day)
        lake.write("raw/transactions", [payment(f"{day}", day)], came)
        lake.write("labels", [label(f"{day + 8}", day)], came)


@pytest.mark.parametrize("read_first_days_ago", [20, 0])
def test_a_day_is_replayed_only_where_all_of_its_windows_is_kept(
    settings: Settings, lake: Lake, read_first_days_ago: int
) -> None:
    """Whether what came longer ago was forgotten, or was never read: half a month's counts are no month's."""
    write_days(lake, 80)
    for day in sorted({read_first_days_ago, 0}, reverse=True):
        Renewal(settings, NOW - timedelta(days=day)).run()
    replayed = Renewal(settings, NOW).replayed(range(TODAY - 30, TODAY + 1))
    # a week whose labels are in after a week, and ten days to spare
    assert replayed.days.tolist() == list(range(TODAY - 25, TODAY + 1))
    assert {told(replayed, "t", day)["count_30d"] for day in replayed.days.tolist()} == {30}


def test_days_that_are_kept_for_what_was_known_on_others_are_not_looked_through(
    settings: Settings, store: MemoryStore, lake: Lake
) -> None:
    """A label of one comes too late for every day that is still asked for."""
    write_days(lake, 70)
    Renewal(settings, NOW).run()
    read = reads(store)
    lake.write("labels", [label(f"{day}", fraud=False) for day in (49, 48)])
    assert Renewal(settings, NOW).run().days == [TODAY - 48]
    looked_through = {key.split("/")[2] for key in read if "/ids-" in key}
    assert looked_through == {str(EPOCH + timedelta(days=TODAY - day)) for day in range(49)}
    kept = {key.split("/")[1] for key in store.objects["features"] if "/counts-" in key}
    assert kept == {str(EPOCH + timedelta(days=TODAY - day)) for day in range(63)}
    # one that comes after all is counted with what is kept of its day
    lake.write("raw/transactions", [payment("late", 49)])
    assert Renewal(settings, NOW).run().days == [TODAY - 49]
    assert told(Renewal(settings, NOW).replayed([TODAY - 20]), "t", TODAY - 20)["count_30d"] == 31


def release_with(settings: Settings, **changes: Any) -> None:  # noqa: ANN401 - fields of a release
    Promotions(settings).releases.write(lambda newest: msgspec.structs.replace(newest, **changes))


def test_a_model_of_a_longer_delay_is_told_what_the_lake_tells(
    settings: Settings, store: MemoryStore, lake: Lake
) -> None:
    """Its windows lie where days were forgotten: what was read of these is read once more, labels too."""
    write_days(lake, 180)
    Renewal(settings, NOW).run()
    release_with(settings, label_delay_days=60)
    renewed = Renewal(settings, NOW).run()
    known = told(served(settings, store), "t")
    assert (known["count_30d"], known["risk_30d"]) == (30, 1)
    # the days that are kept, each with a payment and a label
    assert (renewed.records, renewed.labels) == (169, 169)
    due = range(TODAY - 67, TODAY - 60)
    assert Renewal(settings, NOW).replayed(due).days.tolist() == list(due)
    # nothing is read once more, neither then nor with a shorter delay
    for delay_days in (60, 7):
        release_with(settings, label_delay_days=delay_days)
        assert Renewal(settings, NOW).run().records == 0


def test_what_a_former_version_forgot_is_read_anew(
    settings: Settings, store: MemoryStore, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It kept only days that a renewal needs, and did not say since when."""
    write_days(lake, 80)
    with monkeypatch.context() as patch:
        patch.setattr(risk_renewal, "kept_days", lambda delay_days: delay_days + 41)
        Renewal(settings, NOW).run()
    kept = store.objects["features"]
    state = json.loads(kept[STATE_KEY])
    del state["since_day"]
    kept[STATE_KEY] = json.dumps(state).encode()
    due = range(TODAY - 14, TODAY - 7)
    assert Renewal(settings, NOW).replayed(due).days.tolist() == list(due)[3:]
    assert Renewal(settings, NOW).run().records == 63
    assert Renewal(settings, NOW).replayed(due).days.tolist() == list(due)
    assert Renewal(settings, NOW).run().records == 0


def test_payments_of_one_id_all_count_and_have_its_labels(
    settings: Settings, store: MemoryStore, lake: Lake
) -> None:
    def counts(terminal: str) -> tuple[float, float]:
        Renewal(settings, NOW).run(TODAY)
        values = told(served(settings, store), terminal)
        return values["count_30d"], values["risk_30d"]

    first = payment("x", 10)
    others = [payment("x", 10, customer="d"), payment("x", 10, amount=2.0), payment("x", 10.001)]
    # the same once more, in the same file and in a later one
    lake.write("raw/transactions", [first, *others, payment("x", 10, "u"), first, payment("y", 10)])
    # without a label, nothing is released
    lake.write("labels", [label("y", fraud=False)])
    assert counts("t") == (5, 0)
    lake.write("labels", [label("x")])
    lake.write("raw/transactions", [first])
    assert counts("t") == (5, pytest.approx(4 / 5))
    assert counts("u") == (1, 1)
    # of another day, which comes when the label is known
    lake.write("raw/transactions", [payment("x", 15), payment("x", 15, "u")])
    assert counts("t") == (6, pytest.approx(5 / 6))
    assert counts("u") == (2, 1)


Message = tuple[str, dict[str, Any] | bytes]


def came(message: dict[str, Any] | bytes, at: datetime) -> datetime:
    """Give when a message came: no label comes over a day before it is given, but for a wrong clock."""
    if isinstance(message, bytes) or "labelled_at" not in message:
        return at
    return max(at, min(NOW, datetime.fromisoformat(message["labelled_at"])))


transactions = st.builds(
    payment,
    # some ids stand for several payments: on other days, at other terminals, of other people
    st.integers(0, 25).map(str),
    st.integers(0, 50).map(lambda n: n * 0.9) | st.integers(0, 50).map(float),
    st.sampled_from(["a", "b", "ü"]),
    st.sampled_from(["c", "d"]),
    st.sampled_from([1.0, 1.5]),
)
labels = st.builds(
    lambda name, ago, fraud: label(str(name), ago, fraud=fraud),
    st.integers(0, 30),
    st.integers(-1, 45).map(lambda n: n * 0.8),
    st.booleans(),
)
messages = st.lists(
    st.tuples(st.just("raw/transactions"), transactions | st.sampled_from([b"bad", payment("x", -3)]))
    | st.tuples(st.just("labels"), labels | st.just(b"no label")),
    max_size=60,
)


@hypothesis_settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(messages, st.integers(1, 6), st.randoms(use_true_random=False), st.sampled_from([7, 3]))
def test_renewed_step_by_step_is_counted_at_once_to_the_last_bit(  # noqa: PLR0913, PLR0917 - what is drawn
    settings: Settings,
    settings_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    sent: list[Message],
    steps: int,
    chance: random.Random,
    delay_days: int,
) -> None:
    """Whatever comes in whatever order, in files that are merged meanwhile, late records and late labels."""
    sent = sent + chance.choices(sent, k=len(sent) // 4) if sent else sent  # some come again
    store = MemoryStore()
    monkeypatch.setattr("boto3.client", lambda *_, **_options: store)
    release_something(settings, store, ("t", 1))
    released = Promotions(settings).releases.released()
    assert released is not None
    Promotions(settings).releases.write(lambda r: msgspec.structs.replace(r, label_delay_days=delay_days))
    lake = Lake(store)
    # where each lies is settled, when its file is seen is not
    placed = [
        (
            folder,
            ((number, came(message, NOW - timedelta(chance.randrange(3), chance.randrange(3)))), message),
        )
        for number, (folder, message) in enumerate(
            [*sent, ("labels", label("anchor")), ("raw/transactions", payment("anchor", 20))]
        )
    ]
    chance.shuffle(placed)
    for step in range(steps):
        for folder in ("raw/transactions", "labels"):
            part = [record for n, (each, record) in enumerate(placed) if n % steps == step and each == folder]
            if part:
                lake.write_at(folder, part)
        Renewal(settings, NOW).run(TODAY)
        if step == 2:
            whole = [
                record for n, (each, record) in enumerate(placed) if n % steps <= step and each == "labels"
            ]
            for key in [key for key in store.objects["datalake"] if key.startswith("labels/")]:
                del store.objects["datalake"][key]
            if whole:
                lake.write_at("labels", whole)
    known = read_label_history("s3://datalake/labels", settings_file).before(NOW + timedelta(microseconds=1))
    data = LabelledData(load("s3://datalake/raw/transactions", settings_file), known)
    terminals = data.transactions.frame["terminal_id"].tolist()
    counted = TerminalLabels(
        terminals, data.transactions.days(), data.known_by_now(), label_delay_days=delay_days
    )
    risk = served(settings, store)
    names = [*sorted(set(terminals)), "nowhere"]
    for day in SERVED:
        expected = counted.as_of(names, np.full(len(names), day, dtype=np.int32))
        assert risk.as_of(names, np.full(len(names), day)).tobytes() == expected.tobytes()
