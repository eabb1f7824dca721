"""Pointers that named the served model before there were releases: read for the change-over, never written.

The first release takes over the pointers' content; from then on nobody reads them.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from flink_jobs.domain.json_errors import NOT_THE_JSON
from flink_jobs.store.object_store import read_object
from flink_jobs.store.settings import Buckets

CURRENT_KEY = "current.json"
CHALLENGER_KEY = "challenger.json"
RISK_CURRENT_KEY = "terminal_risk/current.json"
HISTORY_KEY = "promotions.json"

Pointer = TypeVar("Pointer")


class Promotion(msgspec.Struct, frozen=True):
    """An entry of `promotions.json`: what was promoted, when, and whether by a rollback to it."""

    version: str
    at: str
    rollback: bool = False


def read_pointers(client: Any, buckets: Buckets) -> dict[str, Any] | None:  # noqa: ANN401 - boto3 makes its classes at run time
    """Give what the pointers say, as the fields of a release; None where no model is promoted.

    Raises:
        ObjectStoreError: the store does not answer.
        ValueError: a pointer that cannot be read.

    """

    def read(bucket: str, key: str, pointer_type: type[Pointer]) -> Pointer | None:
        content = read_object(client, bucket, key, missing_ok=True)
        try:
            return None if content is None else msgspec.json.decode(content, type=pointer_type)
        except NOT_THE_JSON as error:
            raise ValueError(f"{key}: {error}") from None

    model = read(buckets.models, CURRENT_KEY, dict[str, str])
    if model is None:
        return None
    if not {"version", "manifest_sha256"} <= model.keys():
        raise ValueError(f"{CURRENT_KEY}: names no version and manifest_sha256")
    history = read(buckets.models, HISTORY_KEY, list[Promotion]) or []
    at = [entry.at for entry in history if entry.version == model["version"]]
    return {
        "number": 0,
        "writer": "",
        "action": "change-over",
        "model": model,
        "risk": read(buckets.features, RISK_CURRENT_KEY, dict[str, str]),
        "challenger": read(buckets.models, CHALLENGER_KEY, dict[str, str]),
        "promoted_at": at[-1] if at else "",
        "former": [msgspec.to_builtins(each) for each in promoted_before(model["version"], history)],
    }


def promoted_before(current: str, history: Sequence[Promotion]) -> list[Promotion]:
    """Give the promotions before the current version's, without those that were rolled back.

    Args:
        current: the pointer's version; the history need not have it.
        history: the latest last.

    """
    stack: list[Promotion] = []
    for promotion in history:
        versions = [each.version for each in stack]
        if promotion.rollback and promotion.version in versions:
            while stack[-1].version != promotion.version:
                stack.pop()
        elif versions[-1:] != [promotion.version]:
            stack.append(promotion)
    while current in [each.version for each in stack]:
        # later entries were recorded, but their versions never came into use
        if stack.pop().version == current:
            break
    return stack
