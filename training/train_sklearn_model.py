"""`fraud-train`: train a random forest on labelled transactions, measure it, write it, promote it."""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from flink_jobs.domain.features import FEATURE_NAMES, RISK_DELAY_DAYS
from flink_jobs.domain.manifest import Manifest
from flink_jobs.domain.model import check_features
from flink_jobs.domain.object_store import ObjectStoreError
from flink_jobs.domain.settings import SettingsError, load_settings
from training import evaluate
from training.dataset import Dataset, DatasetError, load, parse_instant
from training.examples import Examples, prepare
from training.publish import Candidate, PublishError, package_version, promote, promoted_manifest, write
from training.simulate import simulated_dataset

_EPOCH = date(1970, 1, 1)
# Each tree sees at most so many rows, drawn anew: on a month of 268,000 rows that takes a quarter of the
# time, at the same average precision (0.696).
_MOST_ROWS_A_TREE = 65_536


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when a model was written (and promoted, if asked) or nothing had changed."""
    options = _parser().parse_args(argv)
    try:
        return _run(options)
    except (DatasetError, ObjectStoreError, PublishError, SettingsError) as error:
        print(f"fraud-train: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    settings = load_settings(options.settings) if _needs_minio(options) else None
    # also tells, before minutes of work, that MinIO cannot be reached
    promoted = promoted_manifest(settings) if settings else None
    if options.if_missing and promoted is not None and _is_servable(promoted):
        print(f"unchanged: {promoted.version} is promoted, and this version can serve it")
        return 0
    with _step(f"Reading {options.data or 'a simulation'}"):
        dataset = load(options.data, options.settings) if options.data else simulated_dataset()
        dataset = dataset.between(options.since, options.until)
    fingerprint = _fingerprint(dataset, options)
    if options.if_changed and promoted is not None and promoted.fingerprint == fingerprint:
        print(f"unchanged: {promoted.version} was trained on this data with these parameters")
        return 0
    with _step(f"Preparing features of {len(dataset.frame):,} transactions"):
        examples = prepare(dataset, options.train_days, options.test_days, validate=options.threshold is None)
    candidate = train(dataset, examples, options, fingerprint)
    with _step(f"Writing {options.output}, ONNX held to scikit-learn"):
        manifest = write(candidate, options.output)
    _report(candidate)
    if settings is not None and options.promote:
        promote(options.output, settings)
        print(f"Promoted {manifest.version} to {settings.s3.endpoint_url}")
    return 0


def train(dataset: Dataset, examples: Examples, options: argparse.Namespace, fingerprint: str) -> Candidate:
    """Train the forest on the training part, and measure it on the test part."""
    split = examples.split
    threshold = options.threshold
    if threshold is None:
        with _step("Choosing the threshold on the end of the training part"):
            threshold = _choose_threshold(examples, options)
    with _step(f"Training {options.trees} trees on {_count(split.train):,} transactions"):
        forest = _fit(examples, split.train, options)
    scores = forest.predict_proba(examples.matrix[split.test])[:, 1]
    metrics, left_out = _measure(examples, scores, threshold)
    return Candidate(
        forest=forest,
        kind=dataset.kind,
        features=examples.features,
        threshold=threshold,
        metrics=metrics,
        data={
            "source": dataset.source,
            "sha256": dataset.sha256,
            **_period("train", examples, split.train),
            **_period("test", examples, split.test),
            "test_left_out": left_out,
        },
        fingerprint=fingerprint,
        holdout=examples.matrix[split.test],
        terminal_risk=examples.terminal_risk,
    )


def _fit(examples: Examples, rows: slice, options: argparse.Namespace) -> RandomForestClassifier:
    forest = RandomForestClassifier(
        options.trees,
        max_depth=options.max_depth,
        min_samples_leaf=options.min_samples_leaf,
        max_samples=min(_count(rows), _MOST_ROWS_A_TREE),
        random_state=options.seed,
        n_jobs=-1,
    )
    return forest.fit(examples.matrix[rows], examples.labels[rows])


def _choose_threshold(examples: Examples, options: argparse.Namespace) -> float:
    rows = examples.split.validation
    forest = _fit(examples, examples.split.fit, options)
    scores = forest.predict_proba(examples.matrix[rows])[:, 1]
    if options.alerts_per_day is None:
        return evaluate.threshold_of_best_f1(examples.labels[rows], scores)
    days = len(np.unique(examples.days[rows]))
    return evaluate.threshold_of_alerts(scores, round(options.alerts_per_day * days))


def _measure(
    examples: Examples, scores: NDArray[np.float64], threshold: float
) -> tuple[dict[str, float], int]:
    """Metrics on the test part, and how many transactions of cards known to be compromised it leaves out."""
    test = examples.split.test
    labels, days = examples.labels[test], examples.days[test]
    metrics: dict[str, float] = {}
    left_out = np.zeros(len(labels), dtype=bool)
    if examples.customers is not None:
        known = slice(examples.split.train.start, test.stop)
        blocked = evaluate.known_compromised(
            examples.days[known], examples.customers[known], examples.labels[known], RISK_DELAY_DAYS
        )
        left_out = blocked[-len(labels) :]
        customers = examples.customers[test][~left_out]
    labels, days, scores = labels[~left_out], days[~left_out], scores[~left_out]
    metrics["auc"] = evaluate.auc(labels, scores)
    metrics["average_precision"] = evaluate.average_precision(labels, scores)
    if examples.customers is not None:
        metrics["card_precision_at_100"] = evaluate.card_precision_top_k(days, customers, labels, scores)
    at = evaluate.at_threshold(labels, scores, threshold)
    metrics |= {
        "precision": at.precision,
        "recall": at.recall,
        "alerts_per_day": at.alerts / len(np.unique(days)),
    }
    return {name: round(value, 4) for name, value in metrics.items()}, int(left_out.sum())


def _report(candidate: Candidate) -> None:
    data, metrics = candidate.data, candidate.metrics
    print()
    print(f"  {'':<20}{'from':>12}{'to':>12}{'transactions':>14}{'frauds':>9}")
    for name, part in (("trained on", "train"), ("tested on", "test")):
        print(
            f"  {name:<20}{data[f'{part}_from']:>12}{data[f'{part}_to']:>12}"
            f"{data[f'{part}_transactions']:>14,}{data[f'{part}_frauds']:>9,}"
        )
    if data["test_left_out"]:
        print(f"  below without {data['test_left_out']:,} test transactions of cards known to be compromised")
    print()
    for label, name in (
        ("AUC", "auc"),
        ("average precision", "average_precision"),
        ("CardPrecision@100", "card_precision_at_100"),
    ):
        if name in metrics:
            print(f"  {label:<20}{metrics[name]:.3f}")
    print(
        f"  {'threshold':<20}{candidate.threshold:.3f}   precision {metrics['precision']:.2f}, "
        f"recall {metrics['recall']:.2f}, {metrics['alerts_per_day']:.0f} alerts a day"
    )
    print()


def _period(part: str, examples: Examples, rows: slice) -> dict[str, str | int | float | None]:
    days = examples.days[rows]
    return {
        f"{part}_from": str(_EPOCH + timedelta(days=int(days[0]))),
        f"{part}_to": str(_EPOCH + timedelta(days=int(days[-1]))),
        f"{part}_transactions": len(days),
        f"{part}_frauds": int(examples.labels[rows].sum()),
    }


def _count(rows: slice) -> int:
    return int(rows.stop - rows.start)


def _fingerprint(dataset: Dataset, options: argparse.Namespace) -> str:
    """Of everything that decides what the model becomes."""
    elsewhere = {"data", "output", "promote", "if_changed", "if_missing", "settings"}
    parameters = {name: str(value) for name, value in vars(options).items() if name not in elsewhere}
    parts = {
        "data": dataset.sha256,
        "parameters": parameters,
        "package": package_version(),
        "features": FEATURE_NAMES,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@contextmanager
def _step(name: str) -> Iterator[None]:
    print(f"{name} …", end="", flush=True)
    begun = time.monotonic()
    try:
        yield
    except BaseException:
        print()
        raise
    print(f" {time.monotonic() - begun:.1f} s")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fraud-train", description=__doc__)
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data", metavar="FILE", help="CSV or Parquet, a path or s3://bucket/key (default: a simulation)"
    )
    data.add_argument(
        "--since", type=_instant, metavar="TIME", help="leave out what came before (ISO 8601, UTC)"
    )
    data.add_argument(
        "--until", type=_instant, metavar="TIME", help="know nothing from this time on, labels included"
    )
    data.add_argument(
        "--train-days",
        type=_positive,
        default=28,
        metavar="N",
        help="length of the training period (default: 28)",
    )
    data.add_argument(
        "--test-days",
        type=_positive,
        default=7,
        metavar="N",
        help="length of the test period, which ends the data, 7 days after the training period "
        "(default: 7); tables of ready columns are tested on their last fifth instead",
    )
    forest = parser.add_argument_group("forest")
    forest.add_argument("--trees", type=_positive, default=100, metavar="N", help="(default: 100)")
    forest.add_argument("--max-depth", type=_positive, default=16, metavar="N", help="(default: 16)")
    forest.add_argument("--min-samples-leaf", type=_positive, default=5, metavar="N", help="(default: 5)")
    forest.add_argument("--seed", type=int, default=0, help="(default: 0)")
    threshold = parser.add_argument_group(
        "threshold", "by default the one of best F1 on the end of the training period"
    ).add_mutually_exclusive_group()
    threshold.add_argument(
        "--threshold", type=_share, metavar="SCORE", help="raise an alert from this score on"
    )
    threshold.add_argument(
        "--alerts-per-day", type=_positive, metavar="N", help="as many as can be looked into"
    )
    result = parser.add_argument_group("result")
    result.add_argument(
        "--output", type=Path, default=Path("build/model"), metavar="DIR", help="(default: build/model)"
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
    result.add_argument(
        "--settings", metavar="FILE", help="where MinIO is (default: build/settings.json, or $FRAUD_SETTINGS)"
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


def _instant(text: str) -> str:
    try:
        return parse_instant(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date or time such as 2018-07-01") from None


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
