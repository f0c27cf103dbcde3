"""Scores: counts that add, what is computed from them, and how sure it is."""

from collections.abc import Mapping
from typing import Any

from pixelwright.metrics.labels import LabelScores
from pixelwright.metrics.scores import Scores

__all__ = ["LabelScores", "Scores", "read_scores"]


def read_scores(table: Mapping[str, Any]) -> Scores | LabelScores:
    """What `to_json` of either kind gave.

    Raises:
        CheckpointError: It holds something else.
    """
    if table.get("task") == "labels":
        return LabelScores.from_json(table)
    return Scores.from_json(table)
