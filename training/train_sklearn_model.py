"""`fraud-train`: train a random forest on labelled transactions, measure it, write it, promote it."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from flink_jobs.domain.manifest import Manifest
from flink_jobs.domain.model import check_features
from flink_jobs.store.object_store import ObjectStoreError
from flink_jobs.store.settings import Settings, SettingsError, load_settings
from training.candidate import fingerprint_of, train
from training.examples import check
from training.gate import GateError, NotComparedError, champion_of, compare_twin, refusal, why_promoted
from training.options import add_data, add_forest, add_threshold, forest_of, prepare_for, read, rule_of
from training.printable import printable
from training.procedure import Scored
from training.promotions import Promotions
from training.publish import (
    Candidate,
    PublishError,
    promote,
    promoted_manifest,
    write,
)
from training.release_writer import PromotionError
from training.steps import step
from training.tables import DatasetError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when a model was written (and promoted, if asked) or nothing had changed."""
    options = _parser().parse_args(argv)
    try:
        return _check(options) if options.check else _run(options)
    except GateError as error:
        print(f"fraud-train: {printable(str(error))}. --force REASON overrides", file=sys.stderr)
        return 1
    except (DatasetError, ObjectStoreError, PromotionError, PublishError, SettingsError) as error:
        print(f"fraud-train: {printable(str(error))}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    settings = load_settings(options.settings) if _needs_minio(options) else None
    # if MinIO cannot be reached, this fails now, not after minutes of work
    promoted = promoted_manifest(settings) if settings else None
    if options.if_missing and promoted is not None and _is_servable(promoted):
        print(f"unchanged: {promoted.version} is promoted, and this version can serve it")
        return 0
    data = read(options)
    fingerprint = fingerprint_of(data, vars(options))
    if options.if_changed and promoted is not None and promoted.fingerprint == fingerprint:
        print(f"unchanged: {promoted.version} was trained on this data with these parameters")
        return 0
    prepared = prepare_for(options, data)
    candidate, tested = train(data, prepared, forest_of(options), rule_of(options), fingerprint)
    with step(f"Writing {options.output}, ONNX held to scikit-learn"):
        manifest = write(candidate, options.output)
    _report(candidate)
    if settings is not None and options.promote:
        in_use = promote(options.output, settings, _gate(settings, manifest, tested, options.force))
        print(f"Promoted {manifest.version} to {settings.s3.endpoint_url}; {in_use.terminals}")
    return 0


def _gate(settings: Settings, manifest: Manifest, tested: Scored, force: str | None) -> str:
    """Let a model pass that is not worse than the promoted one, or is forced; gives why, for the log.

    One passes as well where the promoted model cannot be loaded.

    Raises:
        GateError: it must not take the promoted model's place.

    """
    try:
        champion = champion_of(Promotions(settings), manifest)
    except NotComparedError as error:
        print(printable(str(error)))
        return why_promoted(str(error), force=force)
    if champion is None:
        return ""
    if force is not None:
        return why_promoted(force=force)
    with step("Comparing the twin with the promoted model"):
        comparison = compare_twin(tested, manifest, champion)
    if not comparison.passes:
        raise refusal(comparison)
    return f"its twin had {comparison}"


def _check(options: argparse.Namespace) -> int:
    """Tell whether a model can be trained on what came before `--until`, and whether more comes after."""
    until, options.until = options.until, None
    whole = read(options)
    times = whole.transactions.frame["event_time"]
    if times.empty:
        raise DatasetError(f"{whole.transactions.source}: no transactions in the period asked for (--since)")
    data = replace(
        whole,
        transactions=whole.transactions.between(None, until),
        history=whole.history and whole.history.before(until),
    )
    before, after = len(data.transactions.frame), len(times) - len(data.transactions.frame)
    if until is not None and not (before and after):
        raise DatasetError(
            f"{whole.transactions.source}: nothing lies {'from' if before else 'before'} {until}"
            f"{' on' if before else ''}; its event times are {times.iloc[0]} to {times.iloc[-1]} (UTC); "
            "give an --until between them"
        )
    check(data, options.train_days, options.test_days, validate=options.threshold is None)
    print(f"a model can be trained on {before:,} transactions; {after:,} come later")
    return 0


def _report(candidate: Candidate) -> None:
    data, measured = candidate.data, candidate.metrics
    print()
    print(f"  {'':<20}{'from':>12}{'to':>12}{'transactions':>14}{'frauds':>9}")
    for name, part, facts in (
        ("trained on", "train", data),
        ("its twin", "train", candidate.twin),
        ("tested on", "test", data),
    ):
        print(
            f"  {name:<20}{facts[f'{part}_from']:>12}{facts[f'{part}_to']:>12}"
            f"{facts[f'{part}_transactions']:>14,}{facts[f'{part}_frauds']:>9,}"
        )
    if "train_honest_share" in data:
        share = float(data["train_honest_share"] or 0)
        print(
            f"  learnt from all frauds and {share:.1%} of the honest transactions, "
            f"{data['train_rows']:,} rows; each honest one counts {1 / share:.1f} times"
        )
    print()
    print("  as the twin, which was made in the same way before the test:")
    for label, name in (
        ("AUC", "auc"),
        ("average precision", "average_precision"),
        ("CardPrecision@100", "card_precision_at_100"),
    ):
        if name in measured:
            print(f"  {label:<20}{measured[name]:.3f}")
    print(
        f"  {'threshold':<20}{candidate.twin['threshold']:.3f}   precision {measured['precision']:.2f}, "
        f"recall {measured['recall']:.2f}, {measured['alerts_per_day']:.0f} alerts a day, "
        f"{measured['false_positive_rate']:.2%} of honest transactions"
    )
    if data["test_left_out"]:
        print(
            f"  the first figures leave out {data['test_left_out']:,} transactions of cards known to be "
            "compromised; alerts are raised for these too"
        )
    print(f"  {'served':<20}{candidate.threshold:.3f}   is the threshold of the model that is served")
    print()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fraud-train", description=__doc__)
    add_data(
        parser,
        tested="which ends the data, the labels' delay after a training period; then the model to serve is "
        "trained in the same way on the latest such period; tables of ready columns are tested on their "
        "last fifth, and learnt from as a whole",
    )
    add_forest(parser)
    add_threshold(parser)
    result = parser.add_argument_group("result")
    result.add_argument(
        "--output", type=Path, default=Path("build/model"), metavar="DIR", help="(default: build/model)"
    )
    result.add_argument(
        "--check",
        action="store_true",
        help="train nothing; only check that the data can be used, and that some of it comes after --until",
    )
    result.add_argument(
        "--promote",
        action="store_true",
        help="upload to MinIO and make it the served model, unless its twin is worse than that model",
    )
    result.add_argument(
        "--force", metavar="REASON", help="promote it without a comparison; the reason goes into the log"
    )
    unless = result.add_mutually_exclusive_group()
    unless.add_argument(
        "--if-changed",
        action="store_true",
        help="do nothing if the served model came from the same data, parameters, code and libraries",
    )
    unless.add_argument(
        "--if-missing",
        action="store_true",
        help="do nothing if a model is served, and can be by this version",
    )
    return parser


def _is_servable(manifest: Manifest) -> bool:
    try:
        check_features(manifest)
    except ValueError:
        return False
    return True


def _needs_minio(options: argparse.Namespace) -> bool:
    return bool(options.promote or options.if_changed or options.if_missing)


if __name__ == "__main__":
    sys.exit(main())
