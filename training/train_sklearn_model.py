"""`fraud-train`: train a random forest on labelled transactions, measure it, write it, promote it."""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from flink_jobs.domain.calibration import Calibration
from flink_jobs.domain.features import FEATURE_NAMES
from flink_jobs.domain.manifest import Manifest
from flink_jobs.domain.model import check_features
from flink_jobs.store.object_store import ObjectStoreError
from flink_jobs.store.settings import Settings, SettingsError, load_settings
from training.calibration import calibrate
from training.examples import Examples, Prepared, check, prepare
from training.forest import Forest
from training.gate import champion_of, compare_twin, refusal, why_forced
from training.labelled_data import LabelledData
from training.options import add_data, add_forest, add_threshold, forest_of, read, rule_of, step
from training.printable import printable
from training.procedure import Scored, alerting, learn, ranking, test
from training.promotions import Promotions
from training.publish import (
    Candidate,
    PublishError,
    promote,
    promoted_manifest,
    to_onnx_bytes,
    write,
)
from training.release_writer import PromotionError
from training.source_code import code_sha256, library_versions, package_version
from training.tables import DatasetError
from training.threshold import Rule


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when a model was written (and promoted, if asked) or nothing had changed."""
    options = _parser().parse_args(argv)
    try:
        return _check(options) if options.check else _run(options)
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
    fingerprint = fingerprint_of(data, options)
    if options.if_changed and promoted is not None and promoted.fingerprint == fingerprint:
        print(f"unchanged: {promoted.version} was trained on this data with these parameters")
        return 0
    candidate, tested = train(data, prepare_for(data, options), options, fingerprint)
    with step(f"Writing {options.output}, ONNX held to scikit-learn"):
        manifest = write(candidate, options.output)
    _report(candidate)
    if settings is not None and options.promote:
        in_use = promote(options.output, settings, _gate(settings, manifest, tested, options.force))
        print(f"Promoted {manifest.version} to {settings.s3.endpoint_url}; {in_use.terminals}")
    return 0


def _gate(settings: Settings, manifest: Manifest, tested: Scored, force: str | None) -> str:
    """Let a model pass that is not worse than the promoted one, or is forced; gives why, for the log.

    Raises:
        GateError: it must not take the promoted model's place.

    """
    champion = champion_of(Promotions(settings), manifest)
    if champion is None:
        return ""
    if force is not None:
        return why_forced(force)
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


def prepare_for(data: LabelledData, options: argparse.Namespace) -> Prepared:
    """Prepare examples as the options say; DatasetError as for `prepare`."""
    with step(f"Preparing features of {len(data.transactions.frame):,} transactions"):
        return prepare(
            data,
            options.train_days,
            options.test_days,
            validate=options.threshold is None,
            max_rows=options.max_rows,
        )


def train(
    data: LabelledData, prepared: Prepared, options: argparse.Namespace, fingerprint: str
) -> tuple[Candidate, Scored]:
    """Train a forest to serve on the latest days, and its twin, which is measured, on earlier ones.

    Returns:
        What is to be served, and the twin's test.

    """
    parameters, rule = forest_of(options), rule_of(options)
    twin, twin_threshold, validated, learnt_rows = _made(
        prepared.twin, parameters, rule, "the twin that is measured"
    )
    tested = test(twin, prepared.twin)
    final, threshold, chosen_on, rows = _made(prepared.final, parameters, rule, "the model to serve")
    split = prepared.final.split
    holdout, scores = _unseen(prepared, final, tested)
    candidate = Candidate(
        forest=final,
        kind=data.transactions.kind,
        features=prepared.final.features,
        threshold=threshold,
        threshold_choice={
            "rule": rule.name,
            "limit": rule.limit,
            **({} if chosen_on is None else chosen_on.facts),
        },
        metrics={
            name: round(value, 4)
            for name, value in (ranking(tested) | alerting(tested, twin_threshold)).items()
        },
        data={
            "source": data.transactions.source,
            "sha256": data.sha256,
            **({"unlabelled": data.unlabelled} if data.transactions.label is None else {}),
            **prepared.final.period("train", split.train),
            **tested.facts,
            **_sampling(prepared.final, rows),
        },
        twin={
            "sha256": hashlib.sha256(to_onnx_bytes(twin)).hexdigest(),
            "threshold": twin_threshold,
            **prepared.twin.period("train", prepared.twin.split.train),
            **_sampling(prepared.twin, learnt_rows),
        },
        calibration=_calibration([each for each in (validated, tested) if each is not None]),
        fingerprint=fingerprint,
        holdout=holdout,
        scores=scores,
        terminal_risk=prepared.final.terminal_risk,
        label_delay_days=data.label_delay_days,
        tested=tested,
        parameters=parameters._asdict(),
    )
    return candidate, tested


class _Made(NamedTuple):
    """A forest, its threshold, what this was chosen on, and the number of rows learnt from."""

    forest: RandomForestClassifier
    threshold: float
    validated: Scored | None
    rows: int


def _made(examples: Examples, parameters: Forest, rule: Rule, what: str) -> _Made:
    """Run the procedure once."""
    rows = len(examples.learnt_from(examples.split.train)[1])
    with step(f"Training {what}, {parameters.trees} trees on {rows:,} transactions; threshold: {rule}"):
        learnt = learn(examples, parameters.fit, validate=rule.name != "given")
    scored = learnt.validated
    if scored is None:
        return _Made(learnt.model, float(rule.limit or 0), None, rows)
    return _Made(learnt.model, scored.threshold(rule), scored, rows)


def _calibration(unseen: list[Scored]) -> Calibration:
    """Calibrate on what the twin, and the model that chose its threshold, scored and did not learn from."""
    labelled = [each.labelled() for each in unseen]
    return calibrate(
        np.concatenate([each.labels for each in labelled]), np.concatenate([each.scores for each in labelled])
    )


def _unseen(
    prepared: Prepared, final: RandomForestClassifier, tested: Scored
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Give the latest rows that the model has not learnt from, and their scores.

    These are those of the labels' delay; where it is shorter than the test part, the test part, as the twin
    scored it.
    """
    after = prepared.final.split.train.stop
    latest = prepared.final.matrix[after:]
    if len(np.unique(prepared.final.days[after:])) >= tested.number_of_days:
        return latest, final.predict_proba(latest)[:, 1]
    return tested.matrix, tested.scores


def _sampling(examples: Examples, rows: int) -> dict[str, str | int | float | None]:
    """Say in the manifest what was learnt from, where that is not all."""
    if examples.weights is None:
        return {}
    return {"train_rows": rows, "train_honest_share": round(examples.honest_share, 6)}


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


def fingerprint_of(data: LabelledData, options: argparse.Namespace) -> str:
    """Digest of all that decides the model: data, parameters, code and libraries."""
    elsewhere = {
        "data",
        "labels",
        "output",
        "promote",
        "force",
        "if_changed",
        "if_missing",
        "check",
        "settings",
    }
    # where a file's own names tell, the mapping says nothing
    elsewhere |= {name for name in ("columns", "label_columns") if getattr(options, name) is None}
    parameters = {name: str(value) for name, value in vars(options).items() if name not in elsewhere}
    # in use, given by options or by the settings
    parameters |= {"label_delay": str(data.label_delay_days), "unlabelled": data.unlabelled}
    parts = {
        "data": data.sha256,
        "parameters": parameters,
        "package": package_version(),
        "code": code_sha256(),
        "libraries": library_versions(),
        "features": FEATURE_NAMES,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


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
