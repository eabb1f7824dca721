"""Terminal risk, made anew of what came into the lake since, and released.

A renewal reads the lake's new files and counts the days anew that these change (`kept_days.py`), sums the
windows, and releases the table of the days that are or are about to be served.
"""

import hashlib
import io
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flink_jobs.domain.features import LABEL_DELAY_DAYS
from flink_jobs.domain.terminal_risk import SCHEMA, TerminalRisk, said_of_table
from flink_jobs.store.object_store import (
    delete_object,
    is_there,
    list_keys,
    read_object,
    s3_client,
    write_object,
)
from flink_jobs.store.release import Release, RiskReference
from flink_jobs.store.settings import Settings
from training.kept_days import KeptDays, State
from training.promotions import with_days
from training.release_writer import PromotionError, ReleaseWriter
from training.terminal_days import LONGEST_WINDOW_DAYS, TerminalDays
from training.terminal_labels import to_parquet

TABLES_FOLDER = "terminal_risk/renewed/"

# A table has the day that a stream has come to, one before for what comes late, and two to live on.
DAYS_BEHIND = 1
DAYS_AHEAD = 2
# For what comes late, and for days on which nothing was renewed.
_SPARE_DAYS = 10
# fraud-drift asks what was known on so many days, the last whose labels are in.
_JUDGED_DAYS = 7
# Of tables that are released no more; a job may still be loading one.
_TABLES_KEPT = 5

_ASKED_BY_NONE = "no model is released that asks for terminal risk"

_DAY_US = 86_400_000_000


class Renewed(NamedTuple):
    """What a renewal did: records and labels that were new, days counted anew, and the table it released."""

    records: int
    labels: int
    days: list[int]
    risk: TerminalRisk | None
    release: Release | None
    reason: str = ""


class Renewal:
    """Terminal risk of one system, made anew."""

    def __init__(self, settings: Settings, now: datetime) -> None:
        self._client: Any = s3_client(settings.s3)
        self._features = settings.buckets.features
        self._kept = KeptDays(settings, round(now.timestamp() * 1e6))
        self._releases = ReleaseWriter(settings)
        self._now_us = round(now.timestamp() * 1e6)
        self._today = self._now_us // _DAY_US
        self._at = f"{now:%Y%m%dT%H%M%SZ}"

    def run(self, as_of: int | None = None) -> Renewed:
        """Renew, and release what came of it.

        Args:
            as_of: the day, since 1970-01-01, to tell about; by default that of the clock, or where the lake
                stands still the last on which a payment came, and that which the stream has come to.

        Raises:
            LakeError, ObjectStoreError: the lake cannot be read, or the store does not answer.
            PromotionError: it could not be released.

        """
        base = self._releases.released()
        if base is None or base.risk is None:
            return Renewed(0, 0, [], None, None, _ASKED_BY_NONE)
        delay_days = base.label_delay_days
        state, records, labels, days = self._kept.catch_up(kept_days(delay_days), _open_days(delay_days))
        wanted = {self._known_day(state), state.stream_day} if as_of is None else {as_of}
        tables = self._tables(state, sorted(day for day in wanted if day is not None), delay_days)
        if not tables:
            why = "the lake has no label of a payment in the windows of any day that is served"
            return Renewed(records, labels, days, None, None, why)
        tables |= self._still_served(base.risk, state, delay_days, tables.keys())
        said = said_of_table(delay_days, tables)
        content = to_parquet(pa.concat_tables(tables.values()).replace_schema_metadata(said))
        risk = TerminalRisk.from_parquet(content)
        digest = hashlib.sha256(content).hexdigest()
        if digest == base.risk.sha256:
            why = f"it is what is released{self._written_again(base.risk, content)}"
            return Renewed(records, labels, days, risk, None, why)
        version = f"{self._at}-{digest[:8]}"
        reference = RiskReference(version, f"{TABLES_FOLDER}{version}.parquet", digest, renewed=True)
        write_object(self._client, self._features, reference.key, content)
        release = self._releases.write(lambda newest: _renewed(newest, with_days(reference, risk), base))
        self._forget_tables(reference.key)
        return Renewed(records, labels, days, risk, release, _ASKED_BY_NONE if release is None else "")

    def replayed(self, days: Iterable[int]) -> TerminalRisk:
        """Give what was known of terminals when each of these days began, where all of it is still kept.

        Raises:
            ObjectStoreError: the store does not answer.

        """
        base = self._releases.released()
        delay_days = LABEL_DELAY_DAYS if base is None else base.label_delay_days
        state, tables = self._kept.state(), dict[int, pa.Table]()
        first = 0 if state.forgotten_day is None else state.forgotten_day + 1
        for day in (day for day in days if day - delay_days - LONGEST_WINDOW_DAYS >= first):
            tables |= self._told(state, [day], day * _DAY_US - 1, delay_days)
        table = pa.concat_tables([SCHEMA.empty_table(), *tables.values()])
        return TerminalRisk(table.replace_schema_metadata(said_of_table(delay_days, tables)))

    def _tables(self, state: State, as_of: list[int], delay_days: int) -> dict[int, pa.Table]:
        """Give the rows of each day that is to be served, as known at the end of the day it is made for."""
        tables: dict[int, pa.Table] = {}
        for known_day in as_of:
            served = range(known_day - DAYS_BEHIND, known_day + DAYS_AHEAD + 1)
            until_us = min(self._now_us, (known_day + 1) * _DAY_US - 1)
            tables |= self._told(state, served, until_us, delay_days)
        return tables

    def _known_day(self, state: State) -> int:
        """Give the last day of the clock of which anything is known."""
        return min(self._today, max((kept.came for kept in state.days.values()), default=self._today))

    def _told(self, state: State, days: Sequence[int], until_us: int, delay_days: int) -> dict[int, pa.Table]:
        """Give the rows of days that follow one another, as known at a time; none where nobody knew any."""
        window = range(days[0] - delay_days - LONGEST_WINDOW_DAYS, days[-1] - delay_days)
        kept = {day: state.days[day] for day in window if day in state.days}
        # where nobody labelled anything, nothing is known to be honest either
        if not any((each.first_label_us or until_us + 1) <= until_us for each in kept.values()):
            return {}
        counted = {day: self._kept.counted(each, until_us) for day, each in kept.items()}
        summed = TerminalDays(counted, delay_days)
        return {day: summed.table(day) for day in days}

    def _still_served(
        self, risk: RiskReference, state: State, delay_days: int, told: Collection[int]
    ) -> dict[int, pa.Table]:
        """Give what is served of days around the stream's, where the lake's labels tell nothing of those."""
        if state.stream_day is None or state.stream_day in told:
            return {}
        content = read_object(self._client, self._features, risk.key, missing_ok=True)
        if content is None or hashlib.sha256(content).hexdigest() != risk.sha256:
            return {}  # no job can serve it either
        table = pq.read_table(io.BytesIO(content)).replace_schema_metadata()
        near = range(state.stream_day - DAYS_BEHIND, state.stream_day + delay_days + 2)
        days = {day for day in TerminalRisk.from_parquet(content).days.tolist() if day in near}
        return {day: table.filter(pc.equal(table["day"], day)) for day in sorted(days.difference(told))}

    def _written_again(self, risk: RiskReference, content: bytes) -> str:
        """Write the released table once more if somebody deleted it; says so."""
        if is_there(self._client, self._features, risk.key):
            return ""
        write_object(self._client, self._features, risk.key, content)
        return f"; s3://{self._features}/{risk.key} was gone, and is there again"

    def _forget_tables(self, served: str) -> None:
        keys = list(list_keys(self._client, self._features, TABLES_FOLDER))
        for key in keys[:-_TABLES_KEPT]:
            if key != served:
                delete_object(self._client, self._features, key)


def kept_days(delay_days: int) -> int:
    """Give for how many days what came is kept: labels of the days that are judged came a delay later."""
    return _open_days(delay_days) + delay_days + _JUDGED_DAYS


def _open_days(delay_days: int) -> int:
    """Give for how many days after its last payment a day is in windows that are still to be told of."""
    return delay_days + LONGEST_WINDOW_DAYS + DAYS_BEHIND + _SPARE_DAYS


def _renewed(newest: Release | None, risk: RiskReference, base: Release) -> Release | None:
    """Make a release of the newest that tells what is known of terminals now, counted for `base`."""
    if newest is None or newest.risk is None:
        return None
    if newest.label_delay_days != base.label_delay_days:
        raise PromotionError("a model of another delay of labels was promoted meanwhile; try again")
    if newest.risk != base.risk and not newest.risk.renewed:
        raise PromotionError("a model with terminal risk of its own was promoted meanwhile; try again")
    return msgspec.structs.replace(newest, action="renew", risk=risk)
