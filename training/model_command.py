"""`fraud-models`: which models there are, which is in use, and how to change that while the job runs."""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from flink_jobs.domain.manifest import Manifest
from flink_jobs.store.object_store import ObjectStoreError
from flink_jobs.store.release import Promoted, Release
from flink_jobs.store.settings import SettingsError, defaults_named, load_settings
from training.closed_pipe import end_quietly
from training.gate import (
    GateError,
    NotComparedError,
    champion_of,
    compare_on,
    first_day_needed,
    refusal,
    why_promoted,
)
from training.options import lake_data, positive
from training.printable import printable
from training.promotions import InUse, Promotions
from training.publish import PublishError, upload
from training.release_writer import PromotionError
from training.tables import DatasetError

_EPILOG = """\
A running job takes a change over within seconds, between two batches; nothing is lost or scored again.
The beginning or the end of a VERSION will do. Ends with 1, and changes nothing, where a model is refused.
"""
# heading, name in the manifest
_METRICS = (("average precision", "average_precision"), ("CP@100", "card_precision_at_100"), ("  AUC", "auc"))


class Listed(msgspec.Struct, kw_only=True):
    """A model as `list` shows it; `error` says why it cannot be described, `missing` which files are gone."""

    version: str
    roles: list[str]
    created_at: str | None = None
    kind: str | None = None
    threshold: float | None = None
    metrics: dict[str, float] = {}
    missing: list[str] = []
    error: str | None = None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when it succeeded."""
    options = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], None] = options.command
    try:
        command(options)
        # what is written when the process ends could no longer be caught
        sys.stdout.flush()
    except BrokenPipeError:
        return end_quietly()
    except GateError as error:
        print(f"fraud-models: {printable(str(error))}. --force REASON overrides", file=sys.stderr)
        return 1
    except (DatasetError, ObjectStoreError, PromotionError, PublishError, SettingsError) as error:
        print(f"fraud-models: {printable(str(error))}", file=sys.stderr)
        return 1
    return 0


def _list(options: argparse.Namespace) -> None:
    promotions = _promotions(options)
    models = [_listed(promotions, version, roles) for version, roles in _roles(promotions).items()]
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(models), indent=2).decode())
        return
    if not models:
        print("no models; `fraud-train --promote` publishes one")
        return
    width = max(len(model.version) for model in models)
    metrics = "".join(f"{name:>{len(name) + 2}}" for name, _ in _METRICS)
    print(f"{'version':<{width}}  {'created':<20}  {'kind':<7}{metrics}  threshold")
    for model in models:
        begin, roles = f"{model.version:<{width}}  ", ", ".join(model.roles)
        if model.error:
            print(f"{begin}{f'{roles}: ' if roles else ''}{printable(model.error)}")
            continue
        figures = "".join(
            f"{model.metrics[key]:>{len(name) + 2}.3f}" if key in model.metrics else f"{'-':>{len(name) + 2}}"
            for name, key in _METRICS
        )
        line = f"{begin}{model.created_at:<20}  {model.kind:<7}{figures}  {model.threshold:>9.3f}"
        missing = f"  not there: {printable(', '.join(model.missing))}" if model.missing else ""
        print(f"{line}  {roles}{missing}".rstrip())


def _show(options: argparse.Namespace) -> None:
    promotions = _promotions(options)
    version = promotions.find(options.version)
    manifest = promotions.manifest(version)
    try:
        promotions.verify(version)
        verdict = "its files are as published, and this version can serve it"
    except PromotionError as error:
        verdict = str(error)
    facts = {
        "created": manifest.created_at,
        "role": ", ".join(_roles(promotions)[version]) or "none",
        "verified": verdict,
        "kind": manifest.kind,
        "features": ", ".join(manifest.features),
        "label delay": f"{manifest.label_delay_days} days",
        "threshold": f"{manifest.threshold:.6g}",
        "chosen by": _pairs(manifest.threshold_choice),
        **{f"metric {name}": f"{value:.4f}" for name, value in manifest.metrics.items()},
        **{f"data {name}": str(value) for name, value in manifest.data.items()},
        **{f"twin {name}": str(value) for name, value in manifest.twin.items()},
        "libraries": _pairs(manifest.libraries),
        "card": promotions.card(version, manifest),
        "in use since": _since(promotions, version),
    }
    print(version)
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"  {name:<{width}}  {printable(value)}")


def _since(promotions: Promotions, version: str) -> str:
    release = promotions.releases.released()
    if release is None:
        return "never"
    uses = [*release.former, Promoted(release.model.version, release.promoted_at)]
    return (
        ", ".join(use.at or "before releases were kept" for use in uses if use.version == version) or "never"
    )


def _log(options: argparse.Namespace) -> None:
    releases = list(_promotions(options).releases.log(options.last))
    if not releases:
        print("no releases; `fraud-train --promote` makes the first")
        return
    for number, _, release, error in releases:
        if release is None:
            print(f"{number:>6}  cannot be read: {printable(str(error))}")
            continue
        challenger = f", challenged by {release.challenger.version}" if release.challenger else ""
        line = (
            f"{number:>6}  {release.when}  {release.action:<11}  {release.model.version}{challenger}, "
            f"terminal risk {_days(release)}, by {release.who}{f': {release.why}' if release.why else ''}"
        )
        print(printable(line))


def _days(release: Release) -> str:
    risk = release.risk
    if risk is None:
        return "none"
    span = f"{risk.first_day} to {risk.last_day}" if risk.first_day else "published with the model"
    return f"{span}{', renewed' if risk.renewed else ''}"


def _upload(options: argparse.Namespace) -> None:
    settings = load_settings(options.settings)
    manifest = upload(options.folder, settings)
    Promotions(settings).verify(manifest.version)
    print(f"uploaded {manifest.version}; `fraud-models challenge` tries it, `fraud-models promote` serves it")


def _promote(options: argparse.Namespace) -> None:
    promotions = _promotions(options)
    version = promotions.find(options.version)
    why = _gate(promotions, promotions.verify(version), options)
    _tell_promoted(promotions, promotions.promote(version, why))


def _gate(promotions: Promotions, manifest: Manifest, options: argparse.Namespace) -> str:
    """Let a model pass that is not worse than the promoted one, or is forced; gives why, for the log.

    One passes as well where the promoted model cannot be loaded.

    Raises:
        GateError: it must not take the promoted model's place.
        DatasetError: there are no transactions and labels to compare the two on.

    """
    why: str = options.why
    try:
        champion = champion_of(promotions, manifest)
    except NotComparedError as error:
        print(printable(str(error)))
        return why_promoted(why, str(error), force=options.force)
    if champion is None:
        return why
    if options.force is not None:
        return why_promoted(why, force=options.force)
    needed = partial(first_day_needed, manifest, champion.manifest)
    data = lake_data(options.settings, options.data, options.labels, needed)
    comparison = compare_on(data, promotions.load(manifest.version), champion)
    if not comparison.passes:
        raise refusal(comparison)
    print(comparison)
    return why_promoted(why, str(comparison))


def _rollback(options: argparse.Namespace) -> None:
    promotions = _promotions(options)
    left = promotions.current()
    in_use = promotions.rollback(options.why)
    print(f"rolled back from {left}")
    _tell_promoted(promotions, in_use)


def _challenge(options: argparse.Namespace) -> None:
    promotions = _promotions(options)
    manifest = promotions.challenge(promotions.find(options.version), options.why)
    print(f"{manifest.version} challenges {promotions.current()}; predictions carry its scores beside")


def _unchallenge(options: argparse.Namespace) -> None:
    version = _promotions(options).unchallenge(options.why)
    print(f"{version} challenges no more" if version else "there was no challenger")


def _tell_promoted(promotions: Promotions, in_use: InUse) -> None:
    manifest = in_use.manifest
    print(
        f"promoted {manifest.version}, alerts at {manifest.threshold:.3f}; jobs take it over within seconds"
    )
    print(in_use.terminals)
    challenger = promotions.challenger()
    if challenger is not None:
        print(f"{challenger} goes on as challenger if it takes the same features")


def _promotions(options: argparse.Namespace) -> Promotions:
    return Promotions(load_settings(options.settings))


def _roles(promotions: Promotions) -> dict[str, list[str]]:
    """Give each version its roles, also one of which no file is there."""
    release = promotions.releases.released()
    in_role: dict[str, str | None] = {}
    if release is not None:
        in_role = {
            "current": release.model.version,
            "previous": release.former[-1].version if release.former else None,
            "challenger": release.challenger.version if release.challenger else None,
        }
    versions = dict.fromkeys([*promotions.versions(), *filter(None, in_role.values())])
    return {version: [role for role, holder in in_role.items() if holder == version] for version in versions}


def _listed(promotions: Promotions, version: str, roles: list[str]) -> Listed:
    try:
        manifest = promotions.manifest(version)
    except PromotionError as error:
        return Listed(version=version, roles=roles, error=str(error))
    return Listed(
        version=version,
        roles=roles,
        created_at=manifest.created_at,
        kind=manifest.kind,
        threshold=manifest.threshold,
        metrics=manifest.metrics,
        missing=promotions.missing(version, manifest),
    )


def _pairs(values: dict[str, str] | dict[str, str | int | float | None]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None) or "unknown"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fraud-models",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--settings",
        metavar="FILE",
        help=f"where MinIO is (default: {defaults_named()})",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=command)
        return added

    add("list", _list, "the models, and which is current, previous or challenger").add_argument(
        "--json", action="store_true", help="for programs"
    )
    add("show", _show, "all about a model, and whether this version can serve it").add_argument(
        "version", metavar="VERSION"
    )
    changes = (
        add("promote", _promote, "serve a model from now on"),
        add("challenge", _challenge, "let a model score beside the promoted one, without alerts"),
        add("rollback", _rollback, "serve the model that was served before; again: the one before that"),
        add("unchallenge", _unchallenge, "let the challenger score no more"),
    )
    for change in changes:
        change.add_argument("--why", default="", metavar="TEXT", help="goes into the log")
    promote = changes[0]
    promote.add_argument(
        "--force", metavar="REASON", help="without a comparison with the promoted model; goes into the log"
    )
    promote.add_argument("--data", metavar="FILE", help="to compare the two on (default: the lake)")
    promote.add_argument(
        "--labels", metavar="FILE", help="that came back (default: the lake's, without --data)"
    )
    for change in changes[:2]:
        change.add_argument("version", metavar="VERSION")
    add("log", _log, "what was released, by whom and why, the latest first").add_argument(
        "--last", type=positive, default=20, metavar="N", help="how many releases (default: %(default)s)"
    )
    add("upload", _upload, "bring in what fraud-train left in a folder").add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=Path("build/model"),
        metavar="DIR",
        help="(default: build/model)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
