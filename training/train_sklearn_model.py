"""`fraud-train`: train a random forest on labelled transactions, measure it, write it, promote it."""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flink_jobs.domain.features import FEATURE_NAMES
from flink_jobs.domain.manifest import Manifest
from flink_jobs.domain.model import check_features
from flink_jobs.store.object_store import ObjectStoreError
from flink_jobs.store.settings import SettingsError, load_settings
from training import metrics
from training.examples import Examples, check, prepare
from training.forest import Forest
from training.labelled_data import LabelledData
from training.options import add_data, add_forest, add_threshold, forest_of, positive, read, rule_of, step
from training.printable import printable
from training.publish import Candidate, PublishError, package_version, promote, promoted_manifest, write
from training.release_writer import PromotionError
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
    fingerprint = _fingerprint(data, options)
    if options.if_changed and promoted is not None and promoted.fingerprint == fingerprint:
        print(f"unchanged: {promoted.version} was trained on this data with these parameters")
        return 0
    with step(f"Preparing features of {len(data.transactions.frame):,} transactions"):
        examples = prepare(
            data,
            options.train_days,
            options.test_days,
            validate=options.threshold is None,
            max_rows=options.max_rows,
        )
    candidate = train(data, examples, options, fingerprint)
    with step(f"Writing {options.output}, ONNX held to scikit-learn"):
        manifest = write(candidate, options.output)
    _report(candidate)
    if settings is not None and options.promote:
        in_use = promote(options.output, settings)
        print(f"Promoted {manifest.version} to {settings.s3.endpoint_url}; {in_use.terminals}")
    return 0


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


def train(data: LabelledData, examples: Examples, options: argparse.Namespace, fingerprint: str) -> Candidate:
    """Train the forest on the training part, and measure it on the test part."""
    split, parameters, rule = examples.split, forest_of(options), rule_of(options)
    choice: dict[str, str | int | float | None] = {"rule": rule.name, "limit": rule.limit}
    if rule.name == "given":
        threshold = options.threshold
    else:
        with step(f"Choosing the threshold ({rule}) on the end of the training part"):
            threshold = _choose_threshold(examples, parameters, rule)
        choice |= examples.period("chosen", split.validation)
    learnt_from = examples.learnt_from(split.train)
    with step(f"Training {parameters.trees} trees on {len(learnt_from[1]):,} transactions"):
        forest = parameters.fit(*learnt_from)
    scores = forest.predict_proba(examples.matrix[split.test])[:, 1]
    measured, left_out = _measure(examples, scores, threshold)
    return Candidate(
        forest=forest,
        kind=data.transactions.kind,
        features=examples.features,
        threshold=threshold,
        threshold_choice=choice,
        metrics=measured,
        data={
            "source": data.transactions.source,
            "sha256": data.sha256,
            **examples.period("train", split.train),
            **examples.period("test", split.test),
            "test_left_out": left_out,
            **_sampling(examples, len(learnt_from[1])),
        },
        fingerprint=fingerprint,
        holdout=examples.matrix[split.test],
        terminal_risk=examples.terminal_risk,
        label_delay_days=data.label_delay_days,
    )


def _choose_threshold(examples: Examples, parameters: Forest, rule: Rule) -> float:
    """Choose a threshold on the rows of `validation`, by a forest trained on `fit`."""
    rows = examples.split.validation
    forest = parameters.fit(*examples.learnt_from(examples.split.fit))
    scores = forest.predict_proba(examples.matrix[rows])[:, 1]
    return rule.threshold(examples.labels[rows], scores, len(np.unique(examples.days[rows])))


def _sampling(examples: Examples, rows: int) -> dict[str, float]:
    """Say in the manifest what was learnt from, where that is not all."""
    if examples.weights is None:
        return {}
    return {"train_rows": rows, "train_honest_share": round(examples.honest_share, 6)}


def _measure(
    examples: Examples, scores: NDArray[np.float64], threshold: float
) -> tuple[dict[str, float], int]:
    """Metrics on the test part, and how many transactions of cards known to be compromised it leaves out."""
    test = examples.split.test
    labels, days = examples.labels[test], examples.days[test]
    measured: dict[str, float] = {}
    left_out = examples.known_compromised()
    labels, days, scores = labels[~left_out], days[~left_out], scores[~left_out]
    measured["auc"] = metrics.auc(labels, scores)
    measured["average_precision"] = metrics.average_precision(labels, scores)
    if examples.customers is not None:
        customers = examples.customers[test][~left_out]
        measured["card_precision_at_100"] = metrics.card_precision_top_k(days, customers, labels, scores)
    at = metrics.at_threshold(labels, scores, threshold)
    measured |= {
        "precision": at.precision,
        "recall": at.recall,
        "false_positive_rate": at.false_positive_rate,
        "alerts_per_day": at.alerts / len(np.unique(days)),
    }
    return {name: round(value, 4) for name, value in measured.items()}, int(left_out.sum())


def _report(candidate: Candidate) -> None:
    data, measured = candidate.data, candidate.metrics
    print()
    print(f"  {'':<20}{'from':>12}{'to':>12}{'transactions':>14}{'frauds':>9}")
    for name, part in (("trained on", "train"), ("tested on", "test")):
        print(
            f"  {name:<20}{data[f'{part}_from']:>12}{data[f'{part}_to']:>12}"
            f"{data[f'{part}_transactions']:>14,}{data[f'{part}_frauds']:>9,}"
        )
    if "train_honest_share" in data:
        share = float(data["train_honest_share"] or 0)
        print(
            f"  learnt from all frauds and {share:.1%} of the honest transactions, "
            f"{data['train_rows']:,} rows; each honest one counts {1 / share:.1f} times"
        )
    if data["test_left_out"]:
        print(f"  below without {data['test_left_out']:,} test transactions of cards known to be compromised")
    print()
    for label, name in (
        ("AUC", "auc"),
        ("average precision", "average_precision"),
        ("CardPrecision@100", "card_precision_at_100"),
    ):
        if name in measured:
            print(f"  {label:<20}{measured[name]:.3f}")
    print(
        f"  {'threshold':<20}{candidate.threshold:.3f}   precision {measured['precision']:.2f}, "
        f"recall {measured['recall']:.2f}, {measured['alerts_per_day']:.0f} alerts a day, "
        f"{measured['false_positive_rate']:.2%} of honest transactions"
    )
    print()


def _count(rows: slice) -> int:
    return int(rows.stop - rows.start)


def _fingerprint(data: LabelledData, options: argparse.Namespace) -> str:
    """Digest of all that decides the model: data, parameters and version."""
    elsewhere = {"data", "labels", "output", "promote", "if_changed", "if_missing", "check", "settings"}
    # where a file's own names tell, the mapping says nothing
    elsewhere |= {name for name in ("columns", "label_columns") if getattr(options, name) is None}
    parameters = {name: str(value) for name, value in vars(options).items() if name not in elsewhere}
    # the delay in use, given by an option or by the settings
    parameters["label_delay"] = str(data.label_delay_days)
    parts = {
        "data": data.sha256,
        "parameters": parameters,
        "package": package_version(),
        "features": FEATURE_NAMES,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fraud-train", description=__doc__)
    add_data(
        parser,
        train_days=28,
        tested="which ends the data, the labels' delay after the training period; tables of ready "
        "columns are tested on their last fifth instead",
    )
    parser.add_argument(
        "--max-rows",
        type=positive,
        metavar="N",
        help="learn from all frauds and, by a hash of the id, as many honest transactions as make N rows, "
        "each counted for those that it stands for; histories, threshold and test are of all "
        "(default: from all)",
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
    result.add_argument("--promote", action="store_true", help="upload to MinIO and make it the served model")
    unless = result.add_mutually_exclusive_group()
    unless.add_argument(
        "--if-changed",
        action="store_true",
        help="do nothing if the served model came from the same data, parameters and version",
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
