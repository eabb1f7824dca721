"""A row of a run: a fault under a producer, what was seen meanwhile, and what was checked after it."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import topics
from catalogue import AFTER, Fault
from checks import Times
from containers import HostError
from darkness import LATE_S, dark, lag, owed
from harm import together
from injection import Injection, Journal
from moments import LASTING, MOMENTS
from order import Planned
from steady_producer import SteadyProducer
from system import System, wait_until
from topics import Watcher
from verdict import Verdict, judge

SETTLE_S = 10
# after the mend, until no record waits; then nothing is waited for any more
RECOVERY_S = 240
# so long no record may have waited for the row to go on
QUIET_S = 5
LAST_PREDICTIONS_S = 60


class Row:
    """One row; `run` does all of it."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a row needs
        self,
        system: System,
        journal: Journal,
        planned: Planned,
        faults: Sequence[Fault],
        rate_tps: float,
        settle_s: float = SETTLE_S,
    ) -> None:
        self._system = system
        self._journal = journal
        self._planned = planned
        self._faults = faults
        self._rate_tps = rate_tps
        self._settle_s = settle_s
        self._began = datetime.now(UTC)
        # no other row has such customers, not even one of the same seed
        self._mark = f"f{planned.seed}-{int(self._began.timestamp())}"
        self._broken_s = self._mended_s = self._ended_s = 0.0

    @property
    def limit_s(self) -> float:
        """How dark it may become."""
        return AFTER if self._several else self._faults[0].limit_s

    @property
    def after_repair(self) -> bool:
        """Whether darkness counts from the repair on only."""
        return self._several or self._faults[0].after_repair

    @property
    def _several(self) -> bool:
        return len(self._faults) > 1 or self._planned.moment == "rolling-restart"

    def run(self) -> dict[str, Any]:
        """Do it; give the row as it is kept.

        Raises:
            HostError: it could not be done; what was broken is mended.

        """
        settings, planned = self._system.settings, self._planned
        chance = planned.random("hosts")
        aimed = [fault.aim(self._system, chance) for fault in self._faults]
        harm = together([each.harm for each in aimed])
        injection = Injection(planned.name, harm, self._system.containers, self._journal)
        begin = topics.ends(settings)
        watcher = Watcher(settings)
        producer = SteadyProducer(
            settings,
            self._mark,
            self._rate_tps,
            planned.random("transactions"),
            by_customer=planned.keyed_by_customer,
        )
        with ExitStack() as lasting:
            with injection.prepared():
                try:
                    if harm.prepares:
                        self._system.check_whole()
                    watcher.start()
                    producer.start()
                    self._inject(lasting, injection, producer, watcher)
                finally:
                    self._ended_s = time.time()
                    producer.stop()
                    wait_for_the_last(producer, watcher)
                    watcher.stop()
            services = self._system.unhealthy()
            jobs = self._system.wrong_jobs()
            end = topics.ends(settings)
            verdict = judge(
                settings,
                self._mark,
                producer.acknowledged,
                producer.labels,
                begin,
                end,
                self._began,
                by_customer=planned.keyed_by_customer,
            )
        return self._row(
            ", ".join(each.aim for each in aimed),
            producer,
            watcher.first_s(),
            verdict,
            [*injection.failed, *services],
            jobs,
        )

    def _inject(
        self, lasting: ExitStack, injection: Injection, producer: SteadyProducer, watcher: Watcher
    ) -> None:
        began_s = time.monotonic()
        if not wait_until(lambda: len(watcher.first_s()) > self._rate_tps, RECOVERY_S):
            raise HostError("predictions do not come, though nothing was injected yet")
        time.sleep(max(self._settle_s - (time.monotonic() - began_s), 0))
        moment = self._planned.moment
        with ExitStack() as meanwhile:
            if moment is not None:
                (lasting if moment in LASTING else meanwhile).enter_context(MOMENTS[moment](self._system))
            self._broken_s = time.time()
            with injection.broken(producer):
                time.sleep(max(fault.stays_s for fault in self._faults))
                # mending may take long, and is part of what is limited
                self._mended_s = time.time()
        quiet = [time.monotonic()]

        def recovered() -> bool:
            if _waiting(producer, watcher.first_s()):
                quiet[0] = time.monotonic()
            return time.monotonic() - quiet[0] > QUIET_S

        wait_until(recovered, RECOVERY_S, 1)

    def _row(  # noqa: PLR0913, PLR0917 - what it is made of
        self,
        aim: str,
        producer: SteadyProducer,
        first_s: Mapping[str, float],
        verdict: Verdict,
        services: Sequence[str],
        jobs: Sequence[str],
    ) -> dict[str, Any]:
        # by ids, as of two records at one place each has to be scored
        acknowledged_s = {
            each.transaction_id: each.at_s
            for each in producer.acknowledged
            if each.transaction_id is not None
        }
        predicted_s = {name: at for name, at in first_s.items() if name in acknowledged_s}
        since_s = self._mended_s if self.after_repair else self._broken_s
        times = Times(
            dark(owed(acknowledged_s, predicted_s, since_s), predicted_s.values(), since_s, self._ended_s),
            lag(acknowledged_s, predicted_s, since_s, self._ended_s),
            self.limit_s,
        )
        problems = verdict.problems(jobs, services, times)
        began_s = self._began.timestamp()
        return {
            "name": self._planned.name,
            "seed": self._planned.seed,
            "aim": aim,
            "at": self._began.isoformat(timespec="seconds"),
            "took_s": round(time.time() - began_s),
            "keyed_by": "customer" if self._planned.keyed_by_customer else "transaction",
            "acknowledged": len(producer.acknowledged),
            "refused": producer.refused,
            "labels": len(producer.labels),
            **verdict.counts(),
            "dark_s": round(times.dark.seconds, 1),
            "limit_s": times.limit_s,
            "after_repair": self.after_repair,
            "recovered_s": round(times.lag.seconds, 1),
            "recovered_limit_s": round(times.lag_limit_s, 1),
            "problems": problems,
            "timeline": timeline(
                acknowledged_s.values(),
                predicted_s.values(),
                began_s,
                {
                    "broken_s": self._broken_s,
                    "mended_s": self._mended_s,
                    "dark_from_s": times.dark.begin_s,
                    "dark_to_s": times.dark.end_s,
                },
            ),
        }


def wait_for_the_last(producer: SteadyProducer, watcher: Watcher) -> None:
    """Wait until each record that was acknowledged late has its prediction, too, for a minute at most."""
    wait_until(lambda: not _waiting(producer, watcher.first_s(), late_s=0), LAST_PREDICTIONS_S, 1)


def timeline(
    acknowledged_s: Any,  # noqa: ANN401 - any times
    predicted_s: Any,  # noqa: ANN401 - as above
    began_s: float,
    marks: Mapping[str, float],
) -> dict[str, Any]:
    """Count by the second what was acknowledged and scored.

    Args:
        acknowledged_s: times in seconds since 1970.
        predicted_s: the same.
        began_s: when the row began.
        marks: further times; they are told in seconds since the row began, as are the counts.

    """
    counted = {}
    for name, times in (("acknowledged", acknowledged_s), ("predicted", predicted_s)):
        seconds = [int(at - began_s) for at in times]
        counts = [0] * (max(seconds, default=-1) + 1)
        for second in seconds:
            counts[second] += 1
        counted[name] = counts
    return counted | {name: round(at - began_s, 1) for name, at in marks.items()}


def _waiting(producer: SteadyProducer, first_s: Mapping[str, float], late_s: float = LATE_S) -> bool:
    """Tell whether a record has waited so long for its prediction, and still does."""
    before_s = time.time() - late_s
    # a copy: Kafka's thread goes on to append
    return any(
        not each.poison and each.at_s < before_s and each.transaction_id not in first_s
        for each in producer.acknowledged.copy()
    )
