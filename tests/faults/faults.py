"""`make faults`: break the running lab's services and hosts, one at a time, and check what became of records.

A producer sends at a steady rate meanwhile. Rows are kept in build/faults.json as they come: a run that was
cut off goes on with the next, and mends first what it had broken. Ends with 1 where something did not hold.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from catalogue import Fault, catalogue
from containers import HostError
from faults_page import page
from injection import Journal
from lab_command import FAILURES, LAB, command, new_parser
from moments import MOMENTS, undo_promotion
from order import Planned, plan, rest
from row import Row
from rows import Rows, RowsError, open_rows
from steady_producer import RATE_TPS
from system import System

from clients.command import positive_float
from clients.process import ClientError
from flink_jobs.store.settings import SettingsError
from training.options import positive

# rows that could not be done, one after another, after which a run gives up
MOST_BROKEN_OFF = 3


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    options = _parser().parse_args(argv)
    return command(
        "faults",
        lambda: _run(options),
        (HostError, RowsError, SettingsError, ClientError),
        ended="what was broken is mended; the same command goes on",
    )


def _run(options: argparse.Namespace) -> int:
    # one for the lab, wherever rows are kept
    journal = Journal(LAB / "faults-open.json")
    system = System()
    table = catalogue(system.hosts)
    _mend_left(system, journal)
    rows, planned = _planned(options, table)
    if options.list:
        print("\n".join(f"{row.seed:>10}  {row.name}" for row in planned))
        return 0
    print(f"seed {rows.run['seed']}: {len(planned)} faults to come", flush=True)
    known = len(rows.run["faults"])
    try:
        _inject(system, journal, table, rows, planned, options.rate or rows.run["rate_tps"])
    finally:
        if rows.run["faults"]:
            (options.output / "faults.html").write_text(page(rows.run))
    found = rows.run["faults"][known:]
    wrong, undone = sum(bool(row["problems"]) for row in found), len(planned) - len(found)
    print(
        f"{len(found)} faults, after {wrong} of which something did not hold"
        + (f"; {undone} could not be done, the same command tries them again" if undone else "")
        + f": {options.output}/faults.html and faults.json"
    )
    return 1 if wrong or undone else 0


def _inject(  # noqa: PLR0913, PLR0917 - what a run has
    system: System,
    journal: Journal,
    table: Mapping[str, Fault],
    rows: Rows,
    planned: Sequence[Planned],
    rate_tps: float,
) -> None:
    """Do one row after another; HostError where several in turn could not be done."""
    whole, broken_off = False, 0
    for planned_row in planned:
        print(f"{time.strftime('%H:%M:%S')}  {planned_row.name} (seed {planned_row.seed})", flush=True)
        try:
            if not whole:
                _mend_left(system, journal)
                system.containers.forget_failures()
                system.check_whole()
            faults = [table[name] for name in planned_row.faults]
            found = Row(system, journal, planned_row, faults, rate_tps).run()
        except FAILURES as error:
            whole, broken_off = False, broken_off + 1
            print(f"          could not be done: {error}", file=sys.stderr, flush=True)
            if broken_off == MOST_BROKEN_OFF:
                raise HostError(f"{broken_off} faults could not be done, one after another") from error
            continue
        # a row ends with the system whole, or says what is not
        whole, broken_off = not found["problems"], 0
        rows.append(found)
        print(f"          {told(found)}", flush=True)


def _planned(options: argparse.Namespace, table: Mapping[str, Fault]) -> tuple[Rows, list[Planned]]:
    """Open the run, and give the rows that are to be done now."""
    file = options.output / "faults.json"
    now = int(time.time())
    if options.only:
        row = Planned(options.only, now if options.seed is None else options.seed)
        unknown = [name for name in row.faults if name not in table]
        if unknown or (row.moment is not None and row.moment not in MOMENTS):
            raise RowsError(
                f"there is no fault {options.only}; faults: {', '.join(sorted(table))}; two are joined by +, "
                f"and @ says what goes on meanwhile: {', '.join(MOMENTS)}"
            )
        # the seed is the row's: whatever run is there gets one row more
        return open_rows(file, None, options.rate or RATE_TPS, now), [row]
    rows = open_rows(file, options.seed, options.rate or RATE_TPS, now)
    whole = plan({name: fault.kind for name, fault in table.items()}, list(MOMENTS), rows.run["seed"])
    planned = rest(whole, rows.done)
    return rows, planned[: options.count or len(planned)]


def _mend_left(system: System, journal: Journal) -> None:
    """Mend what a process that was ended has left, or a row that could not mend it."""
    name = journal.mend_left(system.containers)
    if name:
        print(f"mended what {name} had left", flush=True)
    if undo_promotion(system):
        print("released what was released before", flush=True)


def told(row: Mapping[str, Any]) -> str:
    """Say in a line what came of a row."""
    figures = {
        name: row[name]
        for name in (
            "acknowledged",
            "lost",
            "repeated_in_lake",
            "differing",
            "dark_s",
            "limit_s",
            "recovered_s",
        )
    }
    return json.dumps(figures) + "".join(f"\n          ! {each}" for each in row["problems"])


def _parser() -> argparse.ArgumentParser:
    parser = new_parser("faults", __doc__)
    parser.add_argument(
        "--seed", type=int, metavar="N", help="of the run; with --only, of the row (default: the run goes on)"
    )
    parser.add_argument("--only", metavar="NAME", help="one fault, such as kill-kafka-node1")
    parser.add_argument(
        "--rate",
        type=positive_float,
        metavar="N",
        help=f"transactions a second (default: {RATE_TPS:g}, or the run's)",
    )
    parser.add_argument("--count", type=positive, metavar="N", help="so many faults of the run, then end")
    parser.add_argument("--list", action="store_true", help="tell which faults are to come, and inject none")
    return parser


if __name__ == "__main__":
    sys.exit(main())
