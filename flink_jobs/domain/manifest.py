"""A model's description: training writes it beside the model, jobs and commands read it."""

import hashlib
import re
from typing import Literal, Self

import msgspec

from flink_jobs.domain.calibration import Calibration
from flink_jobs.domain.drift import Distribution
from flink_jobs.domain.expected_alerts import ExpectedAlerts
from flink_jobs.domain.features import LABEL_DELAY_DAYS
from flink_jobs.domain.json_errors import NOT_THE_JSON

# "history": FEATURE_NAMES, computed from the customer's past; "columns": taken from the record as they are.
ModelKind = Literal["history", "columns"]


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A model's description.

    Attributes:
        version: names the model's folder in the bucket, and stands in each alert.
        created_at: RFC 3339, UTC.
        kind: where the features come from.
        features: names, in the order of the model's input.
        threshold: a score of at least this raises an alert; 0 to 1.
        threshold_choice: the rule that gave the threshold, the rule's limit, and the period that it used.
        metrics: of the twin, measured on a period after the twin's training data; those at a threshold are at
            the twin's, and of all transactions.
        data: source, rows and periods that it was trained on, and its twin tested on.
        calibration: of the score, on days that the twin did not learn from; None in older models.
        twin: a model that was made in the same way of earlier days, to be measured: digest (of its ONNX),
            threshold and training period; empty in older models, which were measured themselves.
        libraries: versions that made it.
        files: SHA-256 by file name.
        fingerprint: of data and parameters; equal ones need no new training.
        label_delay_days: how late labels come; terminal risk ends so many days before the transaction.
        distributions: of each feature, in their order, and of the score, in the latest days that it did not
            learn from; empty in older models.
        expected_alerts: alerts among these transactions; None in older models.

    """

    version: str
    created_at: str
    kind: ModelKind
    features: list[str]
    threshold: float
    metrics: dict[str, float]
    data: dict[str, str | int | float | None]
    libraries: dict[str, str]
    files: dict[str, str]
    fingerprint: str
    threshold_choice: dict[str, str | int | float | None] = {}
    label_delay_days: int = LABEL_DELAY_DAYS
    distributions: dict[str, Distribution] = {}
    twin: dict[str, str | int | float | None] = {}
    calibration: Calibration | None = None
    expected_alerts: ExpectedAlerts | None = None

    def to_json(self) -> bytes:
        """Give indented JSON, for people."""
        indented = msgspec.json.format(msgspec.json.encode(self), indent=2)
        # a list of numbers in one line
        return re.sub(rb"\[[-+.\deE,\s]*\]", lambda match: b" ".join(match[0].split()), indented) + b"\n"

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Read and validate.

        Raises:
            ValueError: which field is missing or wrong.

        """
        try:
            return msgspec.json.decode(content, type=cls)
        except NOT_THE_JSON as error:
            raise ValueError(f"manifest.json: {error}") from None

    def verify(self, name: str, content: bytes) -> None:
        """Compare a file with its checksum.

        Raises:
            ValueError: the file is not named here, or is not the one that was published.

        """
        expected = self.files.get(name)
        actual = hashlib.sha256(content).hexdigest()
        if expected != actual:
            raise ValueError(
                f"{name} of model {self.version} has SHA-256 {actual}, its manifest says {expected}: "
                "publish the model again"
            )
