"""Weekly retraining: a model is trained, challenges the promoted one, and is judged by the gate."""

import tempfile
from datetime import date
from pathlib import Path

from flink_jobs.domain.model import EXPLAINER_FILE, ONNX_FILE, ServedModel
from training.candidate import train
from training.examples import prepare
from training.forest import Forest
from training.gate import Comparison, TooEarlyError, compare_on, compare_twin
from training.labelled_data import LabelledData
from training.procedure import TEST_DAYS, TRAIN_DAYS, Scored
from training.publish import write
from training.threshold import Rule

SHADOW_DAYS = 14


def shadow_is_over(since: date, today: date, shadow_days: int) -> bool:
    """Tell whether a challenger is to be judged; in whole days, as weekly runs begin minutes apart."""
    return (today - since).days >= shadow_days


def why_dropped(comparison: Comparison) -> str | None:
    """Say why a challenger is not promoted unless somebody says so; None where it is.

    The gate lets a model pass that measured a little worse, which a person may have reasons for. Nothing is
    gained by one that is promoted because another week has gone by.
    """
    if not comparison.passes:
        return "may be worse"
    return "is not better" if comparison.challenger < comparison.champion else None


def train_in(folder: Path, data: LabelledData, forest: Forest) -> tuple[ServedModel, Scored]:
    """Train as `fraud-train` does without options, and leave the model's files in a folder.

    Returns:
        The model, and the test of its twin.

    Raises:
        DatasetError, PublishError: as for `prepare` and `write`.

    """
    prepared = prepare(data, TRAIN_DAYS, TEST_DAYS)
    candidate, tested = train(data, prepared, forest, Rule("best_f1"), "")
    manifest = write(candidate, folder)
    files = ((folder / name).read_bytes() for name in (ONNX_FILE, EXPLAINER_FILE))
    return ServedModel.from_onnx(manifest, *files), tested


class Retraining:
    """What `fraud-retrain --auto-promote` does week after week, without a store.

    Attributes:
        promoted: the model that serves.
        told: what each run did, in words.

    """

    def __init__(self, promoted: ServedModel, forest: Forest) -> None:
        """Begin with a promoted model; retrained ones have these parameters."""
        self.promoted = promoted
        self.told: list[str] = []
        self._forest = forest
        self._challenger: tuple[ServedModel, date] | None = None

    def run(self, data: LabelledData, today: date) -> None:
        """Do the step that is due, on what is known today.

        Raises:
            DatasetError, GateError: as for `train_in` and `compare_on`; too little to compare is no error.

        """
        try:
            did = self._step(data, today)
        except TooEarlyError as error:
            did = str(error)
        self.told.append(f"{today}: {did}")

    def _step(self, data: LabelledData, today: date) -> str:
        if self._challenger is None:
            with tempfile.TemporaryDirectory() as folder:
                model, tested = train_in(Path(folder), data, self._forest)
            comparison = compare_twin(tested, model.manifest, self.promoted)
            if not comparison.passes:
                return f"the twin of the new model may be worse: {comparison}"
            self._challenger = model, today
            return f"a new model challenges; its twin had {comparison}"
        challenger, since = self._challenger
        if not shadow_is_over(since, today, SHADOW_DAYS):
            return "the challenger is in the shadow"
        comparison = compare_on(data, challenger, self.promoted)
        self._challenger = None
        if why := why_dropped(comparison):
            return f"the challenger {why}, and is dropped: {comparison}"
        self.promoted = challenger
        return f"the challenger is promoted: {comparison}"
