"""Does the run over-fit: what its log and scores say, in sentences and a small table."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pixelwright.metrics import LabelScores, Scores
from pixelwright.metrics.labels import TITLES as LABEL_TITLES
from pixelwright.metrics.labels import LabelScore
from pixelwright.metrics.scores import TITLES as MASK_TITLES
from pixelwright.metrics.scores import ScoreName
from pixelwright.reporting.figures import Row, series

_NOISE = 0.03
"""A relative rise of the validation loss that is no sign of anything."""
_FEW_WRONG = 0.05
"""Where fewer validation images are labelled wrong, nothing is said of why."""
_OF_MASKS: tuple[ScoreName, ...] = ("mean_iou", "pixel_accuracy")
_OF_LABELS: tuple[LabelScore, ...] = ("top1", "top5", "log_loss")


Told = Scores | LabelScores


def fit(
    epochs: Sequence[Row], scores: Mapping[str, Told], guard: int | None = None
) -> dict[str, Any]:
    """Rows (measure, training, validation) and sentences that compare training with validation.

    Args:
        epochs: Rows of the log.
        scores: By split.
        guard: Pixels between training and validation where both are parts of one picture.
    """
    train, validation = scores.get("train"), scores.get("val")
    rows = _rows(train, validation) if train and validation else []
    sentences = [*_gap(train, validation), *_lack(train, validation), *_course(epochs)]
    if guard is not None:
        sentences.append(
            f"Training and validation are parts of one picture, at least {guard} pixels apart. "
            f"Another picture may look different, and score less."
        )
    return {"rows": rows, "sentences": sentences}


def _rows(train: Told, validation: Told) -> list[tuple[str, float, float]]:
    if isinstance(validation, LabelScores):
        names: list[tuple[str, str]] = [
            (LABEL_TITLES[name], name) for name in _OF_LABELS if name in validation.known
        ]
    else:
        names = [(MASK_TITLES[name], name) for name in _OF_MASKS]
    rows = [(title, getattr(train, name), getattr(validation, name)) for title, name in names]
    if train.loss is not None and validation.loss is not None:
        rows.append(("loss", train.loss, validation.loss))
    return [row for row in rows if not math.isnan(row[1] + row[2])]


def _gap(train: Told | None, validation: Told | None) -> list[str]:
    if train is None or validation is None:
        return []
    gap = train.value - validation.value
    if math.isnan(gap):
        return []
    low, high = validation.value_interval
    if abs(gap) < 0.01 or low <= train.value <= high:
        return [
            f"The kept model scores {train.value:.3f} on training images and "
            f"{validation.value:.3f} on validation images: no sign of over-fitting."
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


def _lack(train: Told | None, validation: Told | None) -> list[str]:
    """Of a classifier's errors, which part is there on images that it has seen."""
    if not isinstance(train, LabelScores) or not isinstance(validation, LabelScores):
        return []
    wrong, seen = 1 - validation.top1, 1 - train.top1
    if math.isnan(wrong + seen) or wrong < _FEW_WRONG:
        return []
    new = max(wrong - seen, 0.0)
    parts = (
        f"Of the validation images {100 * wrong:.0f} % are labelled wrong; of the training images "
        f"{100 * seen:.0f} %."
    )
    if seen > new:
        return [
            f"{parts} Most of the error is there on images that it has seen, so it under-fits more "
            f"than it over-fits: a larger network, a longer training or less regularisation may "
            f"help more than more images."
        ]
    return [
        f"{parts} Most of the error comes with new images, so it over-fits more than it "
        f"under-fits: more images, more augmentation or more regularisation may help more than a "
        f"larger network."
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
