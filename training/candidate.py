"""How a model to serve is made of labelled transactions, and measured by its twin."""

import hashlib
import json
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from flink_jobs.domain.calibration import Calibration
from flink_jobs.domain.features import FEATURE_NAMES
from training.examples import Examples, Prepared
from training.forest import Forest
from training.isotonic import calibrate
from training.labelled_data import LabelledData
from training.procedure import Scored, alerting, learn, ranking, test
from training.publish import Candidate, to_onnx_bytes
from training.source_code import code_sha256, library_versions, package_version
from training.steps import step
from training.threshold import Rule


def train(
    data: LabelledData, prepared: Prepared, parameters: Forest, rule: Rule, fingerprint: str
) -> tuple[Candidate, Scored]:
    """Train a forest to serve on the latest days, and its twin, which is measured, on earlier ones.

    Returns:
        What is to be served, and the twin's test.

    """
    twin, twin_threshold, validated, learnt_rows = _made(
        prepared.twin, parameters, rule, "the twin that is measured"
    )
    tested = test(twin, prepared.twin)
    final, threshold, chosen_on, rows = _made(prepared.final, parameters, rule, "the model to serve")
    split = prepared.final.split
    unseen = _unseen(prepared, final, tested)
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
        holdout=unseen.matrix,
        scores=unseen.scores,
        origins=unseen.origins,
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


class _Unseen(NamedTuple):
    """Rows that a model has not learnt from, their scores, and whose terminals and cards they are."""

    matrix: NDArray[np.float32]
    scores: NDArray[np.float64]
    origins: tuple[NDArray[np.object_], ...]


def _unseen(prepared: Prepared, final: RandomForestClassifier, tested: Scored) -> _Unseen:
    """Give the latest rows that the model has not learnt from.

    These are those of the labels' delay; where it is shorter than the test part, the test part, as the twin
    scored it.
    """
    after = slice(prepared.final.split.train.stop, None)
    if len(np.unique(prepared.final.days[after])) >= tested.number_of_days:
        latest = prepared.final.matrix[after]
        return _Unseen(latest, final.predict_proba(latest)[:, 1], _origins(prepared.final, after))
    return _Unseen(tested.matrix, tested.scores, _origins(prepared.twin, prepared.twin.split.test))


def _origins(examples: Examples, rows: slice) -> tuple[NDArray[np.object_], ...]:
    """Give what frauds come in bursts of."""
    return tuple(each[rows] for each in (examples.terminals, examples.customers) if each is not None)


def _sampling(examples: Examples, rows: int) -> dict[str, str | int | float | None]:
    """Say in the manifest what was learnt from, where that is not all."""
    if examples.weights is None:
        return {}
    return {"train_rows": rows, "train_honest_share": round(examples.honest_share, 6)}


def fingerprint_of(data: LabelledData, options: Mapping[str, object]) -> str:
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
    elsewhere |= {name for name in ("columns", "label_columns") if options[name] is None}
    parameters = {name: str(value) for name, value in options.items() if name not in elsewhere}
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
