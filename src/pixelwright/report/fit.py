"""Does the run over-fit: what its log and scores say, in sentences and a small table."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pixelwright.metrics.scores import Scores
from pixelwright.report.figures import Row, series

_NOISE = 0.03
"""A relative rise of the validation loss that is no sign of anything."""


def fit(
    epochs: Sequence[Row], scores: Mapping[str, Scores], guard: int | None = None
) -> dict[str, Any]:
    """Rows (measure, training, validation) and sentences that compare training with validation.

    Args:
        epochs: Rows of the log.
        scores: By split.
        guard: Pixels between training and validation where both are parts of one picture.
    """
    train, validation = scores.get("train"), scores.get("val")
    rows: list[tuple[str, float, float]] = []
    if train and validation:
        rows.append(("mean IoU", train.mean_iou, validation.mean_iou))
        rows.append(("pixel accuracy", train.pixel_accuracy, validation.pixel_accuracy))
        if train.loss is not None and validation.loss is not None:
            rows.append(("loss", train.loss, validation.loss))
    sentences = [*_gap(train, validation), *_course(epochs)]
    if guard is not None:
        sentences.append(
            f"Training and validation are parts of one picture, at least {guard} pixels apart. "
            f"Another picture may look different, and score less."
        )
    return {"rows": rows, "sentences": sentences}


def _gap(train: Scores | None, validation: Scores | None) -> list[str]:
    if train is None or validation is None:
        return []
    gap = train.mean_iou - validation.mean_iou
    if math.isnan(gap):
        return []
    low, high = validation.interval("mean_iou")
    if abs(gap) < 0.01 or low <= train.mean_iou <= high:
        return [
            f"The kept model scores {train.mean_iou:.3f} on training images and "
            f"{validation.mean_iou:.3f} on validation images: no sign of over-fitting."
        ]
    if gap < 0:
        return [
            f"The kept model scores {-gap:.3f} better on validation than on training images: the "
            f"validation images are easier."
        ]
    return [
        f"The kept model scores {gap:.3f} better on training than on validation images: that much "
        f"it owes to having seen them."
    ]


def _course(epochs: Sequence[Row]) -> list[str]:
    """How the validation loss went on after its lowest point."""
    at, losses = series(epochs, "val_loss")
    if len(losses) < 3:
        return []
    lowest = min(range(len(losses)), key=losses.__getitem__)
    rise = (losses[-1] - losses[lowest]) / abs(losses[lowest]) if losses[lowest] else 0.0
    if rise > _NOISE:
        return [
            f"Validation loss was lowest ({losses[lowest]:.3f}) at epoch {at[lowest]:.4g} and "
            f"ended {100 * rise:.0f} % above that: the model grew too sure of itself. The model "
            f"that is kept is the one that scored best, not the last."
        ]
    tail = losses[-max(len(losses) // 5, 2) :]
    if tail[0] - tail[-1] > _NOISE * abs(tail[-1]):
        return ["Validation loss was still falling at the end: a longer training may score more."]
    return ["Validation loss had levelled out at the end, without rising again."]
